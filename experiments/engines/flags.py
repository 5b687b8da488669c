"""From parameters to the words of a command line, to variables, and to a number of GPUs."""

from collections.abc import Mapping

from experiments.engines.base import Parameters, Value
from experiments.errors import BadInput

ENVIRONMENT_PREFIX = "env."
PARALLELISM = (  # Their sizes multiply to the GPUs of one engine
    ("tensor-parallel-size", "tensor-parallel", "tp-size", "tp"),
    ("pipeline-parallel-size", "pipeline-parallel", "pp-size", "pp"),
    ("data-parallel-size", "data-parallel", "dp-size", "dp"),
)


def split_environment(parameters: Parameters) -> tuple[dict[str, Value], dict[str, str]]:
    """The flags, and the variables: what is named `env.NAME` goes into the environment.

    In the environment true and false are 1 and 0, as engines read them there.
    """
    flags: dict[str, Value] = {}
    environment: dict[str, str] = {}
    for name, value in parameters.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            number_or_text = int(value) if isinstance(value, bool) else value
            environment[name.removeprefix(ENVIRONMENT_PREFIX)] = format_value(number_or_text)
        else:
            flags[name] = value
    return flags, environment


def format_value(value: Value) -> str:
    """As a person would write it: 0.85 for 0.8500000000000001, true for True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)


def with_dashes(flags: Mapping[str, Value]) -> dict[str, Value]:
    """Names as `max-num-seqs`, however the user wrote them; of two spellings the later counts.

    What follows a dot, in `compilation-config.cudagraph_mode`, is a key of the engine's own.
    """
    named: dict[str, Value] = {}
    for name, value in flags.items():
        flag, dot, key = name.lstrip("-").partition(".")
        named[flag.replace("_", "-") + dot + key] = value
    return named


def with_underscores(flags: Mapping[str, Value]) -> dict[str, Value]:
    """Names as `n_ctx`, however the user wrote them; of two spellings the later counts."""
    return {name.lstrip("-").replace("-", "_"): value for name, value in flags.items()}


def flag(name: str, value: Value) -> list[str]:
    """`--name value`, or `--name=value` where the value would look like a flag itself."""
    text = format_value(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def gpus_of(parameters: Parameters) -> int:
    """The GPUs that one engine with these flags needs.

    That is the product of its tensor, pipeline and data parallel sizes; with SGLang's
    `enable-dp-attention` the data parallel ranks share the tensor parallel GPUs.
    Raises BadInput when a size is not a whole number from 1.
    """
    flags = with_dashes(parameters)
    gpus = 1
    for names in PARALLELISM:
        if "dp" in names and flags.get("enable-dp-attention") is True:
            continue
        sizes = [_size(name, value) for name, value in flags.items() if name in names]
        gpus *= sizes[-1] if sizes else 1
    return gpus


def _size(name: str, value: Value) -> int:
    try:
        size = int(str(value))
    except ValueError:
        size = 0
    if size < 1 or isinstance(value, bool):
        raise BadInput(name, f"must be a whole number of GPUs from 1, not {value!r}")
    return size
