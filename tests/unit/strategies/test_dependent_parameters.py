"""What every strategy promises of spaces with conditions and constraints."""

import pytest

from experiments.space import parse_space
from experiments.strategies import STRATEGIES
from experiments.strategies.base import Trial

RAW = {
    "tokens": {"type": "integer", "low": 1, "high": 4, "when": {"speculative": True}},
    "speculative": [True, False],
    "tp": [1, 2, 4],
    "batch": {"type": "integer", "low": 4, "high": 10, "step": 3},
}
CONSTRAINTS = ["tp * 2 <= batch", "tokens + tp < 6"]
FINITE = parse_space(RAW, CONSTRAINTS)
ENDLESS = parse_space(
    {**RAW, "share": {"type": "float", "low": 0, "high": 1, "when": {"tp": [2, 4]}}},
    [*CONSTRAINTS, "share * 10 < batch"],
)
CASES = [
    pytest.param(strategy, space, id=f"{name}-{kind}")
    for name, strategy in STRATEGIES.items()
    for kind, space in (("finite", FINITE), ("endless", ENDLESS))
    if (name, kind) != ("grid_search", "endless")
]


@pytest.mark.parametrize(("strategy", "space"), CASES)
def test_nothing_forbidden_inactive_or_tried_is_proposed(strategy, space):
    trials = [Trial({}, 1.0, True)]
    for number in range(20):
        point = strategy.ask(space, trials, maximize=True, seed=3)
        assert space.allows(point) and space.contains(point) and space.active(point) == point
        kinds = [(float(number), True), (float(-number), False), (None, False), (None, None)]
        trials.append(Trial(point, *kinds[number % 4]))
    assert len({space.key(trial.configuration) for trial in trials}) == len(trials)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_all_that_is_allowed_is_tried_and_then_nothing_is_left(strategy):
    trials = []
    while (point := strategy.ask(FINITE, trials, maximize=True, seed=3)) is not None:
        trials.append(Trial(point, float(len(trials)), True))
        assert len(trials) <= FINITE.size()
    assert len(trials) == FINITE.size()
