"""What a Gaussian process says of configurations that were not measured, and of what still runs."""

from typing import Any

import numpy as np
import pytest

from experiments.space import parse_space
from experiments.strategies.encoding import Encoding
from experiments.strategies.gaussian import Posterior

SPACE = parse_space({"x": {"type": "float", "low": 0.0, "high": 1.0}})
ENCODING = Encoding(SPACE)


def rows(*places: float) -> Any:
    return ENCODING.rows([{"x": place} for place in places])


NOTHING = rows(0.5)[:0]
AT = rows(0.3, 0.5, 0.7, 1.0)


@pytest.fixture
def posterior() -> Posterior:
    """Of a curve that rises and falls again, with its top at about 0.6."""
    places = (0.0, 0.15, 0.4, 0.8, 0.9)
    results = np.array([-1.2, -0.6, 0.9, 0.7, 0.2])
    return Posterior(ENCODING, rows(*places), results, np.random.default_rng(1))


def promise(posterior: Posterior, pending: Any, best: float = 0.9, seed: int = 2) -> Any:
    return posterior.expected_improvement(AT, best, pending, np.random.default_rng(seed))


def test_beside_one_that_runs_another_promises_less_than_far_from_it(
    posterior: Posterior,
) -> None:
    alone = promise(posterior, NOTHING)[1]
    assert promise(posterior, rows(0.5))[1] < 0.2 * alone
    assert promise(posterior, rows(0.05))[1] > 0.9 * alone


def test_what_runs_may_become_the_best_and_leave_less_to_gain_elsewhere(
    posterior: Posterior,
) -> None:
    poor, promising = promise(posterior, rows(0.05)), promise(posterior, rows(0.6))
    assert (promising <= poor).all() and promising[2] < 0.7 * poor[2]


def test_nothing_that_runs_is_the_known_formula(posterior: Posterior) -> None:
    """Of one guess: deviation × (z × Φ(z) + φ(z)); of several their weighed mean."""
    means, deviations = posterior.predict(AT)
    expected = np.zeros(len(AT))
    for weight, mean, deviation in zip(posterior.weights, means, deviations, strict=True):
        luck = np.random.default_rng(3).standard_normal((200_000, 1))
        expected += weight * np.maximum(mean + deviation * luck - 0.9, 0.0).mean(axis=0)
    assert promise(posterior, NOTHING) == pytest.approx(expected, rel=0.03, abs=1e-3)


def test_the_answer_is_the_same_for_the_same_draws(posterior: Posterior) -> None:
    first, again = (promise(posterior, rows(0.5, 0.6), seed=5) for _ in range(2))
    assert (first == again).all()


def test_a_measurement_is_believed_as_far_as_its_noise_allows(posterior: Posterior) -> None:
    middle = posterior.mean(rows(0.0, 0.4, 0.9))
    assert middle == pytest.approx([-1.2, 0.9, 0.2], abs=0.3)
    _, deviations = posterior.predict(rows(0.4, 0.6))
    spread = posterior.weights @ deviations
    assert spread[0] < spread[1]
