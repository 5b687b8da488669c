"""Two metrics against each other: what is drawn where."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import findings
from experiments.models import Experiment, TuningTask
from experiments.scatter import scatter
from tests.unit.conftest import measured, succeeded


@pytest.fixture
def task(make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]) -> Any:
    """Throughput 100 at 100 ms (the defaults), 200 at 300 ms, 150 at 400 ms, and 300 at 600 ms,
    which misses the objective of 500 ms; and one that was pruned."""
    made = make_task()
    made.specification = {**made.specification, "slo": {"ttft": {"p95": {"threshold": 0.5}}}}
    made.save()
    for speed, wait, fields in (
        (100.0, 0.1, {"is_baseline": True, "parameters": {}}),
        (200.0, 0.3, {}),
        (150.0, 0.4, {}),
        (300.0, 0.6, {"feasible": False}),
        (900.0, 0.01, {"pruned": True}),
    ):
        metrics = {"output_throughput": speed, "ttft_p95": wait, "ttft_mean": wait / 2}
        make_experiment(made, **succeeded(objective_score=speed, metrics=metrics, **fields))
    return made


def drawn(task: TuningTask) -> dict[str, Any]:
    experiments = list(task.experiments.order_by("number"))
    found = scatter(task, experiments, findings.found_by(task, experiments))
    assert found is not None
    return found


def test_throughput_is_drawn_over_the_latency_that_has_an_objective(task: TuningTask) -> None:
    found = drawn(task)
    assert (found["x"].title, found["y"].title) == ("ttft p95 (ms)", "output throughput (tok/s)")
    titles = {mark["number"]: mark["title"] for mark in found["marks"]}
    assert titles[2] == "#2: 300 ms, 200 tok/s" and 5 not in titles


def test_outcomes_have_shapes_and_the_defaults_and_the_best_have_names(task: TuningTask) -> None:
    marks = {mark["number"]: mark for mark in drawn(task)["marks"]}
    kinds = {number: mark["kind"] for number, mark in marks.items()}
    assert kinds == {1: "front", 2: "best", 3: "met", 4: "missed"}
    assert [marks[number]["label"] for number in (1, 2, 3)] == ["defaults", "best", ""]
    assert marks[2]["is"] == "met"  # By which it is filtered


def test_a_best_that_was_pruned_at_first_is_named_where_it_was_measured(
    task: TuningTask, make_experiment: Callable[..., Experiment]
) -> None:
    for speed in (290.0, 310.0, 302.0):
        metrics = {"output_throughput": speed, "ttft_p95": 0.2}
        make_experiment(task, **succeeded(objective_score=speed, metrics=metrics, repeat_of=5))
    marks = {mark["number"]: mark for mark in drawn(task)["marks"]}
    assert [n for n, mark in marks.items() if mark["kind"] == "best"] == [8]
    assert marks[8]["label"] == "best" and 5 not in marks


def test_of_several_objectives_a_configuration_is_one_mark_by_all_its_measurements(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task(objective=["maximize_throughput", "minimize_ttft_p90"])
    measured(make_experiment, task, 100.0, 1.0)
    measured(make_experiment, task, 400.0, 0.2, pruned=True)  # An estimate
    measured(make_experiment, task, 200.0, 0.5, repeat_of=2)
    measured(make_experiment, task, 104.0, 0.9, repeat_of=1)
    titles = {mark["number"]: mark["title"] for mark in drawn(task)["marks"]}
    assert titles == {1: "#1: 104 tok/s, 900 ms", 2: "#2: 200 tok/s, 500 ms"}


def test_the_front_goes_in_steps_through_what_nothing_beats(task: TuningTask) -> None:
    found = drawn(task)
    marks = {mark["number"]: (mark["x"], mark["y"]) for mark in found["marks"]}
    (x1, y1), (x2, y2) = marks[1], marks[2]
    assert found["line"] == [(x1, y1, x2, y1), (x2, y1, x2, y2)]


def test_the_zone_ends_at_the_limit(task: TuningTask) -> None:
    found = drawn(task)
    assert found["x"].limit_text == "at most 500 ms"
    assert found["zone"] == {
        "x": "0%",
        "y": "0%",
        "width": found["x"].limit_place,
        "height": "100%",
    }


def test_a_limit_that_is_far_off_does_not_squeeze_the_marks(task: TuningTask) -> None:
    task.specification = {**task.specification, "slo": {"ttft": {"p95": {"threshold": 50.0}}}}
    found = drawn(task)
    assert found["x"].limit_text == "" and found["zone"]["width"] == "100%"


def test_without_objectives_there_is_no_zone_and_a_common_latency(task: TuningTask) -> None:
    task.specification = {**task.specification, "slo": {}}
    found = drawn(task)
    assert found["zone"] is None and found["x"].title == "ttft p95 (ms)"


def test_a_latency_that_is_the_objective_is_the_one_that_is_drawn(task: TuningTask) -> None:
    task.objective = "minimize_ttft"
    found = drawn(task)
    assert (found["x"].title, found["y"].title) == ("ttft mean (ms)", "output throughput (tok/s)")


def test_a_job_with_one_objective_has_none(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    task.engine, task.objective = "job", "maximize_speed"
    made = [make_experiment(task, **succeeded(metrics={"speed": 1.0})) for _ in range(3)]
    assert scatter(task, made, findings.found_by(task, made)) is None
