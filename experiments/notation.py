"""How a user writes the values of one parameter: in the task file, and on one line of a form."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from experiments.dimensions import (
    Choices,
    Condition,
    Continuous,
    Dimension,
    Integer,
    Value,
    check_value,
    is_number,
)
from experiments.engines.flags import ENVIRONMENT_PREFIX, check_variable
from experiments.errors import BadInput

NAME = re.compile(r"env\.[A-Za-z_][A-Za-z0-9_]*|(?!env\.)[A-Za-z0-9_][A-Za-z0-9_.-]*")

# What the task file's `type` may be, and the keys beside it.
KINDS = {
    "integer": "integer",
    "int": "integer",
    "continuous": "continuous",
    "float": "continuous",
    "number": "continuous",
    "categorical": "categorical",
    "choice": "categorical",
    "choices": "categorical",
    "boolean": "boolean",
    "bool": "boolean",
}
KEYS = {
    "integer": ["low", "high", "step", "log", "when"],
    "continuous": ["low", "high", "step", "log", "when"],
    "categorical": ["values", "ordered", "when"],
    "boolean": ["when"],
}

MOST_DIGITS = 100
NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
WHOLE = re.compile(r"[-+]?\d+")
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})(?:\s+step\s+({NUMBER}))?(\s+log)?")
RANGE_START = re.compile(rf"{NUMBER}\s*\.\.")
ITEM = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*")|'([^']*)'|([^,"'][^,]*))\s*(?:,|$)""")


# ── the task file ───────────────────────────────────────────────────────────────────────────


def parse_dimension(name: str, raw: Any) -> Dimension:
    """One entry of `parameters`: a list, a mapping with a `type`, or one fixed value.

    Raises BadInput, which names the field and the fix.
    """
    field = f"parameters.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadInput(field, "is no flag's name; write it without dashes in front or spaces")
    if name.startswith(ENVIRONMENT_PREFIX):
        check_variable(field, name.removeprefix(ENVIRONMENT_PREFIX))
    if raw is None:
        raise BadInput(field, "has no values; give a list, a range or one value")
    if isinstance(raw, Mapping):
        return _from_mapping(name, raw)
    return Choices(name, tuple(raw) if isinstance(raw, list | tuple) else (raw,))


def _from_mapping(name: str, raw: Mapping[str, Any]) -> Dimension:
    field = f"parameters.{name}"
    if "type" not in raw:
        raise BadInput(f"{field}.type", f"is missing; known: {', '.join(KEYS)}")
    kind = KINDS.get(str(raw["type"]))
    if kind is None:
        raise BadInput(f"{field}.type", f"{raw['type']!r} is unknown{nearest(raw['type'], KINDS)}")
    for key in raw:
        if key not in ["type", *KEYS[kind]]:
            raise BadInput(f"{field}.{key}", f"unknown field{nearest(key, KEYS[kind])}")
    when = _conditions(f"{field}.when", raw.get("when", {}))
    if kind == "boolean":
        return Choices(name, (True, False), when=when)
    if kind == "categorical":
        values, ordered = raw.get("values"), raw.get("ordered")
        if not isinstance(values, list | tuple):
            raise BadInput(f"{field}.values", "give a list of values")
        if not isinstance(ordered, bool | None):
            raise BadInput(f"{field}.ordered", f"expected true or false, got {json.dumps(ordered)}")
        return Choices(name, tuple(values), ordered, when=when)
    return replace(_range_from_mapping(name, raw, whole=kind == "integer"), when=when)


def _conditions(field: str, raw: Any) -> tuple[Condition, ...]:
    """A mapping from other parameters to a value of theirs, or a list of values."""
    if not isinstance(raw, Mapping):
        raise BadInput(field, "give a mapping, such as {other-parameter: value}")
    found = []
    for name, values in raw.items():
        place = f"{field}.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadInput(place, "is no parameter's name")
        values = values if isinstance(values, list | tuple) else [values]
        if not values:
            raise BadInput(place, "the list is empty; give at least one value")
        for value in values:
            check_value(place, value)
        found.append(Condition(name, tuple(values)))
    return tuple(found)


def _range_from_mapping(name: str, raw: Mapping[str, Any], *, whole: bool) -> Dimension:
    field = f"parameters.{name}"
    for key in ("low", "high"):
        if raw.get(key) is None:
            raise BadInput(f"{field}.{key}", "is missing")
    for key in ("low", "high", "step"):
        number = raw.get(key)
        if number is None:
            continue
        if isinstance(number, int | float):
            check_value(f"{field}.{key}", number)
        if not is_number(number) or (whole and not isinstance(number, int)):
            wanted = "a whole number" if whole else "a number"
            raise BadInput(f"{field}.{key}", f"expected {wanted}, got {json.dumps(number)}")
    log = raw.get("log", False)
    if not isinstance(log, bool):
        raise BadInput(f"{field}.log", f"expected true or false, got {json.dumps(log)}")
    step = raw.get("step")
    if whole:
        return Integer(name, raw["low"], raw["high"], 1 if step is None else step, log)
    return Continuous(
        name, float(raw["low"]), float(raw["high"]), None if step is None else float(step), log
    )


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean …?`, or the list of what is known; for the end of a message."""
    names = list(known)
    close = difflib.get_close_matches(str(word), names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(names)}" if names else ""


# ── one line of a form ──────────────────────────────────────────────────────────────────────


def parse_values(text: str) -> Any:
    """One line, such as `32, 64`, `0.8..0.95 step 0.05` or `256..8192 log`, as in a task file.

    A range of two whole numbers is an integer range. Text that holds a comma or looks like a
    number is quoted. Raises BadInput (without a field) when the line cannot be read.
    """
    text = text.strip()
    found = RANGE.fullmatch(text)
    if found:
        return _range_from_text(*found.groups())
    if not text:
        raise BadInput("", "has no values; write 4, 8, 16 or 0.8..0.95 step 0.05")
    values = []
    position = 0
    while position < len(text):
        item = ITEM.match(text, position)
        if not item:
            rest = text[position : position + 40]
            raise BadInput("", f"cannot read {rest!r}; separate values by commas, quote text")
        in_json, in_quotes, bare = item.groups()
        if bare is None:
            values.append(json.loads(in_json) if in_json else in_quotes)
        else:
            values.append(_bare(bare.strip()))
        position = item.end()
    return values


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
    if isinstance(dimension, Choices):
        return ", ".join(map(_format_value, dimension.options))
    line = f"{dimension.low!r}..{dimension.high!r}"
    if dimension.step not in (None, 1) or (isinstance(dimension, Continuous) and dimension.step):
        line += f" step {dimension.step!r}"
    return line + (" log" if dimension.log else "")


def _format_value(value: Value) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        is_plain = parse_values(value) == [value]
    except BadInput:
        is_plain = False
    return value if is_plain else json.dumps(value, ensure_ascii=False)
