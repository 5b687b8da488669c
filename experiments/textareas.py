"""The text areas of the task form: one line for each flag, variable or argument."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.documents import read_document, write_yaml
from experiments.errors import BadInput
from experiments.lines import format_values, parse_values


def read_space(text: str) -> dict[str, Any]:
    """`max-num-seqs: 4, 8, 16`, one parameter a line. Raises BadInput, which names the line."""
    return {name: _values(where, values) for where, name, values in _pairs(text, ":")}


def write_space(parameters: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {format_values(raw)}" for name, raw in parameters.items())


def read_arguments(text: str) -> dict[str, Any]:
    """`max-model-len: 2048`, one flag with one value a line."""
    arguments = {}
    for where, name, line in _pairs(text, ":"):
        values = _values(where, line)
        if not isinstance(values, list) or len(values) != 1:
            raise BadInput("", f"{where}: {name} has one value; quote text with commas or dots")
        arguments[name] = values[0]
    return arguments


def write_arguments(arguments: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {format_values([value])}" for name, value in arguments.items())


def read_variables(text: str) -> dict[str, str]:
    """`NAME=value`, one variable a line."""
    return {name: _unquoted(value) for _, name, value in _pairs(text, "=")}


def write_variables(variables: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}={_quoted(str(value))}" for name, value in variables.items())


def read_command(text: str) -> list[str]:
    """One argument a line; a line in double quotes is read as JSON text."""
    return [_unquoted(line) for _, line in _lines(text)]


def write_command(command: Sequence[Any]) -> str:
    return "\n".join(_quoted(str(argument)) for argument in command)


def read_list(text: str) -> list[str]:
    """One traffic scenario, or one constraint, a line."""
    return [line for _, line in _lines(text)]


def write_list(lines: Sequence[Any]) -> str:
    """A constraint that the task file has on several lines is on one."""
    return "\n".join(" ".join(str(line).splitlines()) for line in lines)


def read_numbers(text: str) -> list[int | float]:
    """`1, 4, 8`."""
    return [_number(part.strip()) for part in text.split(",") if part.strip()]


def write_numbers(numbers: Sequence[Any]) -> str:
    return ", ".join(map(str, numbers))


def read_yaml(text: str) -> Any:
    return read_document(text)


def write_as_yaml(data: Any) -> str:
    return write_yaml(data).rstrip() if data else ""


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line that is not empty, and how a message calls it."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", line.strip()


def _pairs(text: str, sign: str) -> Iterator[tuple[str, str, str]]:
    """Each line as a name and what follows the sign."""
    seen: dict[str, str] = {}
    for where, line in _lines(text):
        name, found, rest = (part.strip() for part in line.partition(sign))
        if not found or not name:
            example = "max-num-seqs: 4, 8, 16" if sign == ":" else "OMP_NUM_THREADS=4"
            raise BadInput("", f"{where}: write a name, {sign!r} and a value, as {example}")
        if name in seen:
            raise BadInput("", f"{where}: {name} is given twice, also in {seen[name]}")
        seen[name] = where
        yield where, name, rest


def _values(where: str, text: str) -> Any:
    try:
        return parse_values(text)
    except BadInput as problem:
        raise BadInput("", f"{where}: {problem.message}") from None


def _number(text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise BadInput("", f"{text!r} is not a number; write 1, 4, 8")


def _quoted(text: str) -> str:
    """As it is where that reads back the same, else as JSON text."""
    plain = text and text == text.strip() and text.isprintable() and not text.startswith('"')
    return text if plain else json.dumps(text, ensure_ascii=False)


def _unquoted(line: str) -> str:
    if not line.startswith('"'):
        return line
    try:
        text = json.loads(line)
    except ValueError:
        return line
    return text if isinstance(text, str) else line
