"""What every search strategy says of itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments.space import Configuration, Space


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried or is being tried.

    `score` is None while it runs, when it failed and when it was cancelled; higher is
    better when `maximize`, whatever the objective. `feasible` is None while it runs. `reached` is
    the share of its steps (the start, each load level), from 0 to 1, that a failed one had done.
    `scores` are turned so that higher is better: one for each objective of a Pareto front, else
    one; empty where `score` is None.
    """

    configuration: Configuration
    score: float | None
    feasible: bool | None
    reached: float = 0.0
    scores: tuple[float, ...] = ()

    def turned(self, maximize: bool) -> tuple[float, ...]:
        """`scores`, or the one score as such; empty when there is none."""
        if self.scores or self.score is None or not math.isfinite(self.score):
            return self.scores
        return (self.score if maximize else -self.score,)


class Strategy(Protocol):
    """A function from what was tried to what to try next. It keeps no state."""

    name: str

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        """The next configuration, never one among `trials`; None when nothing is left.

        `seed` is the task's; the answer depends on it and on `trials` only.
        """
        ...
