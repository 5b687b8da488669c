"""What every benchmark says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Metrics = dict[str, float]


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


class Benchmark(Protocol):
    """A load generator: a command line, and a reader of its report."""

    name: str

    def argv(self, load: Load, report: Path) -> list[str]:
        """The command line that measures `load` and writes `report`."""
        ...

    def read(self, report: Path) -> Metrics:
        """The level's metrics. Raises ExperimentFailed when the report holds none.

        Keys: requests, completed, errors, error_rate, duration, requests_per_second,
        output_throughput, total_throughput (tokens per second), input_tokens,
        output_tokens (sums), {ttft,tpot,itl,latency}_{mean,p50,p90,p95,p99} (seconds),
        and, where the generator knows them, lateness_p99 (seconds) and cpu_share.
        """
        ...
