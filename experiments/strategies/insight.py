"""What the results say of the parameters: which ones matter, where it is good, what to try next.

The same model that searches answers: a Gaussian process over the whole space. A parameter's
importance is its first-order Sobol index, the share of the predicted scores' variance that goes
with it alone (Saltelli et al., "Global Sensitivity Analysis", Wiley 2008, chapter 1).
"""

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.space import Choices, Configuration, Dimension, Space, Value
from experiments.strategies.base import Trial
from experiments.strategies.candidates import MOST_LISTED, candidates
from experiments.strategies.gaussian import Posterior, normal_cdf
from experiments.strategies.gp import a_part, scored_rows
from experiments.strategies.mutation import share

LEAST = 6  # measured configurations, before anything is said
SAMPLES = 600  # points at which the model is asked
BINS = 6  # parts of a range that are looked at one by one
NEAR = 0.02  # A value is in the best region when its mean is so near to the best value's
NEXT = 3  # configurations that are worth trying


@dataclass(frozen=True)
class Effect:
    """One parameter: its importance (0 to 1), and the score that is expected with each value, as a
    ratio to the best value's: 0.9 is 10 % worse (nothing where scores are not all positive). `best`
    are the values that are as good as any.
    """

    name: str
    importance: float
    ratios: list[tuple[Value, float]]
    best: list[Value]


@dataclass(frozen=True)
class Promise:
    """An untried configuration: the chance that it beats the best so far."""

    configuration: Configuration
    chance: float


@dataclass(frozen=True)
class Insight:
    """What is known after the trials; the most important parameter first."""

    effects: list[Effect]
    promises: list[Promise]


def insight(space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int) -> Insight | None:
    """None while there are too few results."""
    import numpy as np

    inside = [trial for trial in trials if space.contains(trial.configuration)]
    scored = a_part([trial for trial in inside if trial.score is not None], maximize)
    if len(scored) < LEAST:
        return None
    rng = random.Random(seed)
    encoding, x, y, unit = scored_rows(space, scored, maximize)
    model = Posterior(encoding, x, y, np.random.default_rng(zlib.crc32(f"{seed}".encode())))
    points = _points(space, rng)
    means = model.mean(encoding.rows(points))
    is_ratio = all((trial.score or 0.0) > 0 for trial in scored)
    logs = [float(mean) * unit for mean in means]
    effects = [_effect(one, points, logs, is_ratio) for one in space.dimensions]
    good = [index for index, trial in enumerate(scored) if trial.feasible]
    promises: list[Promise] = []
    choice = candidates(space, trials, maximize, rng)
    if choice and good:
        best = float(model.mean(x)[good].max())
        mean, deviation = model.predict(encoding.rows(choice))
        chances = model.weights @ normal_cdf((mean - best) / deviation)
        order = np.argsort(-chances)[:NEXT]
        promises = [Promise(choice[int(i)], float(chances[int(i)])) for i in order]
    return Insight(sorted(effects, key=lambda one: -one.importance), promises)


def _points(space: Space, rng: random.Random) -> list[Configuration]:
    """The whole space, or a sample of it."""
    size = space.size()
    if size is not None and size <= MOST_LISTED:
        return list(space.grid())
    return [space.sample(rng) for _ in range(SAMPLES)]


def _effect(
    dimension: Dimension, points: Sequence[Configuration], means: Sequence[float], is_ratio: bool
) -> Effect:
    """`means`, higher is better, are logarithms where ratios are to be said."""
    import numpy as np

    groups: dict[Value, list[float]] = {}
    for point, mean in zip(points, means, strict=True):
        if dimension.name in point:
            groups.setdefault(_bin(dimension, point[dimension.name]), []).append(mean)
    middles = {value: float(np.mean(each)) for value, each in groups.items()}
    total = float(np.var(means))
    between = sum(
        len(groups[value]) * (middle - float(np.mean(means))) ** 2
        for value, middle in middles.items()
    ) / len(means)
    top = max(middles.values(), default=0.0)
    near = NEAR if is_ratio else NEAR * (max(means) - min(means))
    ratios = [(value, float(np.exp(middle - top))) for value, middle in middles.items()]
    ratios = ratios if is_ratio else []
    return Effect(
        name=dimension.name,
        importance=min(1.0, between / total) if total > 0 else 0.0,
        ratios=ratios if isinstance(dimension, Choices) else sorted(ratios),
        best=[value for value, middle in middles.items() if middle >= top - near],
    )


def _bin(dimension: Dimension, value: Value) -> Value:
    """The value itself; of a long range the middle of its part."""
    if isinstance(dimension, Choices) or (dimension.count or BINS + 1) <= BINS:
        return value
    part = min(int(share(dimension, value) * BINS), BINS - 1)
    middle = dimension.at((part + 0.5) / BINS)
    return float(f"{middle:.3g}") if isinstance(middle, float) else middle
