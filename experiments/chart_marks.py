"""The marks of charts as SVG: here, for a template takes ten times as long for hundreds of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

MARK = (
    '<svg class="at-mark at-{kind}" x="{x}" y="{y}" data-n="{number}" data-is="{is}">'
    '<title>{title}</title><circle class="at-hit" r="8"/>{shape}{name}</svg>'
)
LINE = (
    '<polyline class="at-way at-band-{band} at-{kind}" data-n="{number}" data-is="{is}" '
    'points="{points}"><title>{title}</title></polyline>'
)
BLOCK = (
    '<span id="block-{number}" class="at-block at-{tone}{best}" data-n="{number}" data-is="{kind}" '
    'title="{title}">{text}</span>'
)
# A colour is never alone: each outcome has a shape of its own
SHAPES = {
    "failed": '<path d="M-4-4L4 4M-4 4L4-4"/>',
    "missed": '<path d="M0-5L5 4H-5Z"/>',
    "front": '<path d="M0-6L6 0L0 6L-6 0Z"/>',
    "best": '<circle r="6"/>',
}
DOT = '<circle r="4"/>'
NAME = '<text class="at-mark-name" x="9" y="-7">{}</text>'
NAME_AT_LEFT = '<text class="at-mark-name at-ends" x="-9" y="-7">{}</text>'

# Only titles and labels have words that are not ours; the rest are numbers, shares and our names


def marks(found: Iterable[Mapping[str, Any]]) -> SafeString:
    """Of experiments, with their names where they have a `label`."""
    return mark_safe("".join(map(_mark, found)))


def _mark(one: Mapping[str, Any]) -> str:
    name = NAME_AT_LEFT if one.get("is_right") else NAME
    return MARK.format_map(
        {
            **one,
            "title": escape(one["title"]),
            "shape": SHAPES.get(one["kind"], DOT),
            "name": name.format(escape(one["label"])) if one.get("label") else "",
        }
    )


def lines(found: Iterable[Mapping[str, Any]]) -> SafeString:
    """Of parallel coordinates."""
    return mark_safe(
        "".join(LINE.format_map({**one, "title": escape(one["title"])}) for one in found)
    )


def block(one: Mapping[str, Any]) -> str:
    """Of the strip."""
    return BLOCK.format_map(
        {
            **one,
            "title": escape(one["title"]),
            "best": " at-best" if one["is_best"] else "",
            "text": "✕" if one["tone"] == "bad" else "",
        }
    )
