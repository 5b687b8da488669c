"""The search for the highest rate on one server, which is a function here."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from django.utils import timezone

from experiments.benchmarks.base import Level, Measurement, StopWhen
from experiments.models import Experiment, TuningTask
from experiments.rate_climbing import RateClimb
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION

Make = Callable[..., Experiment]


@pytest.fixture
def task(db: None) -> TuningTask:
    specification = {
        **deepcopy(SPECIFICATION),
        "optimization": {"objective": "maximize_goodput"},
        "slo": {"latency": {"p90": {"threshold": 1.0}}},
        "benchmark": {"rate_search": {"low": 1, "high": 64}},
    }
    task = TuningTask(status=TaskStatus.RUNNING)
    task.describe(from_dict(specification))
    task.save()
    return task


@pytest.fixture
def climb(task: TuningTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """Measures an experiment on a server whose latency grows with the rate."""

    def results(holds: float, disturb: Experiment | None = None, **fields: Any) -> dict[str, Any]:
        def measure(
            level: Level, *, name: str, seed: int, stop_when: StopWhen | None
        ) -> Measurement:
            rate = level.request_rate or 0.0
            again = name.endswith("again")
            assert again or (stop_when and stop_when.at_most == {"latency_p90": 1.0})
            latency = rate / holds
            if disturb and disturb.status == Status.DEPLOYING and rate >= 4:
                latency *= 9
                disturb.begin_benchmark()
            metrics = {"latency_p90": latency, "error_rate": 0.0, "duration": 10.0}
            samples = {"latency": [latency] * 50}
            return Measurement({**metrics, "output_throughput": 10 * rate}, {**samples})

        mine = make_experiment(task, status=Status.BENCHMARKING, node="a", **fields)
        run = RateClimb(
            mine,
            measure,
            at=lambda *_: None,
            time_left=lambda: 600.0,
            pause=lambda: None,
        )
        return run.results()

    return results


def rates(done: dict[str, Any]) -> list[str]:
    return [level["label"].split(" · ")[1].split()[0] for level in done["levels"]]


def best_holds(task: TuningTask, make_experiment: Make, rate: float) -> None:
    done = {"status": Status.SUCCESS, "feasible": True, "objective_score": rate}
    make_experiment(task, metrics={"goodput": rate}, **done)


def test_the_score_is_the_highest_rate_that_holds_and_its_rungs_are_kept(climb: Any) -> None:
    done = climb(holds=11)
    assert rates(done) == ["1", "2", "4", "8", "9.51", "10.4", "11.3", "16"]
    assert done["objective_score"] == done["metrics"]["goodput"] == 10.4
    assert done["holds_at"] == "D(100,100) · 10.4 requests/s"
    assert done["metrics"]["output_throughput"] == pytest.approx(104)
    assert [level["feasible"] for level in done["levels"]] == [True] * 6 + [False] * 2
    assert done["levels"][0]["metrics"]["goodput"] == 5.0  # 50 requests in 10 s
    assert done["feasible"] and not done["pruned"] and len(done["samples"]) == 8


def test_where_not_even_the_lowest_rate_holds_it_is_infeasible(climb: Any) -> None:
    done = climb(holds=0.5)
    assert rates(done) == ["1"]
    assert (done["feasible"], done["objective_score"], done["holds_at"]) == (False, 0.0, "")


def test_what_breaks_just_below_the_best_rate_is_pruned_after_one_rung(
    climb: Any, task: TuningTask, make_experiment: Make
) -> None:
    best_holds(task, make_experiment, 20.0)
    done = climb(holds=10)
    assert rates(done) == ["17.7"] and done["pruned"]
    assert done["pruned_why"] == (
        "at D(100,100) · 17.7 requests/s: latency_p90 1.77 s is 77% above 1 s; #1 holds 20 req/s"
    )
    assert done["objective_score"] == pytest.approx(10.0)


def test_what_holds_there_is_searched_upwards_from_it(
    climb: Any, task: TuningTask, make_experiment: Make
) -> None:
    best_holds(task, make_experiment, 20.0)
    done = climb(holds=30)
    assert rates(done)[0] == "17.7" and not done["pruned"]
    assert 27 <= done["objective_score"] <= 30


def test_a_baseline_begins_at_the_lowest_rate(
    climb: Any, task: TuningTask, make_experiment: Make
) -> None:
    best_holds(task, make_experiment, 20.0)
    assert rates(climb(holds=3, is_baseline=True))[0] == "1"


def test_a_rate_that_breaks_while_a_neighbour_starts_is_measured_again(
    climb: Any, task: TuningTask, make_experiment: Make
) -> None:
    fields = {"status": Status.DEPLOYING, "node": "a", "started_at": timezone.now()}
    done = climb(holds=11, disturb=make_experiment(task, **fields))
    assert done["objective_score"] == 10.4
    [disturbed] = [level for level in done["levels"] if "superseded" in level]
    assert disturbed["feasible"] and disturbed["label"].endswith("4 requests/s")
