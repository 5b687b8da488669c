"""One server under its load levels, with a server that is a function."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from experiments.benchmarks.base import Level, Measurement
from experiments.climbing import Climb
from experiments.models import Experiment, TuningTask
from experiments.states import Status

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
Serve = Callable[[Level, str], float]  # Tokens per second at a level


@pytest.fixture
def task(make_task: MakeTask) -> TuningTask:
    return make_task()


@pytest.fixture
def climb(task: TuningTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """Measures an experiment of a task whose best has a score of 100, on a server."""
    make_experiment(task, status=Status.SUCCESS, feasible=True, objective_score=100.0)
    mine = make_experiment(task, status=Status.BENCHMARKING, node="a")

    def results(serve: Serve, time_left: float = 600) -> dict[str, Any]:
        def measure(level: Level, *, name: str, seed: int) -> Measurement:
            return Measurement({"output_throughput": serve(level, name), "error_rate": 0.0})

        run = Climb(mine, measure, at=lambda *_: None, time_left=lambda: time_left)
        return run.results()

    return results


@pytest.fixture
def neighbour(task: TuningTask, make_experiment: Make) -> Experiment:
    """One that starts its engine on the same node."""
    return make_experiment(task, status=Status.DEPLOYING, node="a", started_at=timezone.now())


def test_each_level_says_who_was_on_the_node(climb: Any, neighbour: Experiment) -> None:
    levels = climb(lambda level, name: 10.0)["levels"]
    assert [level["neighbours"] for level in levels] == [{"steady": 0, "starting": 1}] * 2
    assert [level["disturbed"] for level in levels] == [True, True]


def test_a_disturbed_level_near_the_best_is_measured_again_and_the_quiet_one_counts(
    climb: Any, neighbour: Experiment
) -> None:
    def serve(level: Level, name: str) -> float:
        if name == "level-2":
            neighbour.begin_benchmark()  # It has started before the end of the second level
        return 130.0 if name.endswith("again") else 95.0

    done = climb(serve)
    assert done["objective_score"] == 130.0
    assert [level["disturbed"] for level in done["levels"]] == [False, False]
    superseded = [level["superseded"] for level in done["levels"]]
    assert [one["metrics"]["output_throughput"] for one in superseded] == [95.0, 95.0]
    assert all(one["disturbed"] for one in superseded)


def test_a_level_that_is_disturbed_both_times_counts_as_it_was_first(
    climb: Any, neighbour: Experiment
) -> None:
    done = climb(lambda level, name: 130.0 if name.endswith("again") else 95.0)
    assert done["objective_score"] == 95.0
    assert done["levels"][0]["superseded"]["metrics"]["output_throughput"] == 130.0


@pytest.mark.parametrize(("served", "time_left"), [(60.0, 600), (95.0, 0)])
def test_far_from_the_best_or_short_of_time_nothing_is_measured_again(
    climb: Any, neighbour: Experiment, served: float, time_left: float
) -> None:
    names = []
    climb(lambda level, name: names.append(name) or served, time_left)
    assert names == ["level-1", "level-2"]


def test_what_nobody_disturbs_is_measured_once(climb: Any) -> None:
    names = []
    done = climb(lambda level, name: names.append(name) or 200.0)
    assert names == ["level-1", "level-2"] and "superseded" not in done["levels"][0]
