"""What a model may choose from: every untried configuration, or a good sample of them."""

import random
from collections.abc import Sequence

from experiments.scoring import better
from experiments.space import Configuration, Space
from experiments.strategies.base import Trial
from experiments.strategies.mutation import changed

MOST_LISTED = 1500  # A larger space is sampled
SAMPLES = 700
AROUND_BEST = 6  # configurations, each with
CHANGES = 60  # changed ones


def candidates(
    space: Space, trials: Sequence[Trial], maximize: bool, rng: random.Random
) -> list[Configuration]:
    """Untried configurations, each once; none when nothing is left."""
    tried = {space.key(trial.configuration) for trial in trials}
    size = space.size()
    if size is not None and size <= MOST_LISTED:
        return [point for point in space.grid() if space.key(point) not in tried]
    found = [space.sample(rng) for _ in range(SAMPLES)]
    for trial in best_first(trials, maximize)[:AROUND_BEST]:
        if space.contains(trial.configuration):
            found += [changed(space, trial.configuration, rng) for _ in range(CHANGES)]
    distinct = {space.key(configuration): configuration for configuration in found}
    return [
        configuration
        for key, configuration in distinct.items()
        if key not in tried and space.contains(configuration)
    ]


def best_first(trials: Sequence[Trial], maximize: bool) -> list[Trial]:
    """The feasible trials, the best first."""
    scored = [trial for trial in trials if trial.feasible and better(trial.score, None, maximize)]
    return sorted(scored, key=lambda trial: trial.score or 0.0, reverse=maximize)
