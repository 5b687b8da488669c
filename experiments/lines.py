"""How a form says the values of one parameter, on one line: `4, 8, 16 when speculative=true`."""

import json
import re
from collections.abc import Callable
from typing import Any

from experiments.dimensions import Choices, Condition, Continuous, Dimension, Value
from experiments.errors import BadInput
from experiments.notation import NAME, parse_dimension

MOST_DIGITS = 100
NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
WHOLE = re.compile(r"[-+]?\d+")
RANGE = re.compile(
    rf"({NUMBER})\s*\.\.\s*({NUMBER})(?:\s+step\s+({NUMBER}))?(\s+log)?(?:\s+when\s+(.+))?"
)
RANGE_START = re.compile(rf"{NUMBER}\s*\.\.")

# What may follow the values: whether they are ordered, and conditions.
TAIL = re.compile(r"(?:\s+(ordered|unordered))?(?:\s+when\s+(.+))?")
TAIL_BEGINS = r"\s(?:(?:un)?ordered(?:\s+when\s|\s*$)|when\s)"
IN_JSON, IN_QUOTES = r'"(?:[^"\\]|\\.)*"', r"'[^']*'"
ITEM = re.compile(
    rf"\s*(?:({IN_JSON})|({IN_QUOTES})|([^,\"'](?:(?!{TAIL_BEGINS})[^,])*))"
    rf"\s*(?:,|$|(?={TAIL_BEGINS}))"
)
WORD = rf"(?:{IN_JSON}|{IN_QUOTES}|[^\s|\"'][^\s|]*)"
CLAUSE = re.compile(
    rf"\s*({NAME.pattern})\s*=\s*({WORD}(?:\s*\|\s*{WORD})*)\s*(?:$|(?<=\s)and(?=\s))"
)


def parse_values(text: str) -> Any:
    """One line, such as `32, 64`, `0.8..0.95 step 0.05` or `256..8192 log`, as in a task file.

    `ordered` or `unordered` may follow a list, and `when NAME=VALUE|VALUE and NAME=VALUE` all of
    them. A range of two whole numbers is an integer range. Text that holds a comma, looks like a
    number, or ends in such words is quoted. Raises BadInput (without a field) when the line cannot
    be read.
    """
    text = text.strip()
    found = RANGE.fullmatch(text)
    if found:
        *numbers, conditions = found.groups()
        raw = _range_from_text(*numbers)
        return raw if conditions is None else {**raw, "when": _parse_conditions(conditions)}
    if not text:
        raise BadInput("", "has no values; write 4, 8, 16 or 0.8..0.95 step 0.05")
    values, rest = _items(text)
    if not rest:
        return values
    tail = TAIL.fullmatch(rest)
    if not tail:
        raise BadInput("", f"cannot read {rest.strip()[:40]!r}; quote text")
    options: dict[str, Any] = {"type": "categorical", "values": values}
    if tail[1]:
        options["ordered"] = tail[1] == "ordered"
    if tail[2] is not None:
        options["when"] = _parse_conditions(tail[2])
    return options


def _items(text: str) -> tuple[list[Value], str]:
    """The values of a list, and what follows them."""
    values: list[Value] = []
    position = 0
    has_more = True
    while has_more and position < len(text):
        item = ITEM.match(text, position)
        if not item:
            rest = text[position : position + 40]
            raise BadInput("", f"cannot read {rest!r}; separate values by commas, quote text")
        values.append(_value(item[1] or item[2] or item[3]))
        position = item.end()
        has_more = item[0].endswith(",")
    return values, text[position:]


def _parse_conditions(text: str) -> dict[str, Any]:
    """`NAME=VALUE|VALUE and NAME=VALUE` as the task file's `when`."""
    conditions: dict[str, Any] = {}
    position = 0
    while position < len(text):
        clause = CLAUSE.match(text, position)
        if not clause:
            rest = text[position : position + 40].strip()
            raise BadInput(
                "", f"cannot read {rest!r}; write when NAME=VALUE, or A|B, and quote other text"
            )
        name, words = clause.groups()
        if name in conditions:
            raise BadInput("", f"when: {name} is given twice; write {name}=A|B")
        values = [_value(word) for word in re.findall(WORD, words)]
        conditions[name] = values if len(values) > 1 else values[0]
        position = clause.end()
    return conditions


def _value(written: str) -> Value:
    """A value in JSON quotes, in plain quotes or in none."""
    if written.startswith("'"):
        return written[1:-1]
    if not written.startswith('"'):
        return _bare(written.strip())
    try:
        return str(json.loads(written))
    except ValueError:
        raise BadInput("", f"cannot read {written[:40]}; a backslash is written twice") from None


def _range_from_text(low: str, high: str, step: str | None, log: str | None) -> dict[str, Any]:
    for part in (low, high, step or ""):
        _check_length(part)
    whole = all(WHOLE.fullmatch(part) for part in (low, high, step) if part is not None)
    number = int if whole else float
    raw: dict[str, Any] = {"type": "integer" if whole else "continuous"}
    raw |= {"low": number(low), "high": number(high)}
    if step is not None:
        raw["step"] = number(step)
    if log is not None:
        raw["log"] = True
    return raw


def _bare(text: str) -> Value:
    """A value without quotes: a number or true or false where it reads as one, else text."""
    if RANGE_START.match(text):
        raise BadInput("", f"{text!r} is no range; write LOW..HIGH, then step N, log, or neither")
    if re.match(r"when\s", text):
        raise BadInput("", f"cannot read {text[:40]!r}; `when` follows the last value, no comma")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if WHOLE.fullmatch(text):
        _check_length(text)
        return int(text)
    return float(text) if re.fullmatch(NUMBER, text) else text


def _check_length(number: str) -> None:
    """Raise BadInput for a number that Python would refuse to read, or only read slowly."""
    if len(number) > MOST_DIGITS:
        raise BadInput("", f"a number of {len(number)} digits is too large")


def format_values(raw: Any) -> str:
    """The task file's values of one parameter as one line, which `parse_values` reads back.

    Raises BadInput when they are no values.
    """
    dimension = parse_dimension("values", raw)
    when = " and ".join(map(_format_condition, dimension.when))
    return _format_dimension(dimension) + (f" when {when}" if when else "")


def _format_dimension(dimension: Dimension) -> str:
    if isinstance(dimension, Choices):
        line = ", ".join(map(_format_value, dimension.options))
        order = {None: "", True: " ordered", False: " unordered"}
        return line + order[dimension.order]
    line = f"{dimension.low!r}..{dimension.high!r}"
    if dimension.step not in (None, 1) or (isinstance(dimension, Continuous) and dimension.step):
        line += f" step {dimension.step!r}"
    return line + (" log" if dimension.log else "")


def _format_condition(condition: Condition) -> str:
    return f"{condition.parameter}={'|'.join(map(_format_word, condition.values))}"


def _format_word(value: Value) -> str:
    """A value in a condition."""
    return _plain_or_quoted(value, lambda text: list(_parse_conditions(f"x={text}").values()))


def _format_value(value: Value) -> str:
    return _plain_or_quoted(value, parse_values)


def _plain_or_quoted(value: Value, read: Callable[[str], Any]) -> str:
    """Text as it is where that is read back the same, else in quotes."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        is_plain = read(value) == [value]
    except BadInput:
        is_plain = False
    return value if is_plain else json.dumps(value, ensure_ascii=False)
