"""What a task wants to make better: metrics, and the direction of each."""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from experiments.errors import BadInput
from experiments.validation import describe

FIELD = "optimization.objective"

PERCENTILES = ("p50", "p90", "p95", "p99")
TIMES = ("ttft", "tpot", "itl", "latency")  # seconds
THROUGHPUTS = ("output_throughput", "total_throughput", "requests_per_second", "goodput")
COUNTS = ("requests", "completed", "errors", "input_tokens", "output_tokens")
METRICS = (
    *THROUGHPUTS,
    *(f"{time}_{part}" for time in TIMES for part in ("mean", *PERCENTILES)),
    *COUNTS,
    "error_rate",
    "duration",
    *("power_w", "energy_j", "tokens_per_joule", "cost_per_million_tokens"),
)
OF_POWER = ("power_w", "energy_j", "tokens_per_joule")
# Why a metric may be missing, where that is not the load generator's doing.
NEEDS = {
    **dict.fromkeys(OF_POWER, "the power of its GPUs, which the driver does not tell here"),
    "cost_per_million_tokens": "a price: resources.price_per_gpu_hour",
}

UNITS = {
    "output_throughput": "tok/s",
    "total_throughput": "tok/s",
    "requests_per_second": "req/s",
    "goodput": "req/s",
    "duration": "s",
    "power_w": "W",
    "energy_j": "J",
    "tokens_per_joule": "tok/J",
}

# The short names, and the metric of a benchmark that each stands for.
SHORT = {
    "maximize_throughput": "output_throughput",
    "minimize_latency": "latency_mean",
    "minimize_ttft": "ttft_mean",
    "minimize_tpot": "tpot_mean",
}

LONGEST = 100  # characters of one
OBJECTIVE = re.compile(r"(maximize|minimize)_([A-Za-z_][A-Za-z0-9_./-]*)")


@dataclass(frozen=True)
class Objective:
    """What to make better. `word` is the metric as written: a job's own name for it."""

    metric: str
    maximize: bool
    word: str = ""


@dataclass(frozen=True)
class Objectives:
    """Everything that a task wants to make better; several are compared by their ratios.

    With `weights` one ratio counts more than another. Without, the result is a Pareto front.
    """

    each: tuple[Objective, ...]
    weights: tuple[float, ...] = ()

    @property
    def several(self) -> bool:
        return len(self.each) > 1

    @property
    def has_front(self) -> bool:
        return self.several and not self.weights

    @property
    def maximize(self) -> bool:
        """Whether a higher score is better: of several objectives it always is."""
        return self.several or self.each[0].maximize

    def shares(self) -> tuple[float, ...]:
        """What each objective's ratio counts, in all 1."""
        weights = self.weights or (1.0,) * len(self.each)
        return tuple(weight / math.fsum(weights) for weight in weights)


def parse_objectives(raw: Any, known: Collection[str] = ()) -> Objectives:
    """The objectives in a task file: one, a list of them, a mapping to weights, or one line.

    `known` as for `parse_objective`. Raises BadInput, which names the field.
    """
    raw = read_objectives(raw) if isinstance(raw, str) else raw
    if isinstance(raw, str):
        return Objectives((parse_objective(raw, known),))
    if not isinstance(raw, list | Mapping):
        raise BadInput(FIELD, f"expected an objective, or a list of them, got {describe(raw)}")
    if not raw:
        raise BadInput(FIELD, "is empty; known: " + ", ".join(SHORT))
    for text in raw:
        if not isinstance(text, str):
            raise BadInput(FIELD, f"expected the name of an objective, got {describe(text)}")
    each = tuple(parse_objective(text, known) for text in raw)
    for index, objective in enumerate(each):
        if any(objective.metric == other.metric for other in each[:index]):
            raise BadInput(FIELD, f"{objective.metric} is given twice")
        if known and len(each) > 1 and objective.metric in ("errors", "error_rate"):
            raise BadInput(
                FIELD, f"{objective.metric} has no ratios, for it may be 0; limit slo.error_rate"
            )
    weights = tuple(_weight(*pair) for pair in raw.items()) if isinstance(raw, Mapping) else ()
    return Objectives(each, weights if len(each) > 1 else ())


@lru_cache(maxsize=32)
def objectives_of(line: str) -> Objectives:
    """The objectives in one line, as a task's row has them."""
    return parse_objectives(line)


def read_objectives(line: str) -> str | list[str] | dict[str, float]:
    """`maximize_throughput, minimize_ttft` as a list, with `: WEIGHT` behind each as a mapping."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) == 1 and ":" not in line:
        return line
    if ":" not in line:
        return parts
    weights: dict[str, float] = {}
    for part in parts:
        name, _, weight = (word.strip() for word in part.partition(":"))
        if name in weights:
            raise BadInput(FIELD, f"{name} is given twice")
        try:
            weights[name] = int(weight) if weight.isdecimal() else float(weight)
        except ValueError:
            message = f"{weight!r} is no weight of {name}; write {name}: 2, or weigh none"
            raise BadInput(FIELD, message) from None
    return weights


def write_objectives(raw: Any) -> str:
    """The task file's objectives in one line, which `read_objectives` reads back."""
    if isinstance(raw, Mapping):
        return ", ".join(f"{name}: {weight}" for name, weight in raw.items())
    return ", ".join(raw) if isinstance(raw, list) else str(raw)


def _weight(name: str, weight: Any) -> float:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 < weight < math.inf:
        raise BadInput(f"{FIELD}.{name}", f"expected a weight above 0, got {describe(weight)}")
    return float(weight)


def parse_objective(text: str, known: Collection[str] = ()) -> Objective:
    """`maximize_throughput`, `minimize_latency_p90` … as an Objective.

    With `known` metrics, any other one raises BadInput; without, every name is a metric,
    as for a job, which names its own.
    """
    if len(text) > LONGEST:
        raise BadInput(FIELD, f"{text[:20]}… has {len(text)} characters; at most {LONGEST}")
    found = OBJECTIVE.fullmatch(text)
    metric = SHORT.get(text) or (found.group(2) if found else "")
    if not found or (known and metric not in known):
        close = difflib.get_close_matches(metric, [*known, "throughput"], n=1, cutoff=0.7)
        hint = f"did you mean {found[1]}_{close[0]}? Known" if found and close else "known"
        hint += f": {', '.join(SHORT)}, or maximize_ or minimize_ and "
        hint += f"one of {', '.join(known)}" if known else "the name of a metric"
        raise BadInput(FIELD, f"{text!r} is not an objective; {hint}")
    return Objective(metric, found.group(1) == "maximize", found.group(2))


def unit_of(metric: str) -> str:
    """The unit of a benchmark's metric, as the database has it; empty for a plain number."""
    return "s" if metric.split("_")[0] in TIMES else UNITS.get(metric, "")
