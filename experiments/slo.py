"""The service-level objectives of a task: the limits that its service must keep."""

import math
import re
from collections.abc import Iterator
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

PERCENTILE = re.compile(r"[pP]\d.*")
TIMES = ("latency", "ttft", "tpot")  # that may have limits


class Limit(Section):
    """The most that a metric may be, and what it costs to exceed it."""

    threshold: Positive  # In the metric's unit
    weight: Number = Field(default=1.0, ge=0)
    hard_fail: bool = False  # Whether exceeding it by more than fail_ratio is infeasible
    fail_ratio: Number = Field(default=0.0, ge=0)

    def violation(self, actual: float) -> float:
        """How far `actual` is beyond the limit, as a share of it; negative when it keeps it."""
        return (actual - self.threshold) / self.threshold

    @property
    def beyond(self) -> str:
        """On which side of the threshold a violation is."""
        return "above"


class Minimum(Limit):
    """The least that a metric may be."""

    @field_validator("fail_ratio")
    @classmethod
    def can_be_reached(cls, ratio: float) -> float:
        if ratio >= 1:
            raise ValueError(f"{ratio:g} is too large; nothing is more than 100 % below a minimum")
        return ratio

    def violation(self, actual: float) -> float:
        return (self.threshold - actual) / self.threshold

    @property
    def beyond(self) -> str:
        return "below"


class ErrorLimit(Limit):
    """The largest share of requests that may fail, from 0 to 1; hard unless said otherwise."""

    threshold: Number = Field(ge=0, le=1)
    hard_fail: bool = True

    def violation(self, actual: float) -> float:
        if self.threshold == 0:
            return math.inf if actual > 0 else 0.0
        return super().violation(actual)


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
    throughput: Minimum | None = None  # of all GPUs together, in output tokens per second
    requests_per_second: Minimum | None = None
    error_rate: ErrorLimit | None = None
    steepness: Positive = 0.1

    @field_validator(*TIMES, mode="before")
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
        for time in TIMES:
            limits: Limits | None = getattr(self, time)
            for part in Limits.model_fields if limits else ():
                limit: Limit | None = getattr(limits, part)
                if limit is not None:
                    yield f"{time}_{part}", limit
        if self.throughput:
            yield "output_throughput", self.throughput
        if self.requests_per_second:
            yield "requests_per_second", self.requests_per_second
        if self.error_rate:
            yield "error_rate", self.error_rate

    def per_request(self) -> dict[str, float]:
        """The most seconds that one request may take, for each time that has a limit.

        Of several limits of one time it is the loosest: half of all requests may exceed a p50.
        """
        most: dict[str, float] = {}
        for time in TIMES:
            limits: Limits | None = getattr(self, time)
            given = [getattr(limits, part) for part in Limits.model_fields] if limits else []
            if thresholds := [limit.threshold for limit in given if limit is not None]:
                most[time] = max(thresholds)
        return most
