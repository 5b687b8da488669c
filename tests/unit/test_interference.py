"""What neighbours cost, from levels that were measured with and without them."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import interference
from experiments.models import Experiment, TuningTask
from experiments.states import Status

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


def level(speed: float, steady: int = 0, starting: int = 0) -> dict[str, Any]:
    neighbours = {"steady": steady, "starting": starting}
    metrics = {"output_throughput": speed, "ttft_mean": speed}
    return {"label": "concurrency 8", "metrics": metrics, "neighbours": neighbours}


def test_a_slowdown_compares_a_configuration_with_itself(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    done = {"status": Status.SUCCESS, "feasible": True}
    first = make_experiment(task, levels=[level(80.0, starting=1)], **done)
    make_experiment(task, levels=[level(500.0, steady=2)], **done)  # Faster, but another one
    make_experiment(task, levels=[level(98.0, steady=1)], repeat_of=first.number, **done)
    make_experiment(task, levels=[level(100.0)], repeat_of=first.number, **done)
    found = {one.neighbours: one for one in interference.slowdowns(task, task.experiments.all())}
    assert found["steady"].share == pytest.approx(0.02)
    assert found["starting"].share == pytest.approx(0.20)
    assert [one.pairs for one in found.values()] == [1, 1]


def test_a_level_that_was_measured_again_is_compared_with_itself(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective="minimize_ttft")
    levels = [{**level(1.0), "superseded": level(1.3, starting=1)}]
    make_experiment(task, levels=levels, status=Status.SUCCESS, feasible=True)
    assert interference.sentence(task, task.experiments.all()) == (
        "30% worse while a neighbour started (1 level)"
    )


def test_a_neighbour_that_did_no_harm_is_not_called_worse(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    levels = [{**level(100.0), "superseded": level(110.0, starting=1)}]
    make_experiment(task, levels=levels, status=Status.SUCCESS, feasible=True)
    said = interference.sentence(task, task.experiments.all())
    assert said == "10% better while a neighbour started (1 level)"


def test_what_a_starting_neighbour_costs_is_the_usual_share_until_it_was_measured(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    done = {"status": Status.SUCCESS, "feasible": True}
    assert interference.disturbance(task) == 0.2
    make_experiment(task, levels=[{**level(100.0), "superseded": level(60.0, starting=1)}], **done)
    assert interference.disturbance(task) == pytest.approx((4 * 0.2 + 0.4) / 5)
    for _ in range(19):
        quiet = {**level(100.0), "superseded": level(101.0, starting=1)}
        make_experiment(task, levels=[quiet], **done)
    assert interference.disturbance(task) < 0.06


def test_of_times_the_cost_is_what_a_quiet_node_would_take_off(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective="minimize_ttft")
    levels = [{**level(1.0), "superseded": level(1.25, starting=1)}]
    make_experiment(task, levels=levels, status=Status.SUCCESS, feasible=True)
    assert interference.disturbance(task) == pytest.approx(0.2)


def test_nothing_is_said_of_what_was_measured_in_one_way_only(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, levels=[level(80.0, steady=1)], status=Status.SUCCESS, feasible=True)
    assert interference.sentence(task, task.experiments.all()) == ""
