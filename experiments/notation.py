"""How a task file says the values of one parameter."""

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
