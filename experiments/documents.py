"""Reads and writes YAML and JSON, in which nothing is guessed and no key is given twice."""

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from experiments.errors import BadInput

# With a point or an exponent: 1e-4 is a number too, which older YAML reads as text.
FLOAT = re.compile(
    r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
)


def read_document(text: str, source: str = "") -> Any:
    """The content of a YAML or JSON text; `source` names it in an error.

    Raises BadInput with one line that says where the text cannot be read.
    """
    try:
        if text.lstrip().startswith("{"):
            return _read_json(text, source)
        return _read_yaml(text, source)
    except RecursionError:
        raise BadInput(source, "is nested too deeply") from None


def _read_json(text: str, source: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as wrong:
        try:
            return _read_yaml(text, source)  # A YAML text may begin with a brace too
        except BadInput:
            where = f"line {wrong.lineno}, column {wrong.colno}"
            raise BadInput(source, f"{where}: {wrong.msg}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadInput(key, "is given twice; keep one of them")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise BadInput("", f"{name} is not a finite number")


def _read_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadInput(source, f"{where}{wrong.problem or wrong.context}") from None
    except yaml.YAMLError as wrong:
        raise BadInput(source, " ".join(str(wrong).split())) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain words: `on` is text, 1e-4 is a number, a date is text, as in JSON."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in lines and isinstance(key_node, yaml.ScalarNode):
                first = lines[key_node.value]
                raise BadInput(key_node.value, f"is given twice, in lines {first} and {line}")
            if isinstance(key_node, yaml.ScalarNode):
                lines[key_node.value] = line
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"<<"), ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})$"), _first
    )


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line; what any YAML reader would misread is quoted."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        plain = not any(isinstance(item, list | dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or flow_style)


_Dumper.add_multi_representer(str, lambda dumper, text: dumper.represent_str(str(text)))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"(?:{FLOAT.pattern})$"), list("-+.0123456789")
)


def write_yaml(data: Any) -> str:
    """YAML that any reader reads back to equal data, in the order of its keys."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
