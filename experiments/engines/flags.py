"""From parameters to the words of a command line, to variables, and to a number of GPUs."""

import re
from collections.abc import Collection, Mapping

from experiments.engines.base import Parameters, Value
from experiments.errors import BadInput

ENVIRONMENT_PREFIX = "env."
PARALLELISM = (  # Their sizes multiply to the GPUs of one engine
    ("tensor-parallel-size", "tensor-parallel", "tp-size", "tp"),
    ("pipeline-parallel-size", "pipeline-parallel", "pp-size", "pp"),
    ("data-parallel-size", "data-parallel", "dp-size", "dp"),
)
SHARED_GPUS = "enable-dp-attention"  # The data parallel ranks share the tensor parallel GPUs
PARALLEL_SIZES = frozenset(name for names in PARALLELISM for name in names)
GPU_FLAGS = PARALLEL_SIZES | {SHARED_GPUS}  # Those that decide how many GPUs an engine needs

# What `parallel_config` calls a size, and the engine's own flag for it.
PARALLEL_FLAGS = {
    "vllm": {
        "tp": "tensor-parallel-size",
        "pp": "pipeline-parallel-size",
        "dp": "data-parallel-size",
    },
    "sglang": {"tp": "tp-size", "pp": "pp-size", "dp": "dp-size"},
}

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Variables by which an engine learns its lease and its address.
RESERVED = (
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    *("HIP_VISIBLE_DEVICES", "HOST", "PORT"),
)
RESERVED_PREFIX = "AUTOTUNER_"
IS_OURS = "is set by Autotuner; leave it out"


def check_variable(field: str, name: str) -> None:
    """Raise BadInput unless a user may set the environment variable `name`."""
    if not VARIABLE.fullmatch(name):
        raise BadInput(field, "is no variable's name; use letters, digits and _ only")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise BadInput(field, IS_OURS)


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
    return {spelling(name): value for name, value in flags.items()}


def spelling(name: str) -> str:
    """The one form of a flag's name: `max-num-seqs` for `max_num_seqs`, no dashes in front."""
    flag, dot, key = name.lstrip("-").partition(".")
    return flag.replace("_", "-") + dot + key


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
        if "dp" in names and flags.get(SHARED_GPUS) is True:
            continue
        sizes = [_size(name, value) for name, value in flags.items() if name in names]
        gpus *= sizes[-1] if sizes else 1
    return gpus


def gpu_counts(fixed: Parameters, searched: Mapping[str, Collection[Value]]) -> set[int]:
    """The numbers of GPUs that one engine may need: with the fixed flags alone (the baseline),
    and with every combination of the values of the flags that are searched.

    Raises BadInput when a size is not a whole number from 1.
    """
    flags = with_dashes(fixed)
    choices = {spelling(name): values for name, values in searched.items()}
    counts = {gpus_of(fixed)}
    for shared in choices.get(SHARED_GPUS, [flags.get(SHARED_GPUS, False)]):
        products = {1}
        for names in PARALLELISM:
            if "dp" in names and shared is True:
                continue
            sizes = {_size(n, value) for n in choices if n in names for value in choices[n]}
            sizes = sizes or {gpus_of({n: value for n, value in flags.items() if n in names})}
            products = {gpus * size for gpus in products for size in sizes}
        counts |= products
    return counts


def _size(name: str, value: Value) -> int:
    try:
        size = int(str(value))
    except ValueError:
        size = 0
    if size < 1 or isinstance(value, bool):
        raise BadInput(name, f"must be a whole number of GPUs from 1, not {value!r}")
    return size
