"""One parameter after the other, always from the best so far: a hill climb for small budgets.

A coordinate search (Kolda, Lewis and Torczon, SIAM Review 45(3), 2003): long steps first, and half
as long ones when none of them helps.
"""

import random
from collections.abc import Iterator, Sequence

from experiments.space import Configuration, Dimension, Space, Value
from experiments.strategies.base import Trial
from experiments.strategies.candidates import best_first
from experiments.strategies.encoding import is_ordered
from experiments.strategies.mutation import share
from experiments.strategies.random_search import untried

STEPS = (0.5, 0.25, 0.125, 0.0625)  # of a dimension; the last ones reach its neighbours


class Quick:
    """The nearest untried step from the best configuration; by chance when all were tried."""

    name = "quick"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        tried = {space.key(trial.configuration) for trial in trials}
        rng = random.Random(f"{seed}:{len(trials)}")
        inside = [trial for trial in trials if space.contains(trial.configuration)]
        if not inside:
            first = _middle(space)
            if space.contains(first) and space.key(first) not in tried:
                return first
        # Its neighbours are next to be tried also while their own results are awaited
        for trial in best_first(inside, maximize):
            for step in _steps(space, trial.configuration, random.Random(seed)):
                if space.contains(step) and space.key(step) not in tried:
                    return step
        return untried(space, tried, rng)


def _middle(space: Space) -> Configuration:
    """Where the climb begins: the middle of each range, the first of each choice."""
    return space.active(_start(space))


def _start(space: Space) -> Configuration:
    return {one.name: one.at(0.5 if is_ordered(one) else 0.0) for one in space.dimensions}


def _steps(space: Space, here: Configuration, rng: random.Random) -> Iterator[Configuration]:
    """Every configuration that is one step away, the longest steps first."""
    dimensions = list(space.dimensions)
    rng.shuffle(dimensions)  # No parameter is first in every task
    for length in STEPS:
        for dimension in dimensions:
            if dimension.name in here:
                for value in _values(dimension, here[dimension.name], length):
                    yield _with(space, here, dimension.name, value)


def _values(dimension: Dimension, value: Value, length: float) -> Iterator[Value]:
    """The values at this distance on both sides; of choices without an order every other one."""
    if not is_ordered(dimension):
        yield from dimension.values() or ()
        return
    at = share(dimension, value)
    if dimension.count is not None:
        length = max(length, 1 / dimension.count)  # At least to the next one
    for moved in (at + length, at - length):
        if -length < moved < 1 + length:
            yield dimension.at(min(max(moved, 0.0), 1 - 1e-9))


def _with(space: Space, here: Configuration, name: str, value: Value) -> Configuration:
    """One value changed; a parameter that exists only now begins in its middle."""
    return space.active({**_start(space), **here, name: value})
