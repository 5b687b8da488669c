"""Markdown that shows what others have written as it is: nothing of it becomes markup."""

import html
import re
from collections.abc import Iterable

MARKUP = re.compile(r"[\\`\[\]|]")  # Links, pictures, code, and the ends of cells


def plain(words: str) -> str:
    """One line of text."""
    escaped = html.escape(" ".join(words.split()), quote=False)
    return MARKUP.sub(lambda found: f"\\{found[0]}", escaped)


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def code(text: str) -> list[str]:
    """A block, within a fence that does not occur in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
