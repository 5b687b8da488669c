"""A search space whose true values are known, and a noisy way to measure them."""

import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from experiments.objectives import Objective
from experiments.scoring import LevelResult
from experiments.space import Configuration, Space, parse_space

START, LEVEL, FAIL = 60.0, 45.0, 30.0  # seconds: of a server's start, a load level, a failed start
SAMPLED = 200_000  # points among which the best of an endless space is looked for


@dataclass(frozen=True)
class Surface:
    """A search space, and the true value of every configuration (None: it fails to start).

    `loads` are its load levels, each with the share of the value that is measured there; the score
    is their mean. `noise` is the standard deviation of one measurement, as a share of its value: of
    one start of the engine against the next, which all its levels have together.
    """

    name: str
    raw: Mapping[str, Any]
    truth: Callable[[Configuration], float | None]
    baseline: float
    noise: float = 0.05
    maximize: bool = True
    loads: Mapping[str, float] = field(default_factory=lambda: {"load": 1.0})
    at_loads: Callable[[Configuration], Mapping[str, float]] | None = None
    seconds: tuple[float, float, float] = (START, LEVEL, FAIL)
    requests: int = 400  # of a load level with a concurrency
    tokens: float | None = None  # of a load level that ends with its requests; else it ends in time
    order: Callable[[Configuration], float] | None = None  # Of one that is partly chance: all that
    # can be known of a configuration from the others, by which the best ones would come first

    @cached_property
    def space(self) -> Space:
        return parse_space(self.raw)

    @property
    def objective(self) -> Objective:
        metric = "output_throughput" if self.maximize else "ttft_mean"
        return Objective(metric, self.maximize)

    @cached_property
    def best(self) -> float:
        """The best true value; of an endless space, of many of its points."""
        size = self.space.size()
        points = (
            map(self.space.sample, map(random.Random, range(SAMPLED)))
            if size is None
            else self.space.grid()
        )
        known = [value for value in map(self.value, itertools.chain([{}], points)) if value]
        return max(known) if self.maximize else min(known)

    def value(self, configuration: Configuration) -> float | None:
        """The true score of a configuration; of the empty one, the baseline's."""
        return self.truth(configuration) if configuration else self.baseline

    def regret(self, configuration: Configuration) -> float:
        """How far its true value is from the best, as a share of it; infinite when it fails."""
        value = self.value(configuration)
        return math.inf if value is None else abs(self.best - value) / abs(self.best)

    def best_first(self, within: float) -> int | None:
        """How many experiments, the baseline among them, somebody needs who knows from the start
        all that can be known; None of a surface on which that is everything.
        """
        if self.order is None:
            return None
        able = [one for one in self.space.grid() if self.value(one) is not None]
        ranked = sorted(able, key=self.order, reverse=self.maximize)
        return 2 + next(i for i, one in enumerate(ranked) if self.regret(one) <= within)

    def level_seconds(self, value: float) -> float:
        """How long a load level takes that comes to so many tokens per second."""
        return self.seconds[1] if self.tokens is None else self.tokens / value

    def measure(self, configuration: Configuration, rng: random.Random) -> list[LevelResult]:
        """One measurement at every load level; nothing for a failure."""
        value = self.value(configuration)
        if value is None:
            return []
        if self.at_loads is not None and configuration:
            levels = dict(self.at_loads(configuration))
        else:
            mean = math.fsum(self.loads.values()) / len(self.loads)
            levels = {label: value * share / mean for label, share in self.loads.items()}
        start = math.exp(rng.gauss(0.0, self.noise))
        metric = self.objective.metric
        return [LevelResult(label, {metric: level * start}) for label, level in levels.items()]
