"""How sure a figure of some runs is, by drawing the runs again and again."""

import random
from collections.abc import Callable, Sequence

DRAWS = 2000
LEVEL = 0.95


def interval(
    figure: Callable[..., float], *columns: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of `figure(*columns)`: the percentile bootstrap.

    The columns have a value of each run, in the same order; runs are drawn whole, so that what
    belongs together stays together (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapters 8 and 13).
    """
    rng = random.Random(seed)
    runs = list(zip(*columns, strict=True))
    found = sorted(figure(*zip(*rng.choices(runs, k=len(runs)), strict=True)) for _ in range(DRAWS))
    outside = round((1 - LEVEL) / 2 * DRAWS)
    return found[outside], found[-1 - outside]
