"""The sections of a task file: the fields of each, their defaults and their limits."""

import math
from typing import Annotated, Any

from pydantic import Field, field_validator

from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.base import Level, Load, StopWhen
from experiments.benchmarks.scenarios import parse as parse_scenario
from experiments.dimensions import Value, check_value
from experiments.engines.flags import ENVIRONMENT_PREFIX, check_variable, format_value
from experiments.notation import nearest
from experiments.objectives import parse_objectives, read_objectives
from experiments.strategies import STRATEGIES
from experiments.validation import (
    LARGEST,
    AtLeastOne,
    AtLeastZero,
    Duration,
    Number,
    Positive,
    Section,
)

HIGHEST_PRIORITY = 100
SEARCH_WARMUP = 8  # requests before each rate: the server is warm after the first
MOST_SIZES = 64  # of one kind of parallelism; more is a typing error


class Model(Section):
    """What is served: a path or a hub id."""

    id_or_path: str = Field(default="", max_length=500)
    namespace: str = ""


class EngineOptions(Section):
    """What every experiment's engine is started with."""

    executable: str = ""
    arguments: dict[str, Any] = {}
    env: dict[str, str] = {}

    @field_validator("arguments")
    @classmethod
    def are_values(cls, arguments: dict[str, Any]) -> dict[str, Value]:
        for name, value in arguments.items():
            field = f"engine.arguments.{name}"
            check_value(field, value)
            if name.startswith(ENVIRONMENT_PREFIX):
                check_variable(field, name.removeprefix(ENVIRONMENT_PREFIX))
        return arguments

    @field_validator("env", mode="before")
    @classmethod
    def as_text(cls, env: object) -> object:
        if not isinstance(env, dict):
            return env
        return {name: _as_variable(value) for name, value in env.items()}

    @field_validator("env")
    @classmethod
    def are_the_users(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            check_variable(f"engine.env.{name}", name)
        return env


class ParallelConfig(Section):
    """The sizes to try of tensor, pipeline and data parallelism."""

    tp: list[AtLeastOne] = Field(default=[1], min_length=1, max_length=MOST_SIZES)
    pp: list[AtLeastOne] = Field(default=[1], min_length=1, max_length=MOST_SIZES)
    dp: list[AtLeastOne] = Field(default=[1], min_length=1, max_length=MOST_SIZES)

    @field_validator("tp", "pp", "dp")
    @classmethod
    def are_different(cls, sizes: list[int]) -> list[int]:
        return _without_twins(sizes)


def _usual_pruning(data: dict[str, Any]) -> bool:
    """Who asks for the whole grid wants to see all of it."""
    return data.get("strategy") != "grid_search"


class Optimization(Section):
    """How to search, for what, and how much."""

    strategy: str = "gp"
    objective: str | list[str] | dict[str, int | float]  # several: a list, or each with its weight
    max_iterations: AtLeastOne = 10  # experiments
    timeout_per_iteration: Duration = 600  # seconds for one experiment, engine start included
    timeout_start: Duration | None = None  # seconds for the engine's start alone
    max_parallel_experiments: AtLeastOne = 1
    repeats: AtLeastZero | None = None  # of the experiments: they measure again what was found
    pruning: bool = Field(default_factory=_usual_pruning)  # End what has clearly lost
    priority: int = Field(default=0, ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY)
    seed: int = Field(default=0, ge=-LARGEST, le=LARGEST)
    skip_known_failures: bool = True
    reuse: bool = False

    @field_validator("strategy")
    @classmethod
    def is_a_strategy(cls, name: str) -> str:
        return _one_of(name, STRATEGIES, "a strategy")

    @field_validator("objective", mode="plain")
    @classmethod
    def are_objectives(cls, raw: Any) -> Any:
        parse_objectives(raw)
        return read_objectives(raw) if isinstance(raw, str) else raw


class Resources(Section):
    """What one experiment needs. Without `gpus`, what its configuration says."""

    gpus: AtLeastOne | None = None
    min_memory_mb: AtLeastZero = 0  # free, on each GPU
    min_host_memory_mb: AtLeastZero = 0  # of the host's, reserved for the experiment
    price_per_gpu_hour: Positive | None = None  # in any currency


class RateSearch(Section):
    """A search for the highest request rate that keeps the objectives, per second."""

    low: Positive = 1
    high: Positive = 64
    tolerance: Annotated[Number, Field(ge=0.01, le=1)] = 0.1  # between what holds and what breaks


def _usual_concurrency(data: dict[str, Any]) -> list[int]:
    return [] if data.get("request_rate") or data.get("rate_search") else [1, 4]


def _highest_load(data: dict[str, Any]) -> int:
    if data.get("rate_search"):
        return SEARCH_WARMUP
    loads = [*data.get("num_concurrency", []), *data.get("request_rate", [])]
    return min(math.ceil(max(loads, default=1)), LARGEST)


class Workload(Section):
    """The benchmark: which requests, at which load levels, for how long."""

    task: str = "text-to-text"
    generator: str = "autotuner"
    model_name: str = ""  # what the server answers to, where it is not the model itself
    model_tokenizer: str = ""
    traffic_scenarios: list[str] = Field(default=["D(100,100)"], min_length=1)
    request_rate: list[Positive] = Field(default=[], min_length=1)  # per second
    rate_search: RateSearch | None = None
    num_concurrency: list[AtLeastOne] = Field(default_factory=_usual_concurrency, min_length=1)
    arrival: str = "poisson"
    max_requests_per_iteration: AtLeastOne = 100  # per load level
    max_time_per_iteration: Duration = 10  # minutes per load level
    warmup_requests: AtLeastZero = Field(default_factory=_highest_load)
    max_error_rate: Number = Field(default=0.01, ge=0, le=1)
    additional_params: dict[str, Any] = {}  # sent with every request

    @field_validator("task")
    @classmethod
    def is_text(cls, task: str) -> str:
        return _one_of(task, ["text-to-text"], "supported")

    @field_validator("generator")
    @classmethod
    def is_a_generator(cls, name: str) -> str:
        return _one_of(name, BENCHMARKS, "a load generator")

    @field_validator("arrival")
    @classmethod
    def is_an_arrival(cls, name: str) -> str:
        return _one_of(name, ["poisson", "constant"], "a kind of arrival")

    @field_validator("traffic_scenarios")
    @classmethod
    def are_scenarios(cls, scenarios: list[str]) -> list[str]:
        for scenario in scenarios:
            parse_scenario(scenario)
        return _without_twins(scenarios)

    @field_validator("num_concurrency", "request_rate")
    @classmethod
    def are_different(cls, loads: list[float]) -> list[float]:
        return _without_twins(loads)

    def levels(self) -> list[Level]:
        """Every scenario at every load, the lightest load first; of a search the lowest rate."""
        rates = [self.rate_search.low] if self.rate_search else sorted(self.request_rate)
        return [
            *(
                Level(scenario, concurrency=concurrency)
                for concurrency in sorted(self.num_concurrency)
                for scenario in self.traffic_scenarios
            ),
            *(
                Level(scenario, request_rate=rate)
                for rate in rates
                for scenario in self.traffic_scenarios
            ),
        ]

    def labels(self) -> list[str]:
        """The levels for people."""
        if self.rate_search is None:
            return [level.label for level in self.levels()]
        search, (scenario, *_) = self.rate_search, self.traffic_scenarios
        return [f"{scenario} · {search.low:g} to {search.high:g} requests/s, searched"]

    def load(
        self, level: Level, *, seed: int = 0, stop_when: StopWhen | None = None, **where: str
    ) -> Load:
        """The load of one level; `where` are the fields of Load that say where to send it."""
        return Load(
            level=level,
            max_requests=self.max_requests_per_iteration,
            max_seconds=self.max_time_per_iteration * 60,
            warmup_requests=self.warmup_requests,
            arrival=self.arrival,
            seed=seed,
            request_options=self.additional_params,
            stop_when=stop_when,
            **where,
        )


def _one_of(word: str, known: Any, what: str) -> str:
    if word in known:
        return word
    raise ValueError(f"{word!r} is not {what}{nearest(word, known)}")


def _without_twins(values: list[Any]) -> list[Any]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is given twice")
    return values


def _as_variable(value: object) -> object:
    """A variable's text: numbers as written, true and false as the 1 and 0 engines read."""
    if isinstance(value, bool):
        return str(int(value))
    return format_value(value) if isinstance(value, int | float) else value
