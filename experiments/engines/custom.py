"""Any server at all: the user's own command, with placeholders."""

import re
from collections.abc import Iterable, Sequence

from experiments.engines.base import Explanation, Launch, Value
from experiments.engines.failures import explain
from experiments.engines.flags import ENVIRONMENT_PREFIX, format_value
from experiments.errors import BadInput

BUILT_IN = ("model", "port", "gpus")
BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Custom:
    """`command`, with `{model}`, `{port}`, `{gpus}` and every parameter put in."""

    name = "custom"
    health_path = "/health"

    def argv(self, launch: Launch) -> list[str]:
        return fill(launch)

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        return explain(exit_code, log)

    def effective(self, log: str) -> dict[str, Value] | None:
        return None


def check_command(command: Sequence[str], parameter_names: Iterable[str]) -> None:
    """Raise BadInput unless every placeholder is a parameter or built in."""
    if not command or not command[0]:
        raise BadInput("command", "must name a program")
    known = {_spelling(name) for name in parameter_names if not _is_variable(name)}
    names = [*BUILT_IN, *sorted(known)]
    for argument in command:
        for match in BRACES.finditer(argument):
            name = match[1]
            if name is not None and _spelling(name) in names:
                continue
            if name is not None:
                placeholders = " ".join(f"{{{known}}}" for known in names)
                raise BadInput(
                    "command",
                    f"unknown placeholder {{{name}}} in {argument!r}; there are {placeholders}, "
                    "and a literal brace is written twice",
                )
            if match[0] in "{}":
                raise BadInput(
                    "command",
                    f"{match[0]!r} alone in {argument!r}; a literal brace is written twice",
                )


def unused(command: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of `names` (without variables) that no placeholder of the command stands for."""
    used = {_spelling(name) for argument in command for name in _placeholders(argument)}
    return [n for n in names if not _is_variable(n) and _spelling(n) not in used]


def fill(launch: Launch) -> list[str]:
    """The command with its placeholders filled.

    An argument whose parameter has no value here (the baseline measures the engine's own
    defaults) is left out, and with it the flag that it was the value of.
    """
    values = {_spelling(name): format_value(value) for name, value in launch.flags.items()}
    values |= {"model": launch.model, "port": str(launch.port), "gpus": str(launch.gpus)}
    words: list[str] = []
    previous = ""  # The argument before, where it is still the last of `words`
    for argument in launch.command:
        if all(_spelling(name) in values for name in _placeholders(argument)):
            words.append(_filled(argument, values))
            previous = argument
            continue
        is_value = BRACES.fullmatch(argument) is not None
        if is_value and previous.startswith("-") and "=" not in previous:
            words.pop()
        previous = ""
    return words


def _spelling(name: str) -> str:
    """`{max-num-seqs}` and `{max_num_seqs}` are the same."""
    return name.strip().replace("-", "_")


def _is_variable(name: str) -> bool:
    return name.startswith(ENVIRONMENT_PREFIX)


def _placeholders(argument: str) -> list[str]:
    return [match[1] for match in BRACES.finditer(argument) if match[1] is not None]


def _filled(argument: str, values: dict[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else values[_spelling(match[1])]

    return BRACES.sub(replacement, argument)
