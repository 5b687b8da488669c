"""What every benchmark says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

Metrics = dict[str, float]

# By name (ttft, tpot, latency in seconds, input_tokens, output_tokens): one value for each request
# that completed, in the same order; tpot is None where there was no second token.
Samples = dict[str, list[float | None]]


@dataclass(frozen=True)
class Level:
    """One load level: a scenario, and either requests in flight or requests per second."""

    scenario: str
    concurrency: int | None = None
    request_rate: float | None = None

    @property
    def label(self) -> str:
        """For people: `D(100,100) · concurrency 4`."""
        load = (
            f"concurrency {self.concurrency}"
            if self.concurrency is not None
            else f"{self.request_rate:g} requests/s"
        )
        return f"{self.scenario} · {load}"


@dataclass(frozen=True)
class Pace:
    """How fast the best one so far was at this level, and what is `needed` beside it.

    `value` is its metric; `times`, of the kind `time` (ttft, tpot or latency), are what its
    requests took, in the order in which they were answered.
    """

    metric: str  # a throughput, or the mean of that time
    value: float
    needed: float
    time: str
    times: Sequence[float]
    after: int = 10  # answers, before anything is forecast

    @property
    def is_throughput(self) -> bool:
        return not self.metric.startswith(self.time)


@dataclass(frozen=True)
class StopWhen:
    """What makes a level hopeless: it ends early when one of these can no longer come true."""

    at_most: Mapping[str, float] = field(default_factory=dict)  # a time's mean or percentile
    at_least: Mapping[str, float] = field(default_factory=dict)  # a throughput
    max_error_rate: float = 1.0
    after: int = 10  # answers, before anything is judged
    pace: Pace | None = None  # None: nobody knows what to expect

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made of it."""
        pace = spec.get("pace")
        return cls(**{**spec, "pace": Pace(**pace) if pace else None})


@dataclass(frozen=True)
class Load:
    """What a load generator needs to know for one level. Times are in seconds."""

    url: str  # http://127.0.0.1:PORT
    model: str  # the name the server answers to
    model_path: str  # a folder or hub id, for generators that want a tokenizer
    level: Level
    max_requests: int
    max_seconds: float
    warmup_requests: int
    arrival: str  # "poisson" or "constant", for a request rate
    seed: int
    executable: str = ""  # vLLM's own program, for its own generator; empty: on the PATH
    request_options: Mapping[str, Any] = field(default_factory=dict)  # sent with every request
    stop_when: StopWhen | None = None  # None: to the end, whatever happens

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made of a load."""
        stop = spec.get("stop_when")
        stop_when = StopWhen.parse(stop) if stop else None
        return cls(**{**spec, "level": Level(**spec["level"]), "stop_when": stop_when})


@dataclass(frozen=True)
class Measurement:
    """What a load generator says of one level.

    `stopped_early` is why it did not go on to the end, since the level was hopeless.
    """

    metrics: Metrics
    samples: Samples = field(default_factory=dict)
    stopped_early: str = ""


class Benchmark(Protocol):
    """A load generator: a command line, and a reader of its report."""

    name: str

    def argv(self, load: Load, report: Path) -> list[str]:
        """The command line that measures `load` and writes `report`."""
        ...

    def read(self, report: Path) -> Measurement:
        """What was measured. Raises ExperimentFailed when the report holds no metrics.

        Their keys: requests, completed, errors, error_rate, duration, requests_per_second,
        output_throughput, total_throughput (tokens per second), input_tokens,
        output_tokens (sums), {ttft,tpot,itl,latency}_{mean,p50,p90,p95,p99} (seconds),
        and, where the generator knows them, lateness_p99 (seconds) and cpu_share.
        """
        ...
