"""Learn from a few results which parameters matter, and try what promises most: the default."""

import math
import random
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.space import Configuration, Space
from experiments.strategies.base import Trial
from experiments.strategies.candidates import best_first, candidates
from experiments.strategies.encoding import Encoding
from experiments.strategies.gaussian import Posterior

if TYPE_CHECKING:
    import numpy as np

    from experiments.strategies.encoding import Array

MODEL_AFTER = 4  # finished trials, far from each other, before a model is asked
EDGE = 0.25  # of a range, at each of its ends, where none of these is
NEARLY = 0.1  # A distance that is by so much less than the largest is as good
MOST_TRIALS = 100  # that a model learns from: its time grows with their cube
WORST = 3.0  # A bad result counts as at most so many times as far from the median as the best
DOUBT = 0.3  # of the chance that a configuration works: the model of it is a rough one


class GaussianProcess:
    """Expected improvement, times the chance that the configuration works at all."""

    name = "gp"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        import numpy as np  # A tenth of a second, which only a process that asks must pay

        rng = random.Random(f"{seed}:{len(trials)}")
        inside = [trial for trial in trials if space.contains(trial.configuration)]
        choice = candidates(space, trials, maximize, rng)
        if not choice:
            return None
        encoding = Encoding(space)
        at = encoding.rows(choice)
        known = a_part([trial for trial in inside if trial.feasible is not None], maximize)
        scored = [trial for trial in known if trial.score is not None]
        if len(known) < MODEL_AFTER or len(scored) < 2:
            taken = encoding.rows(_configurations(inside))
            return choice[rng.choice(_far_ones(encoding, at, taken))]
        draws = np.random.default_rng(zlib.crc32(f"{seed}:{len(trials)}".encode()))
        running = encoding.rows(_configurations([t for t in inside if t.feasible is None]))
        promise = _improvement(encoding, scored, maximize, at, running, draws)
        promise *= _works(encoding, known, at, draws)
        return choice[int(np.argmax(promise))]


def _improvement(
    encoding: Encoding,
    scored: Sequence[Trial],
    maximize: bool,
    at: "Array",
    running: "Array",
    draws: "np.random.Generator",
) -> "Array":
    """How much better than the best so far each row is expected to be.

    The best is what the model believes of it: a lucky measurement is not to be beaten.
    """
    x, y, _ = _rows(encoding, scored, maximize)
    model = Posterior(encoding, x, y, draws)
    good = [index for index, trial in enumerate(scored) if trial.feasible]
    best = float(model.mean(x)[good].max()) if good else float(y.min())
    return model.expected_improvement(at, best, running, draws)


def _works(
    encoding: Encoding, known: Sequence[Trial], at: "Array", draws: "np.random.Generator"
) -> "Array":
    """The chance that each row neither fails nor misses an objective.

    The labels, 1 and -1, are taken for measurements (Rasmussen and Williams, 6.5); one that failed
    late counts half.
    """
    import numpy as np

    labels = np.array([1.0 if t.feasible else -1.0 + 0.5 * t.reached for t in known])
    if labels.min() == 1.0:
        return np.ones(len(at))
    mean = float(labels.mean())
    model = Posterior(encoding, encoding.rows(_configurations(known)), labels - mean, draws)
    return model.chance_above(at, -mean, DOUBT)


def expected_scores(
    space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
) -> dict[int, float]:
    """The score that the model expects of what was measured, by its place in `trials`.

    A lucky measurement is shrunk towards those of configurations like it. Empty while there are too
    few; of more than MOST_TRIALS the best half and some others.
    """
    import numpy as np

    scored = [
        trial
        for trial in trials
        if trial.score is not None
        and math.isfinite(trial.score)
        and space.contains(trial.configuration)
    ]
    if len(scored) < MODEL_AFTER:
        return {}
    known = a_part(scored, maximize)
    encoding = Encoding(space)
    x, y, unit = _rows(encoding, known, maximize)
    draws = np.random.default_rng(zlib.crc32(f"{seed}:{len(known)}".encode()))
    by_luck = unit * (Posterior(encoding, x, y, draws).mean(x) - y)  # in the scores' logarithm
    scores = np.array([trial.score for trial in known], dtype=float)
    by_luck = by_luck if maximize else -by_luck
    values = scores * np.exp(by_luck) if (scores > 0).all() else scores + by_luck
    places = {id(trial): index for index, trial in enumerate(trials)}
    return {places[id(t)]: float(value) for t, value in zip(known, values, strict=True)}


def scored_rows(
    space: Space, scored: list[Trial], maximize: bool
) -> tuple[Encoding, "Array", "Array", float]:
    """The measured trials as a model wants them: rows, scores, and how much one unit of these
    scores is, as a share of the value.
    """
    encoding = Encoding(space)
    return encoding, *_rows(encoding, scored, maximize)


def _rows(
    encoding: Encoding, scored: Sequence[Trial], maximize: bool
) -> tuple["Array", "Array", float]:
    import numpy as np

    scores = np.array([trial.score for trial in scored], dtype=float)
    return encoding.rows(_configurations(scored)), *_standard(scores, maximize)


def _standard(scores: "Array", maximize: bool) -> tuple["Array", float]:
    """Scores as a model wants them, higher is better, mean 0, variance 1; and what their unit was.

    By their logarithm where that exists: flags multiply the speed. How bad a bad one is does not
    matter beyond a limit; the good ones must stay apart.
    """
    import numpy as np

    y = np.log(scores) if (scores > 0).all() else scores
    y = y if maximize else -y
    middle = float(np.median(y))
    y = np.maximum(y, middle - WORST * max(float(y.max()) - middle, 1e-9))
    y = y - y.mean()
    deviation = float(y.std()) or 1.0
    return y / deviation, deviation


def a_part(known: list[Trial], maximize: bool) -> list[Trial]:
    """At most MOST_TRIALS: half of them the best, the others from the whole history."""
    if len(known) <= MOST_TRIALS:
        return known
    ranked = best_first(known, maximize)
    best = ranked[: MOST_TRIALS // 2]
    rest = [trial for trial in known if trial not in best]
    step = len(rest) / (MOST_TRIALS - len(best))
    return best + [rest[int(index * step)] for index in range(MOST_TRIALS - len(best))]


def _far_ones(encoding: Encoding, at: "Array", taken: "Array") -> list[int]:
    """The rows that are about as far as can be from all that are taken; those about in the middle
    when none is.

    Several, to choose from by chance: in a space of few configurations one rule would begin each
    search with the same ones, be they good or bad. Without the ends of ranges, where there are
    others: farthest from everything, they say least of what is between them. The ends of a list are
    values that somebody wants to try.
    """
    import numpy as np

    if not len(taken):
        away = abs(at - at.mean(axis=0)).sum(axis=1)
        return [int(row) for row in np.flatnonzero(away <= away.min() + NEARLY)]
    apart = np.sqrt(encoding.squared_distances(at, taken)).sum(axis=0).min(axis=1)
    inside = (abs(at[:, encoding.ranges] - 0.5) <= 0.5 - EDGE).all(axis=1)
    apart = np.where(inside, apart, -1.0) if inside.any() else apart
    return [int(row) for row in np.flatnonzero(apart >= (1 - NEARLY) * apart.max())]


def _configurations(trials: Sequence[Trial]) -> list[Configuration]:
    return [trial.configuration for trial in trials]
