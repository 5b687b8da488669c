"""The promises of every strategy, over all that are registered; then each one's own."""

import math
import statistics
import subprocess
import sys

import pytest

from experiments.errors import BadInput
from experiments.space import parse_space
from experiments.strategies import STRATEGIES
from experiments.strategies.base import Trial
from experiments.strategies.nsga2 import PARENTS, population

FINITE = {
    "batch": [4, 1],
    "utilization": {"type": "float", "low": 0.7, "high": 0.84, "step": 0.05},
    "chunk": {"type": "int", "low": 1, "high": 6, "step": 2},
    "caching": [True, False],
}
ENDLESS = {
    "x": {"type": "float", "low": 0, "high": 1},
    "rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "tokens": {"type": "int", "low": 200, "high": 8000, "step": 100, "log": True},
    "stepped": {"type": "float", "low": 0.1, "high": 10, "step": 0.3, "log": True},
    "mixed": ["auto", 1, True, 0.5],
}
# A grid has an end; every other strategy takes any space
CASES = [
    pytest.param(strategy, raw, id=f"{name}-{kind}")
    for name, strategy in STRATEGIES.items()
    for kind, raw in (("finite", FINITE), ("endless", ENDLESS))
    if (name, kind) != ("grid_search", "endless")
]
on_every_space = pytest.mark.parametrize(("strategy", "raw"), CASES)


@pytest.fixture(params=STRATEGIES.values(), ids=STRATEGIES)
def strategy(request):
    return request.param


def outcome(number, configuration):
    """Every kind of end, one after the other."""
    kinds = [(float(number), True), (float(-number), False), (None, False)]
    return Trial(configuration, *kinds[number % 3])


def history(strategy, space, length, *, finished=True, seed=1):
    trials = [Trial({}, 1.0, True)]  # The baseline, which is outside of the space
    for number in range(length):
        configuration = strategy.ask(space, trials, maximize=True, seed=seed)
        assert configuration is not None
        trial = outcome(number, configuration) if finished else Trial(configuration, None, None)
        trials.append(trial)
    return trials


@on_every_space
def test_a_strategy_stays_in_the_space(strategy, raw):
    space = parse_space(raw)
    trials = history(strategy, space, 20)
    assert all(space.contains(trial.configuration) for trial in trials[1:])


@on_every_space
def test_a_strategy_never_repeats_itself(strategy, raw):
    space = parse_space(raw)
    trials = history(strategy, space, 20)
    assert len({space.key(trial.configuration) for trial in trials}) == len(trials)


@on_every_space
def test_experiments_that_run_are_not_asked_for_again(strategy, raw):
    space = parse_space(raw)
    trials = history(strategy, space, 12, finished=False)
    assert len({space.key(trial.configuration) for trial in trials}) == len(trials)


@on_every_space
def test_parallel_asks_after_results_differ(strategy, raw):
    space = parse_space(raw)
    trials = history(strategy, space, 10)
    for _ in range(4):
        answer = strategy.ask(space, trials, maximize=False, seed=1)
        trials.append(Trial(answer, None, None))
    assert len({space.key(trial.configuration) for trial in trials}) == len(trials)


@on_every_space
def test_the_same_history_and_seed_give_the_same_answer(strategy, raw):
    space = parse_space(raw)
    for length in (0, 5, 14):
        trials = history(strategy, space, length)
        answers = [strategy.ask(space, trials, maximize=True, seed=3) for _ in range(2)]
        assert answers[0] == answers[1]


def test_a_finite_space_is_exhausted_and_then_there_is_nothing_left(strategy):
    space = parse_space(FINITE)
    trials = history(strategy, space, space.size())
    assert strategy.ask(space, trials, maximize=True, seed=1) is None
    tried = {space.key(trial.configuration) for trial in trials[1:]}
    assert tried == {space.key(point) for point in space.grid()}


def test_a_space_of_one_point_is_tried_once(strategy):
    space = parse_space({"only": ["fcfs"]})
    assert strategy.ask(space, [], maximize=True, seed=1) == {"only": "fcfs"}
    assert strategy.ask(space, [Trial({"only": "fcfs"}, 1.0, True)], maximize=True, seed=1) is None


def test_values_keep_their_types(strategy):
    space = parse_space({"mixed": [True, 1], "count": {"type": "int", "low": 1, "high": 3}})
    for trial in history(strategy, space, space.size())[1:]:
        assert type(trial.configuration["mixed"]) in (bool, int)
        assert type(trial.configuration["count"]) is int


def test_grid_search_goes_in_the_users_order():
    space = parse_space(FINITE)
    trials = history(STRATEGIES["grid_search"], space, space.size())
    assert [trial.configuration for trial in trials[1:]] == list(space.grid())


def test_grid_search_refuses_a_space_without_end():
    with pytest.raises(BadInput, match=r"parameters\.x: cannot be listed"):
        STRATEGIES["grid_search"].ask(parse_space(ENDLESS), [], maximize=True, seed=1)


def test_random_differs_by_seed_and_finds_the_last_of_many():
    wide = parse_space({"x": {"type": "int", "low": 1, "high": 500, "log": True}})
    random_search = STRATEGIES["random"]
    assert len({str(random_search.ask(wide, [], maximize=True, seed=s)) for s in range(9)}) > 3
    trials = [Trial({"x": x}, 1.0, True) for x in range(1, 501) if x != 499]
    assert random_search.ask(wide, trials, maximize=True, seed=1) == {"x": 499}


SMOOTH = parse_space(
    {
        "x": {"type": "float", "low": 0, "high": 1},
        "y": {"type": "float", "low": 0, "high": 1},
        "batch": {"type": "int", "low": 1, "high": 64, "log": True},
    }
)


def quality(point):
    """A smooth surface whose best is 100."""
    distance = 80 * (point["x"] - 0.7) ** 2 + 60 * (point["y"] - 0.2) ** 2
    return 100 - distance - 4 * (math.log2(point["batch"]) - 4) ** 2


def search(name, seed, *, sign=1, fails=lambda point: False, length=30):
    trials = []
    for _ in range(length):
        point = STRATEGIES[name].ask(SMOOTH, trials, maximize=sign > 0, seed=seed)
        failed = fails(point)
        trials.append(Trial(point, None if failed else sign * quality(point), not failed))
    return trials


def best_of(trials):
    return max(abs(trial.score) for trial in trials if trial.score is not None)


@pytest.mark.parametrize("sign", [1, -1], ids=["maximize", "minimize"])
def test_bayesian_beats_random_on_a_smooth_surface(sign):
    medians = {
        name: statistics.median(best_of(search(name, seed, sign=sign)) for seed in range(5))
        for name in ("bayesian", "random")
    }
    assert medians["bayesian"] > medians["random"]


def test_bayesian_learns_where_configurations_fail():
    def fails(point):
        return point["x"] > 0.72  # Right beside the best

    failures = [
        sum(trial.score is None for trial in search("bayesian", seed, fails=fails)[10:])
        for seed in range(5)
    ]
    assert statistics.median(failures) < 10  # Of 20; without learning it is more than half


def test_bayesian_goes_where_configurations_come_furthest():
    def late_ones_of_the_last_20(seed):
        trials = []
        for _ in range(40):  # None has ever worked
            point = STRATEGIES["bayesian"].ask(SMOOTH, trials, maximize=True, seed=seed)
            reached = 0.75 if point["x"] < 0.3 else 0.0
            trials.append(Trial(point, None, False, reached))
        return sum(trial.reached > 0 for trial in trials[20:])

    # By chance it is 6 of 20
    assert statistics.median(late_ones_of_the_last_20(seed) for seed in range(3)) > 12


def test_bayesian_prefers_what_was_measured_to_what_failed():
    def measured_of_the_last_20(seed):
        trials = []
        for _ in range(40):
            point = STRATEGIES["bayesian"].ask(SMOOTH, trials, maximize=True, seed=seed)
            score = quality(point) if point["x"] < 0.3 else None
            trials.append(Trial(point, score, False, 0.0 if score else 0.75))
        return sum(trial.score is not None for trial in trials[20:])

    assert statistics.median(measured_of_the_last_20(seed) for seed in range(3)) > 12


@pytest.mark.parametrize("name", ["grid_search", "random"])
def test_how_far_a_failed_one_came_changes_no_other_strategy(name):
    space = parse_space(FINITE)
    first = next(space.grid())
    answers = [
        STRATEGIES[name].ask(space, [Trial(first, None, False, reached)], maximize=True, seed=1)
        for reached in (0.0, 0.75)
    ]
    assert answers[0] == answers[1]


def test_bayesian_prefers_what_is_feasible():
    def feasible_of_the_last_20(seed):
        trials = []
        for _ in range(40):
            point = STRATEGIES["bayesian"].ask(SMOOTH, trials, maximize=True, seed=seed)
            trials.append(Trial(point, quality(point), point["x"] < 0.4))
        return sum(trial.feasible for trial in trials[20:])

    # The best is at 0.7: without the constraint it is 0 to 3
    assert statistics.median(feasible_of_the_last_20(seed) for seed in range(3)) > 8


def test_optuna_is_not_loaded_until_it_is_asked():
    code = "import sys, experiments.taskfile; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def trade(point):
    """Two objectives, each better when higher, whose best are 0.4 apart in x; and in [0, 1]."""
    away = (point["y"] - 0.2) ** 2 + (math.log2(point["batch"]) / 6 - 0.5) ** 2
    return tuple(math.exp(-4 * ((point["x"] - best) ** 2 + away)) for best in (0.3, 0.7))


def hypervolume(points):
    """The area that these dominate above (0, 0)."""
    area, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        area, height = area + x * max(0.0, y - height), max(y, height)
    return area


def front_search(name, seed, length=60, infeasible=lambda point: False):
    trials = []
    for _ in range(length):
        point = STRATEGIES[name].ask(SMOOTH, trials, maximize=True, seed=seed)
        scores, feasible = trade(point), not infeasible(point)
        trials.append(Trial(point, math.sqrt(math.prod(scores)), feasible, scores=scores))
    return trials


@pytest.mark.parametrize("name", ["nsga2", "bayesian"])
def test_a_front_is_found_sooner_than_by_chance(name):
    medians = {
        one: statistics.median(
            hypervolume([trial.scores for trial in front_search(one, seed)]) for seed in range(5)
        )
        for one in (name, "random")
    }
    assert medians[name] > medians["random"]


def test_nsga2_goes_on_from_its_best_and_not_from_the_first():
    means = [
        statistics.mean(trial.score for trial in front_search("nsga2", seed)[50:])
        - statistics.mean(trial.score for trial in front_search("nsga2", seed)[:8])
        for seed in range(5)
    ]
    assert min(means) > 0


def test_the_population_is_the_first_fronts_and_of_a_front_the_loneliest():
    def trial(*scores, feasible=True):
        return Trial({"x": scores[0]}, 1.0, feasible, scores=scores)

    ends, beaten = [trial(0.0, 9.0), trial(9.0, 0.0)], trial(1.0, 1.0)
    crowded, lonely = trial(8.0, 2.0), trial(4.0, 5.0)
    missed = trial(99.0, 99.0, feasible=False)
    failed = [Trial({"x": reached}, None, False, reached) for reached in (0.2, 0.8)]
    trials = [missed, *failed, beaten, crowded, lonely, *ends]
    assert population(trials, maximize=True) == [
        *(*ends, lonely, crowded, beaten),
        *(missed, failed[1], failed[0]),
    ]
    assert population([missed] * 20, maximize=True) == [missed] * PARENTS


def test_nsga2_keeps_to_what_met_the_objectives():
    last = front_search("nsga2", 1, infeasible=lambda point: point["y"] > 0.4)[30:]
    assert sum(trial.feasible for trial in last) > len(last) / 2


def test_gp_begins_inside_of_ranges_and_at_the_ends_of_lists():
    space = parse_space({"x": {"type": "float", "low": 0, "high": 1}, "list": [1, 2, 3, 4]})
    begun = history(STRATEGIES["gp"], space, 4, finished=False)[1:]
    assert all(0.25 <= trial.configuration["x"] <= 0.75 for trial in begun)
    assert {1, 4} <= {trial.configuration["list"] for trial in begun}


def test_gp_begins_at_the_ends_of_a_range_that_has_nothing_else():
    space = parse_space({"x": {"type": "int", "low": 1, "high": 2}, "flag": [True, False]})
    begun = history(STRATEGIES["gp"], space, 4, finished=False)[1:]
    assert {trial.configuration["x"] for trial in begun} == {1, 2}


def test_gp_begins_with_other_configurations_for_another_seed_even_in_a_small_space():
    space = parse_space({"batch": [1, 2, 4, 8], "chunked": [True, False], "eager": [True, False]})
    begun = [history(STRATEGIES["gp"], space, 4, finished=False, seed=seed) for seed in range(8)]
    designs = [frozenset(space.key(trial.configuration) for trial in one[1:]) for one in begun]
    assert len(set(designs)) > 4
    for trials in begun:  # Each of them has most of the list, and each flag both ways
        batches = [trial.configuration["batch"] for trial in trials[1:]]
        assert max(batches) >= 4 * min(batches)
        for flag in ("chunked", "eager"):
            assert {trial.configuration[flag] for trial in trials[1:]} == {True, False}
