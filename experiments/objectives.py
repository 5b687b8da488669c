"""What a task wants to make better: metrics, and the direction of each."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from experiments.errors import BadInput

PERCENTILES = ("p50", "p90", "p95", "p99")
TIMES = ("ttft", "tpot", "itl", "latency")  # seconds
THROUGHPUTS = ("output_throughput", "total_throughput", "requests_per_second")
COUNTS = ("requests", "completed", "errors", "input_tokens", "output_tokens")
METRICS = (
    *THROUGHPUTS,
    *(f"{time}_{part}" for time in TIMES for part in ("mean", *PERCENTILES)),
    *COUNTS,
    "error_rate",
    "duration",
)

UNITS = {
    "output_throughput": "tok/s",
    "total_throughput": "tok/s",
    "requests_per_second": "req/s",
    "duration": "s",
}

# The short names, and the metric of a benchmark that each stands for.
SHORT = {
    "maximize_throughput": "output_throughput",
    "minimize_latency": "latency_mean",
    "minimize_ttft": "ttft_mean",
    "minimize_tpot": "tpot_mean",
}

OBJECTIVE = re.compile(r"(maximize|minimize)_([A-Za-z_][A-Za-z0-9_./-]*)")


@dataclass(frozen=True)
class Objective:
    """What to make better. `word` is the metric as written: a job's own name for it."""

    metric: str
    maximize: bool
    word: str = ""


def parse_objective(text: str, known: Collection[str] = ()) -> Objective:
    """`maximize_throughput`, `minimize_latency_p90` … as an Objective.

    With `known` metrics, any other one raises BadInput; without, every name is a metric,
    as for a job, which names its own.
    """
    found = OBJECTIVE.fullmatch(text)
    metric = SHORT.get(text) or (found.group(2) if found else "")
    if not found or (known and metric not in known):
        close = difflib.get_close_matches(metric, [*known, "throughput"], n=1, cutoff=0.7)
        hint = f"did you mean {found[1]}_{close[0]}? Known" if found and close else "known"
        hint += f": {', '.join(SHORT)}, or maximize_ or minimize_ and "
        hint += f"one of {', '.join(known)}" if known else "the name of a metric"
        raise BadInput("optimization.objective", f"{text!r} is not an objective; {hint}")
    return Objective(metric, found.group(1) == "maximize", found.group(2))


def unit_of(metric: str) -> str:
    """The unit of a benchmark's metric, as the database has it; empty for a plain number."""
    return "s" if metric.split("_")[0] in TIMES else UNITS.get(metric, "")
