"""What a program wrote for a terminal, as HTML: its colours kept, all else only text.

Colours are those of ECMA-48's SGR (`ESC [ 31 m`); every other control sequence is left out.
"""

import re
from collections.abc import Sequence

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

SEQUENCE = re.compile(
    r"\x1b\[(?P<sgr>[0-9;]*)m"  # A colour
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # What else begins with CSI: moves of the cursor …
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # OSC: a window's title, a link
    r"|\x1b.?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
COLOURS = {*range(30, 38), *range(90, 98)}
EXTENDED = {38: {5: 2, 2: 4}, 48: {5: 2, 2: 4}}  # The numbers that belong to one of these


def html(text: str) -> SafeString:
    """Each line as a span of its own, within which coloured parts are spans too."""
    style: tuple[str, ...] = ()
    lines = []
    for line in text.removesuffix("\n").split("\n"):
        # A progress bar writes over itself: the last state is what a terminal would show
        line = line.rstrip("\r").rpartition("\r")[2]
        parts, style = coloured(line, style)
        lines.append(f'<span class="at-line">{parts}\n</span>')
    return mark_safe("".join(lines))


def coloured(line: str, style: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A line's HTML, and the style that the next one begins with."""
    parts, end = [], 0
    for match in SEQUENCE.finditer(line):
        parts.append(span(line[end : match.start()], style))
        end = match.end()
        if match["sgr"] is not None:
            style = restyled(style, [int(code or 0) for code in match["sgr"].split(";")])
    return "".join([*parts, span(line[end:], style)]), style


def restyled(style: tuple[str, ...], codes: Sequence[int]) -> tuple[str, ...]:
    """The classes after these codes: at most a weight and a colour."""
    left = list(codes)
    while left:
        code = left.pop(0)
        bold, colour = "at-bold" in style, [one for one in style if one != "at-bold"]
        if code in EXTENDED:
            del left[: EXTENDED[code].get(left[0] if left else 0, 0)]
        elif code == 0:
            bold, colour = False, []
        elif code in (1, 22):
            bold = code == 1
        elif code in COLOURS:
            colour = [f"at-ansi-{code % 10}"]
        elif code == 39:
            colour = []
        style = (*(["at-bold"] if bold else []), *colour)
    return style


def span(text: str, style: tuple[str, ...]) -> str:
    words = escape(text)
    return f'<span class="{" ".join(style)}">{words}</span>' if style and text else words
