"""What a task wants: the metric to make better, and the limits that service must keep."""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from experiments.errors import BadInput
from experiments.validation import Number, Positive, Section

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

# The short names, and the metric of a benchmark that each stands for.
SHORT = {
    "maximize_throughput": "output_throughput",
    "minimize_latency": "latency_mean",
    "minimize_ttft": "ttft_mean",
    "minimize_tpot": "tpot_mean",
}

PERCENTILE = re.compile(r"[pP]\d.*")
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


class Limit(Section):
    """The most that a time may be, in seconds, and what it costs to exceed it."""

    threshold: Positive
    weight: Number = Field(default=1.0, ge=0)
    hard_fail: bool = False  # Whether exceeding it by more than fail_ratio is infeasible
    fail_ratio: Number = Field(default=0.0, ge=0)


class Limits(Section):
    """The limits of one time: on its mean, and on its percentiles."""

    mean: Limit | None = None
    p50: Limit | None = None
    p90: Limit | None = None
    p95: Limit | None = None
    p99: Limit | None = None

    @model_serializer(mode="wrap")
    def short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A limit on the mean alone as `{threshold: …}`, the form that every reader knows."""
        written: dict[str, Any] = handler(self)
        return written["mean"] if set(written) == {"mean"} and self.mean else written


class Slo(Section):
    """The service-level objectives of a task. `{threshold: …}` alone is a limit on the mean."""

    latency: Limits | None = None
    ttft: Limits | None = None
    tpot: Limits | None = None
    steepness: Positive = 0.1

    @field_validator("latency", "ttft", "tpot", mode="before")
    @classmethod
    def of_the_mean(cls, raw: object, info: ValidationInfo) -> object:
        if not isinstance(raw, dict):
            return raw
        unknown = [name for name in raw if name not in Limits.model_fields]
        for name in unknown:
            # `p75`, or limits of its own: a part of the distribution, and not one that we have
            if PERCENTILE.fullmatch(str(name)) or isinstance(raw[name], dict):
                known = ", ".join(Limits.model_fields)
                raise BadInput(f"slo.{info.field_name}.{name}", f"unknown field; known: {known}")
        return {"mean": raw} if raw and len(unknown) == len(raw) else raw

    def limits(self) -> Iterator[tuple[str, Limit]]:
        """Each metric that has a limit, with it."""
        for time in ("latency", "ttft", "tpot"):
            limits: Limits | None = getattr(self, time)
            for part in Limits.model_fields if limits else ():
                limit: Limit | None = getattr(limits, part)
                if limit is not None:
                    yield f"{time}_{part}", limit
