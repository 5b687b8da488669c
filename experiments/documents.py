"""Reads and writes YAML and JSON, in which nothing is guessed and no key is given twice."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from experiments.errors import BadInput

# With a point or an exponent: 1e-4 is a number too, which older YAML reads as text.
FLOAT = re.compile(
    r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
)

TAG = "tag:yaml.org,2002:"
PLAIN = {"null": "nothing", "bool": "true or false", "int": "a whole number", "float": "a number"}
TAGS = {f"{TAG}{name}" for name in (*PLAIN, "str", "seq", "map", "merge")}
MOST_DIGITS = 100  # of a number; Python refuses to read very long ones
MOST_VALUES = 100_000  # of one text, counted again wherever an alias repeats them


def read_document(text: str, source: str = "") -> Any:
    """The content of a YAML or JSON text, None if it is empty; `source` names it in an error.

    Raises BadInput with one line that names the field, or says where the text cannot be read.
    """
    try:
        if text.lstrip().startswith("{"):
            return _read_json(text, source)
        return _read_yaml(text, source)
    except RecursionError:
        raise BadInput(source, "is nested too deeply") from None


# ── JSON ────────────────────────────────────────────────────────────────────────────────────


class _Unreadable:
    """Stands where a JSON text has a number that is none, until its field is known."""

    def __init__(self, written: str) -> None:
        self.message = f"{written} is not a finite number"
        if len(written) > MOST_DIGITS:
            self.message = f"a number of {len(written)} digits is too large"


def _read_json(text: str, source: str) -> Any:
    try:
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_Unreadable,
            parse_int=_json_integer,
            parse_float=_json_float,
        )
    except json.JSONDecodeError as wrong:
        try:
            return _parse_yaml(text, source)  # A YAML text may begin with a brace too
        except yaml.YAMLError:
            where = f"line {wrong.lineno}, column {wrong.colno}"
            raise BadInput(source, f"{where}: {wrong.msg}") from None
    for field, value in _values(data, ""):
        if isinstance(value, _Unreadable):
            raise BadInput(field or source, value.message)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadInput(key, "is given twice; keep one of them")
        found[key] = value
    return found


def _json_integer(digits: str) -> Any:
    return int(digits) if len(digits) <= MOST_DIGITS else _Unreadable(digits)


def _json_float(written: str) -> Any:
    number = float(written)
    return number if math.isfinite(number) else _Unreadable(written)


def _values(data: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping and no list, with its field."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _values(value, _inside(field, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _values(value, f"{field}[{index}]")
    else:
        yield field, data


def _inside(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


# ── YAML ────────────────────────────────────────────────────────────────────────────────────


def _read_yaml(text: str, source: str) -> Any:
    try:
        return _parse_yaml(text, source)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f"{_position(mark)}: " if mark else ""
        raise BadInput(source, f"{where}{wrong.problem or wrong.context}") from None
    except yaml.YAMLError as wrong:
        raise BadInput(source, " ".join(str(wrong).split())) from None


def _parse_yaml(text: str, source: str) -> Any:
    """The content of a YAML text. Raises YAMLError, or BadInput that names the field."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        for number, (field, part) in enumerate(_nodes(node, "")):
            if number > MOST_VALUES:
                raise BadInput(source, f"has more than {MOST_VALUES} values")
            try:
                _check_keys(part, field)
                _check_node(loader, part, field)
            except BadInput as problem:
                raise BadInput(problem.field or source, problem.message) from None
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _nodes(node: yaml.Node, field: str) -> Iterator[tuple[str, yaml.Node]]:
    """The node and every one in it, each with its field, before what is in it."""
    yield field, node
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _nodes(item, f"{field}[{index}]")
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = _inside(field, key.value)
            yield inner, key
            yield from _nodes(value, inner)


def _check_keys(node: yaml.Node, field: str) -> None:
    """Raise BadInput unless every key of a mapping is plain, and given once."""
    lines: dict[str, int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode):
            where = _position(key.start_mark)
            raise BadInput(field, f"{where}: a name must be text, not a list or mapping")
        line = key.start_mark.line + 1
        if key.value in lines and key.tag != f"{TAG}merge":
            first = lines[key.value]
            raise BadInput(
                _inside(field, key.value), f"is given twice, in lines {first} and {line}"
            )
        lines[key.value] = line


def _check_node(loader: "_Loader", node: yaml.Node, field: str) -> None:
    """Raise BadInput when the node has a tag, or is a number, that JSON does not know."""
    where = _position(node.start_mark)
    if node.tag not in TAGS:
        tag = node.tag.replace(TAG, "!!")
        raise BadInput(field, f"{where}: the tag {tag} is not understood; leave it out")
    kind = node.tag.removeprefix(TAG)
    if kind not in PLAIN or not isinstance(node, yaml.ScalarNode):
        return  # What remains cannot go wrong, or says so itself
    if kind == "int" and len(node.value) > MOST_DIGITS:
        raise BadInput(field, f"a number of {len(node.value)} digits is too large")
    try:
        value = loader.construct_object(node)
    except (ValueError, LookupError, OverflowError):  # A tag that the user wrote
        raise BadInput(field, f"{where}: {node.value!r} is not {PLAIN[kind]}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(field, f"{node.value} is not a finite number")


def _position(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain words: `on` is text, 1e-4 is a number, a date is text, as in JSON."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"<<"), ["<"]),
):
    _Loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(f"(?:{_pattern.pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line; what any YAML reader would misread is quoted."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        plain = not any(isinstance(item, list | dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or flow_style)


_Dumper.add_multi_representer(str, lambda dumper, text: dumper.represent_str(str(text)))
_Dumper.add_implicit_resolver(
    f"{TAG}float", re.compile(f"(?:{FLOAT.pattern})$"), list("-+.0123456789")
)


def write_yaml(data: Any) -> str:
    """YAML that any reader reads back to equal data, in the order of its keys."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
