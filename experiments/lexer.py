"""The words of an expression over parameters: names with dashes and dots, numbers, text, signs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from experiments.engines.flags import spelling
from experiments.errors import BadInput
from experiments.notation import nearest

MOST_CHARACTERS = 500

SPACE = re.compile(r"[ \t\r\n]*")
RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
WORD = re.compile(r"[A-Za-z0-9_]+")
NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?(?![A-Za-z0-9_.])")
MOST_DIGITS = 30  # of a number
TEXT = re.compile(r'"([^"\\]*)"' + r"|'([^'\\]*)'")
SIGN = re.compile(r"//|<=|>=|==|!=|[-+*/%<>()\[\],]")
WORDS = {"and": "and", "or": "or", "not": "not", "in": "in", "true": "True", "false": "False"}
INSTEAD = {"=": "==", "&": "and", "|": "or", "!": "not", "^": "*", "≥": ">=", "≤": "<="}


@dataclass(frozen=True)
class Operand:
    """A parameter (its `name`), or a number or text (the `value`)."""

    name: str = ""
    value: int | Fraction | str = ""


@dataclass(frozen=True)
class Token:
    """One word, where it starts, and the operand that it is, if it is one."""

    text: str
    start: int
    operand: Operand | None = None


def read_tokens(text: str, known: Iterable[str]) -> list[Token]:
    """The words of `text`; `known` are the names of the parameters, in any spelling.

    A name is as long as it can be: in `a-b` it is `a-b` if there is such a parameter, else `a`.
    Raises BadInput (without a field).
    """
    if len(text) > MOST_CHARACTERS:
        raise BadInput("", f"is longer than {MOST_CHARACTERS} characters")
    names = {spelling(name): name for name in known}
    tokens = list(_tokens(text, names))
    if not tokens:
        raise BadInput("", "is empty; write such as max-num-batched-tokens >= max-num-seqs")
    return tokens


def _tokens(text: str, names: dict[str, str]) -> Iterator[Token]:
    position = _skip(text, 0)
    while position < len(text):
        token = _next(text, position, names)
        yield token
        position = _skip(text, position + len(token.text))


def _skip(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position


def _next(text: str, start: int, names: dict[str, str]) -> Token:
    run = RUN.match(text, start)
    number = NUMBER.match(text, start)
    name = _longest_name(run[0], names) if run else ""
    if name and not (number and len(number[0]) >= len(name)):
        return Token(name, start, Operand(name=names[spelling(name)]))
    if number:
        return Token(number[0], start, Operand(value=_number(number[0])))
    if run:
        return _word(text, start, names)
    quoted = TEXT.match(text, start)
    if quoted:
        inside = quoted[1] if quoted[1] is not None else quoted[2]
        return Token(quoted[0], start, Operand(value=inside))
    sign = SIGN.match(text, start)
    if sign:
        return Token(sign[0], start)
    raise BadInput("", _unreadable(text[start:]))


def _longest_name(run: str, names: dict[str, str]) -> str:
    """The longest beginning of `run` that is a parameter; WORDS are none."""
    ends = [match.start() for match in re.finditer(r"(?<=[A-Za-z0-9_])[.-]|$", run)]
    for end in reversed(ends):
        if spelling(run[:end]) in names and run[:end].lower() not in WORDS:
            return run[:end]
    return ""


def _word(text: str, start: int, names: dict[str, str]) -> Token:
    """One of WORDS, or a mistake, which is shown with what it hangs together with."""
    word = WORD.match(text, start)
    if word and word[0].lower() in WORDS:
        return Token(WORDS[word[0].lower()], start)
    whole = next(run[0] for run in RUN.finditer(text) if run.end() > start)
    raise BadInput(
        "",
        f"{whole[:60]!r} is no parameter{nearest(whole, names.values())} "
        '(text is written in quotes: "auto")',
    )


def _number(written: str) -> int | Fraction:
    if len(written) > MOST_DIGITS:
        raise BadInput("", f"a number of {len(written)} digits is too large")
    number = Fraction(written)
    return int(number) if number.denominator == 1 else number


def _unreadable(rest: str) -> str:
    if rest[0] in INSTEAD:
        return f"{rest[0]!r} is unknown; write {INSTEAD[rest[0]]}"
    if rest[0] in "\"'":
        return f"the quote of {rest[:40]!r} is not closed, or has a backslash in it"
    return f"cannot be read from {rest[:40]!r} on"
