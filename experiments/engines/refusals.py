"""Which flag an engine refused, where its message names it."""

import re
from collections.abc import Iterator

from experiments.engines.base import Parameters, Value
from experiments.engines.flags import format_value, spelling

# argparse: `argument --dtype: invalid choice: 'x' (choose from …)`, `argument -q/--quantization: …`
ARGUMENT = re.compile(r"argument (?P<flags>-[\w./-]+): invalid (?:choice|\w+ value): ")
QUOTED = re.compile(r"['\"](?P<value>[^'\"]*)['\"]")
UNKNOWN = re.compile(r"unrecognized arguments: (?P<words>.+)")
# pydantic: `max_num_batched_tokens: Input should be greater than or equal to 1`
FIELD = re.compile(r"(?:^|; )(?P<field>\w+): Input should be ")


def refused_values(message: str, configuration: Parameters) -> Iterator[tuple[str, Value | None]]:
    """Parameters of this configuration that a `bad_flag` names, each with the value that cannot be.

    None stands for every value: the engine does not know the flag at all.
    """
    names = {spelling(name): name for name in configuration}
    if found := ARGUMENT.search(message):
        said = QUOTED.match(message, found.end())
        for flag in found["flags"].split("/"):
            name = names.get(spelling(flag))
            if name and said and said["value"] == format_value(configuration[name]):
                yield name, configuration[name]
    for found in FIELD.finditer(message):
        if name := names.get(spelling(found["field"])):
            yield name, configuration[name]
    if found := UNKNOWN.search(message):
        for word in found["words"].split():
            yield from _unknown(word.partition("=")[0], names, configuration)


def _unknown(
    word: str, names: dict[str, str], configuration: Parameters
) -> Iterator[tuple[str, Value | None]]:
    if not word.startswith("--"):
        return
    flag = spelling(word)
    if name := names.get(flag):
        # A switch that only switches off may still be there
        is_switch = isinstance(configuration[name], bool)
        yield name, True if is_switch else None
    elif (name := names.get(flag.removeprefix("no-"))) and configuration[name] is False:
        yield name, False
