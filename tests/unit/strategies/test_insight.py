"""What is said of the parameters after a search."""

import random

from experiments.space import parse_space
from experiments.strategies.base import Trial
from experiments.strategies.insight import Insight, insight

SPACE = parse_space(
    {
        "batch": [1, 2, 4, 8, 16, 32],
        "caching": [True, False],
        "noise": ["a", "b", "c"],
    }
)


def speed(configuration: dict) -> float:
    return 100.0 * configuration["batch"] ** 0.5 * (1.2 if configuration["caching"] else 1.0)


def found(maximize: bool = True, count: int = 20, shift: float = 0.0) -> Insight:
    rng = random.Random(1)
    points = rng.sample(list(SPACE.grid()), count)
    trials = [
        Trial(point, speed(point) * rng.uniform(0.98, 1.02) + shift, True) for point in points
    ]
    answer = insight(SPACE, trials, maximize=maximize, seed=1)
    assert answer is not None
    return answer


def test_what_moves_the_score_is_important_and_what_does_not_is_not() -> None:
    shares = {effect.name: effect.importance for effect in found().effects}
    assert [effect.name for effect in found().effects] == ["batch", "caching", "noise"]
    assert shares["batch"] > 0.6 and shares["noise"] < 0.05


def test_the_best_region_is_where_the_score_is_best() -> None:
    best = {effect.name: effect.best for effect in found().effects}
    assert best["batch"] == [32] and best["caching"] == [True]
    worst = {effect.name: effect.best for effect in found(maximize=False).effects}
    assert worst["batch"] == [1] and worst["caching"] == [False]


def test_a_ratio_says_how_much_worse_a_value_is() -> None:
    effects = {effect.name: dict(effect.ratios) for effect in found().effects}
    assert effects["caching"][True] == 1.0
    assert abs(effects["caching"][False] - 1 / 1.2) < 0.05


def test_scores_that_are_not_all_positive_have_no_ratios() -> None:
    answer = found(shift=-200.0)
    assert all(effect.ratios == [] for effect in answer.effects)
    assert answer.effects[0].name == "batch" and 32 in answer.effects[0].best


def test_what_to_try_next_was_not_tried_and_says_its_chance() -> None:
    rng = random.Random(2)
    points = [point for point in SPACE.grid() if point["batch"] < 32]
    trials = [Trial(point, speed(point), True) for point in rng.sample(points, 15)]
    answer = insight(SPACE, trials, maximize=True, seed=1)
    assert answer is not None
    assert answer.promises[0].configuration["batch"] == 32
    assert 0.3 < answer.promises[0].chance <= 1.0


def test_nothing_is_said_of_a_handful_of_results() -> None:
    trials = [Trial(SPACE.first(), 1.0, True)]
    assert insight(SPACE, trials, maximize=True, seed=1) is None


def test_a_long_history_is_explained_too() -> None:
    space = parse_space({"a": [1, 2, 4], "b": [True, False]})
    trials = [
        Trial({"a": (1, 2, 4)[i % 3], "b": i % 2 == 0}, 100.0 * (1, 2, 4)[i % 3] + i % 7, True)
        for i in range(150)
    ]
    found = insight(space, trials, maximize=True, seed=1)
    assert found is not None and found.effects[0].name == "a"
