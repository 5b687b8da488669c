"""How the sections of a task file are checked, and what is wrong said in the user's words."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from experiments.errors import BadInput
from experiments.notation import nearest


def _as_written(number: float) -> float:
    return int(number) if float(number).is_integer() else number  # A default may be an int


# A finite number, which is written without `.0` when it is whole.
Number = Annotated[float, Field(allow_inf_nan=False), PlainSerializer(_as_written)]
Positive = Annotated[Number, Field(gt=0)]
LARGEST = 2**31 - 1  # What every database and every program takes as a whole number
AtLeastZero = Annotated[int, Field(ge=0, le=LARGEST)]
AtLeastOne = Annotated[int, Field(ge=1, le=LARGEST)]
Duration = Annotated[Positive, Field(le=LARGEST)]


class Section(BaseModel):
    """A part of the task file, in which every field is known and nothing is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def problems_of(error: ValidationError, model: type[BaseModel], raw: object) -> list[BadInput]:
    """One BadInput for each problem; what is missing comes last, after a misspelt name."""
    problems = []
    for found in sorted(error.errors(include_url=False), key=lambda e: e["type"] == "missing"):
        own = found.get("ctx", {}).get("error")
        if isinstance(own, BadInput):
            problems.append(own)
        elif found["type"] != "default_factory_not_called":  # Another field was wrong
            problems.append(BadInput(_field(found["loc"], raw), _message(found, model)))
    return problems


def describe(value: object) -> str:
    """A value in an error message, short: `text 'fast'`, `a list`, `true`, `nothing`."""
    if isinstance(value, str):
        return f"text {value[:60]!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    if isinstance(value, int | float):
        return repr(value)
    names = {list: "a list", dict: "a mapping", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def _field(location: tuple[int | str, ...], raw: object) -> str:
    """The dotted field. A level that the user did not write (a limit's `mean`) is left out."""
    parts: list[str] = []
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if part == "[key]":
            break
        if isinstance(part, int) and isinstance(raw, list):
            parts[-1:] = [f"{parts[-1]}[{part}]"] if parts else [str(part)]
        elif is_last or (isinstance(raw, Mapping) and part in raw):
            parts.append(str(part))
        else:
            continue
        raw = _inside(raw, part)
    return ".".join(parts)


def _inside(raw: object, part: int | str) -> object:
    if isinstance(raw, Mapping):
        return raw.get(part)
    if isinstance(raw, list) and isinstance(part, int) and part < len(raw):
        return raw[part]
    return None


def _message(found: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind, got, context = found["type"], describe(found["input"]), found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field{nearest(found['loc'][-1], _fields_beside(found['loc'], model))}"
    if kind == "missing":
        return "is missing"
    if found["loc"][-1] == "[key]" or kind == "invalid_key":
        return f"a name must be text, not {got}"
    if kind == "float_type" and type(found["input"]) is int:
        return f"{got} is too large"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, got {got}"
    if kind == "greater_than_equal":
        return f"{got} is too small; at least {context['ge']:.12g}"
    if kind == "greater_than":
        return f"{got} is too small; more than {context['gt']:g}"
    if kind == "less_than_equal":
        return f"{got} is too large; at most {context['le']:.12g}"
    if kind in ("too_short", "string_too_short"):
        return "is empty"
    if kind == "too_long":
        return f"has {len(found['input'])} values; at most {context['max_length']}"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters"
    if kind == "value_error":
        return str(context["error"])
    return str(found["msg"])


def _fields_beside(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The known fields of the model in which the last part of `location` was written."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = next(_models(field.annotation), None) if field else None
        if inner is not None:
            model = inner
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `Slo | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
