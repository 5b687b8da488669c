"""Children of the best so far: a genetic algorithm for several objectives, NSGA-II.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on
Evolutionary Computation 6(2), 2002; here one child at a time instead of a generation, so that no
ask has to wait for the slowest of its generation (steady state: Durillo et al., EMO 2009).
"""

import math
import random
from collections.abc import Sequence
from itertools import groupby

from experiments.pareto import pareto_front
from experiments.space import Configuration, Space
from experiments.strategies.base import Trial
from experiments.strategies.mutation import mutated
from experiments.strategies.random_search import untried

PARENTS = 8  # the population: so many of the best; few, for budgets are small
FIRST = 8  # finished trials, chosen by chance, before there are children
CHILDREN = 100  # tried to be made, before chance decides, when each was tried already


class Nsga2:
    """NSGA-II, its population taken from the trials at every ask: no process keeps one."""

    name = "nsga2"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        tried = {space.key(trial.configuration) for trial in trials}
        rng = random.Random(f"{seed}:{len(trials)}")
        told = [
            trial
            for trial in trials
            if trial.feasible is not None and space.contains(trial.configuration)
        ]
        if len(told) >= FIRST:
            parents = population(told, maximize)
            for _ in range(CHILDREN):
                child = _child(space, _tournament(parents, rng), _tournament(parents, rng), rng)
                if space.contains(child) and space.key(child) not in tried:
                    return child
        return untried(space, tried, rng)


def population(trials: Sequence[Trial], maximize: bool) -> list[Trial]:
    """The best trials, the best first: front by front, and in a front the loneliest first.

    Any feasible one is before any other; then come those that were measured, and of those that
    failed the ones that came furthest.
    """
    chosen: list[Trial] = []
    for _, alike in groupby(sorted(trials, key=_violation), _violation):
        rest = list(alike)
        while rest and len(chosen) < PARENTS:
            scores = [trial.turned(maximize) for trial in rest]
            front = pareto_front(scores) or list(range(len(rest)))
            lonely = crowding([scores[index] for index in front])
            for _, index in sorted(zip(lonely, front, strict=True), key=lambda pair: -pair[0]):
                chosen.append(rest[index])
            rest = [trial for index, trial in enumerate(rest) if index not in set(front)]
    return chosen[:PARENTS]


def crowding(front: Sequence[tuple[float, ...]]) -> list[float]:
    """How far the neighbours of each are from each other, over all objectives; ends: infinite."""
    distances = [0.0] * len(front)
    for objective in range(len(front[0]) if front else 0):
        order = sorted(range(len(front)), key=lambda index: front[index][objective])
        spread = front[order[-1]][objective] - front[order[0]][objective]
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            if spread > 0:
                gap = front[after][objective] - front[before][objective]
                distances[here] += gap / spread
    return distances


def _violation(trial: Trial) -> float:
    """0 for a feasible one, 1 for a measured one, and up to 2 the earlier it failed."""
    if trial.feasible:
        return 0.0
    return 1.0 if trial.score is not None else 2.0 - min(trial.reached, 0.99)


def _tournament(parents: Sequence[Trial], rng: random.Random) -> Configuration:
    """The better one of two."""
    return parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))].configuration


def _child(space: Space, a: Configuration, b: Configuration, rng: random.Random) -> Configuration:
    """Each value from one of its parents, and about one of them changed.

    What neither has, for its conditions did not hold, comes by chance.
    """
    child: Configuration = {}
    for dimension in space.dimensions:
        one, other = rng.sample((a, b), 2)
        by_chance = dimension.at(rng.random())
        value = one.get(dimension.name, other.get(dimension.name, by_chance))
        if rng.random() < 1 / len(space.dimensions):
            value = mutated(dimension, value, rng)
        child[dimension.name] = value
    return space.active(child)
