"""Configurations by chance, the same ones for the same seed."""

import random
import sys
from collections.abc import Sequence

from experiments.space import Configuration, Space
from experiments.strategies.base import Trial

ATTEMPTS = 100  # draws before the grid is searched for what is left


class RandomSearch:
    """A random configuration that was not tried."""

    name = "random"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        # The length is part of the seed: a restart must not draw the same numbers again.
        rng = random.Random(f"{seed}:{len(trials)}")
        return untried(space, {space.key(trial.configuration) for trial in trials}, rng)


def untried(space: Space, tried: set[str], rng: random.Random) -> Configuration | None:
    """A random configuration whose key is not in `tried`; None when nothing is left."""
    for _ in range(ATTEMPTS):
        configuration = space.sample(rng)
        if space.key(configuration) not in tried:
            return configuration
    size = space.size()
    if size is None:
        return None  # The range is narrower than what we tell apart
    # Of one more distinct point than were tried, one is new, if there is one.
    points = rng.sample(range(min(size, sys.maxsize)), min(size, len(tried) + 1))
    return next((p for p in map(space.point, points) if space.key(p) not in tried), None)
