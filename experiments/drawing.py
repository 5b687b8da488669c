"""A page as its parts, and what of them changed since: the frames that its socket sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

ITEMS = "<!-- items -->"  # Where the items of a list belong in its HTML
ROWS = "rows"  # The list that is a table, whose rows a frame may not mix with other elements


@dataclass(frozen=True)
class Part:
    """HTML that is replaced as a whole; of a list, each item by itself. Items go by number."""

    html: str
    items: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def whole(self) -> str:
        return self.html.replace(ITEMS, "".join(self.items.values()), 1)


@dataclass(frozen=True)
class Drawing:
    """All parts of a page. `is_moving`: they change by themselves, as time goes by."""

    parts: dict[str, Part]
    is_moving: bool

    @property
    def fragments(self) -> dict[str, str]:
        """The parts as HTML."""
        return {name: part.whole for name, part in self.parts.items()}

    @cached_property
    def snapshot(self) -> str:
        """The frame of a page that has nothing yet."""
        return "".join(self.fragments.values())


def frames(before: Drawing, now: Drawing) -> list[str]:
    """What makes a page that shows the one show the other: rows first, for they say the status."""
    said: list[str] = []
    blocks: list[str] = []
    for name, part in now.parts.items():
        old = before.parts[name]
        if old is part or old == part:
            continue
        if old.html != part.html or not grows(old.items, part.items, name == ROWS):
            blocks.append(part.whole)
        elif name == ROWS:
            said = rows(old.items, part.items)
        else:
            blocks += changed(old.items, part.items)
    return [frame for frame in (*said, "".join(blocks)) if frame]


def grows(old: Mapping[int, str], new: Mapping[int, str], is_table: bool) -> bool:
    """Whether items can be replaced one by one. A table may have new ones on top of the old, which
    keep their order: one that is sorted may not."""
    if not is_table or not old:
        return old.keys() == new.keys()
    added = [number for number in new if number not in old]
    return list(new) == added + [number for number in old if number in new]


def rows(old: Mapping[int, str], new: Mapping[int, str]) -> list[str]:
    """The frames of a table. A `tbody` and rows of their own cannot be in one."""
    added = "".join(html for number, html in new.items() if number not in old)
    gone = (
        f'<tr id="row-{number}" hx-swap-oob="delete"></tr>' for number in old.keys() - new.keys()
    )
    on_top = f'<tbody hx-swap-oob="afterbegin:#live-rows tbody">{added}</tbody>' if added else ""
    return ["".join((*changed(old, new), *gone)), on_top]


def changed(old: Mapping[int, str], new: Mapping[int, str]) -> list[str]:
    """The items that are there already and look different now."""
    return [html for number, html in new.items() if old.get(number, html) != html]
