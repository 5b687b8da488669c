"""Gaussian processes over configurations: what a few results say of all the others.

Not one model but many guesses of how fast each parameter acts, drawn by chance, weighed by how well
each explains the results (Bayesian model averaging; Rasmussen and Williams, "Gaussian Processes for
Machine Learning", MIT Press 2006, chapters 2 and 5). With ten results, one best guess would be an
accident.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.strategies.encoding import Encoding

if TYPE_CHECKING:
    import numpy as np

    from experiments.strategies.encoding import Array

    Draws = np.random.Generator

FIRST_GUESSES = 64
BETTER_GUESSES = 32  # around the best of them, twice
PARENTS = 8
KEPT = 6  # that predict together
OUTCOMES = 16  # of what still runs, drawn by chance in pairs of opposites
IRRELEVANT = 0.25  # The chance that a parameter has no effect, before anything is known
TYPICAL_NOISE = -4.0  # The logarithm of the noise's share of the variance, and its spread
NOISE_SPREAD = 1.2
PRIOR_WEIGHT = 0.3
SCALE_PRIOR = 2.0  # Of the variance: inverse gamma with this shape and this scale
JITTER = 1e-6


@dataclass(frozen=True)
class Guess:
    """How a surface may be made.

    `speed` is each parameter's inverse squared length scale, `additive` the share of the surface
    that is a sum of each parameter's own effect, `noise` the share of its variance that is noise.
    """

    speed: "Array"
    additive: float
    noise: float

    def kernel(self, squared: "Array") -> "Array":
        """The covariance of rows at these squared distances (dimensions × rows × rows)."""
        import numpy as np

        together = _matern(np.tensordot(self.speed, squared, axes=1))
        if not self.additive:
            return together
        share = self.speed / self.speed.sum()
        apart = np.tensordot(share, _matern(self.speed[:, None, None] * squared), axes=1)
        return (1 - self.additive) * together + self.additive * apart

    def varied(self, draws: "Draws") -> "Guess":
        """Another guess near this one."""
        import numpy as np

        speed = self.speed * np.exp(draws.normal(0.0, 0.5, len(self.speed)))
        return Guess(speed, self.additive, self.noise * math.exp(draws.normal(0.0, 0.5)))

    def log_prior(self) -> float:
        """How likely it is before any result, up to a constant."""
        import numpy as np

        speeds = np.log(self.speed + 1e-9).clip(-3.0, 5.0)
        noise = (math.log(self.noise) - TYPICAL_NOISE) / 1.5
        return -0.5 * PRIOR_WEIGHT * (float((speeds**2).sum()) / 1.5**2 + noise**2)


class Posterior:
    """What the results `y` at the rows `x` say of any other row, as a mixture of guesses.

    `y` has a mean of about 0 and a variance of about 1.
    """

    def __init__(self, encoding: Encoding, x: "Array", y: "Array", draws: "Draws") -> None:
        import numpy as np

        self.encoding, self.x, self.y = encoding, x, y
        self.squared = encoding.squared_distances(x, x)
        guesses = [_guess(len(encoding.columns), draws) for _ in range(FIRST_GUESSES)]
        ranked: list[tuple[float, Guess]] = []
        for _ in range(3):
            ranked += [(self._log_evidence(guess), guess) for guess in guesses]
            ranked.sort(key=lambda pair: -pair[0])
            parents = [guess for _, guess in ranked[:PARENTS]]
            guesses = [parents[i % PARENTS].varied(draws) for i in range(BETTER_GUESSES)]
        evidence = np.array([each for each, _ in ranked[:KEPT]])
        self.guesses = [guess for _, guess in ranked[:KEPT]]
        self.weights = np.exp(evidence - evidence[0]) / np.exp(evidence - evidence[0]).sum()

    def predict(self, at: "Array") -> tuple["Array", "Array"]:
        """The mean and the standard deviation at each row by each guess: guesses × rows."""
        import numpy as np

        means, deviations = self._predict(at, self.x[:0], np.zeros((0, 1)))
        return means[:, :, 0], deviations

    def mean(self, at: "Array") -> "Array":
        """The expected value at each row."""
        return _weighed(self.weights, self.predict(at)[0])

    def expected_improvement(
        self, at: "Array", best: float, pending: "Array", draws: "Draws"
    ) -> "Array":
        """By how much each row is expected to be above `best` (Jones, Schonlau, Welch 1998).

        `pending` are rows whose results are still to come: it is the mean over results that they
        may have (Snoek, Larochelle, Adams, "Practical Bayesian Optimization of Machine Learning
        Algorithms", NIPS 2012, section 3.2).
        """
        import numpy as np

        luck = draws.standard_normal((len(pending), OUTCOMES // 2 if len(pending) else 1))
        luck = np.hstack([luck, -luck])
        means, deviations = self._predict(np.vstack([at, pending]), pending, luck)
        top = means[:, len(at) :].max(axis=1, initial=best, keepdims=True)
        sd = deviations[:, : len(at), None]
        z = (means[:, : len(at)] - top) / sd
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return _weighed(self.weights, (sd * (z * normal_cdf(z) + density)).mean(axis=2))

    def chance_above(self, at: "Array", threshold: float, blur: float) -> "Array":
        """The probability that each row's value is above; `blur` is added to the deviation."""
        mean, sd = self.predict(at)
        return _weighed(self.weights, normal_cdf((mean - threshold) / (sd + blur)))

    def _log_evidence(self, guess: Guess) -> float:
        """The marginal likelihood, the variance integrated out, times the prior."""
        import numpy as np

        root = _root(guess, self.squared)
        z = np.linalg.solve(root, self.y)
        fit = (len(self.y) / 2 + SCALE_PRIOR) * math.log(SCALE_PRIOR + 0.5 * float(z @ z))
        return guess.log_prior() - fit - float(np.log(np.diag(root)).sum())

    def _predict(self, at: "Array", pending: "Array", luck: "Array") -> tuple["Array", "Array"]:
        """The means (guesses × rows × columns of `luck`) and the standard deviations (guesses ×
        rows) once the results at `pending` are there: each column is one way in which they may
        come out, as standard normal deviates of what is not known of each once those before it are.
        """
        import numpy as np

        rows = np.vstack([self.x, pending])
        among = self.encoding.squared_distances(rows, rows)
        across = self.encoding.squared_distances(rows, at)
        answers = [self._predict_by(guess, among, across, luck) for guess in self.guesses]
        return np.array([mean for mean, _ in answers]), np.array([sd for _, sd in answers])

    def _predict_by(
        self, guess: Guess, among: "Array", across: "Array", luck: "Array"
    ) -> tuple["Array", "Array"]:
        """The same by one guess, of the squared distances among all results, and to the rows."""
        import numpy as np

        root, known = _root(guess, among), len(self.y)
        z = np.linalg.solve(root[:known, :known], self.y)
        variance = (SCALE_PRIOR + 0.5 * float(z @ z)) / (known / 2 + SCALE_PRIOR - 1)
        z = np.vstack([np.tile(z[:, None], luck.shape[1]), luck * math.sqrt(variance)])
        seen = np.linalg.solve(root, guess.kernel(across))
        left = np.maximum(1.0 - (seen * seen).sum(axis=0), 1e-9)
        deviation: Array = np.sqrt(left * variance)
        return seen.T @ z, deviation


def _weighed(weights: "Array", each: "Array") -> "Array":
    """The mixture's answer: the guesses' own, weighed."""
    mixed: Array = weights @ each
    return mixed


def _guess(dimensions: int, draws: "Draws") -> Guess:
    import numpy as np

    acts = draws.random(dimensions) >= IRRELEVANT
    return Guess(
        speed=np.exp(draws.normal(0.0, 1.0, dimensions)) * acts + 1e-3,
        additive=float(draws.choice([0.0, 0.5, 0.85])),
        noise=math.exp(draws.normal(TYPICAL_NOISE, NOISE_SPREAD)),
    )


def _root(guess: Guess, squared: "Array") -> "Array":
    """The Cholesky factor of the covariance of results, noise included."""
    import numpy as np

    covariance = guess.kernel(squared) + (guess.noise + JITTER) * np.eye(squared.shape[1])
    root: Array = np.linalg.cholesky(covariance)
    return root


def _matern(squared: "Array") -> "Array":
    """Matérn's kernel of smoothness 5/2 at these squared distances: (1 + r + r²/3) e^-r."""
    import numpy as np

    r = np.sqrt(5 * squared)
    return (1 + r + r * r / 3) * np.exp(-r)


def normal_cdf(z: "Array") -> "Array":
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17: within 7.5e-8."""
    import numpy as np

    t = 1 / (1 + 0.2316419 * np.abs(z))
    series = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    tail = sum(factor * t ** (i + 1) for i, factor in enumerate(series))
    tail = tail * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.where(z > 0, 1 - tail, tail)
