"""What the model expects of configurations that were measured."""

import random

import pytest

from experiments.space import parse_space
from experiments.strategies.base import Trial
from experiments.strategies.gp import expected_scores

SPACE = parse_space({"x": {"type": "int", "low": 1, "high": 20}, "y": [True, False]})


def results(maximize: bool, lucky: int = 8) -> list[Trial]:
    """A slope with noise, and one measurement that is better than all by luck; one that failed."""
    rng = random.Random(1)
    trials = [Trial({}, 100.0, True), Trial({"x": 20, "y": False}, None, False)]
    for x in range(1, 20):
        score = 100.0 * 1.02**x * (1.3 if x == lucky else rng.uniform(0.99, 1.01))
        trials.append(Trial({"x": x, "y": True}, score if maximize else 1e4 / score, True))
    return trials


@pytest.mark.parametrize("maximize", [True, False])
def test_a_lucky_measurement_is_shrunk_towards_those_like_it(maximize: bool) -> None:
    trials = results(maximize)
    expected = expected_scores(SPACE, trials, maximize=maximize, seed=1)
    found = max if maximize else min
    measured = {index: trial.score or 0.0 for index, trial in enumerate(trials) if index > 1}
    assert trials[found(measured, key=measured.__getitem__)].configuration["x"] == 8
    assert trials[found(expected, key=expected.__getitem__)].configuration["x"] != 8
    for index, score in expected.items():
        if trials[index].configuration["x"] != 8:
            assert score == pytest.approx(measured[index], rel=0.05)


def test_nothing_is_expected_of_failures_the_baseline_and_of_too_few_results() -> None:
    trials = results(maximize=True)
    assert set(expected_scores(SPACE, trials, maximize=True, seed=1)) == set(range(2, 21))
    assert expected_scores(SPACE, trials[:5], maximize=True, seed=1) == {}


def test_the_answer_is_the_same_for_the_same_results() -> None:
    first, again = (expected_scores(SPACE, results(True), maximize=True, seed=3) for _ in range(2))
    assert first == again
