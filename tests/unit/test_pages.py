"""How pages write figures, and what of a task they show."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from experiments import findings, picture, roles, task_numbers, task_table
from experiments.figures import elapsed, number, objective, percent, plain
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from tests.unit.conftest import TWO, measured

NOW = timezone.now()


@pytest.mark.parametrize(
    ("value", "text"),
    [(8246.7, "8,247"), (34.5, "34.5"), (0.01234, "0.01234"), (-1500.0, "-1,500"), (0, "0")],
)
def test_a_number_has_the_digits_that_matter(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.64, "1.6 s"), (42, "42 s"), (256, "4 min 16 s"), (7500, "2 h 05 min")],
)
def test_a_time_is_written_for_people(seconds: float, text: str) -> None:
    assert elapsed(NOW, NOW + timedelta(seconds=seconds), NOW) == text


def test_what_runs_is_timed_until_now_and_what_waits_is_not() -> None:
    assert elapsed(NOW - timedelta(seconds=75), None, NOW) == "1 min 15 s"
    assert elapsed(None, None, NOW) == ""


def test_gains_have_a_sign() -> None:
    assert (percent(0.1234), percent(-0.05), percent(12.5)) == ("+12.3%", "-5.0%", "+1,250%")


def test_true_is_written_as_engines_read_it() -> None:
    assert (plain(True), plain(8), plain("auto")) == ("true", "8", "auto")


@pytest.mark.parametrize(
    ("engine", "text", "shown"),
    [
        ("vllm", "maximize_throughput", ("output throughput", "tok/s", 1.0)),
        ("vllm", "minimize_ttft", ("ttft mean", "ms", 1000.0)),
        ("vllm", "maximize_requests_per_second", ("requests per second", "req/s", 1.0)),
        ("job", "minimize_latency_of_mine", ("latency of mine", "", 1.0)),
    ],
)
def test_the_page_shows_milliseconds_of_what_the_database_has_in_seconds(
    engine: str, text: str, shown: tuple[str, str, float]
) -> None:
    assert objective(TuningTask(engine=engine, objective=text)) == shown


@pytest.mark.parametrize(
    ("status", "experiment", "is_moving"),
    [
        (TaskStatus.PENDING, None, False),
        (TaskStatus.RUNNING, None, True),
        (TaskStatus.CANCELLED, Status.BENCHMARKING, True),
        (TaskStatus.COMPLETED, Status.SUCCESS, False),
    ],
)
def test_a_page_moves_while_something_runs(
    status: TaskStatus,
    experiment: Status | None,
    is_moving: bool,
    make_task: Callable[..., TuningTask],
    make_experiment: Callable[..., Experiment],
) -> None:
    task = make_task(status)
    if experiment is not None:
        make_experiment(task, status=experiment)
    assert picture.draw(task.pk, roles.Rights(steer=True)).is_moving is is_moving


def test_a_page_takes_the_same_few_queries_however_long_the_task_is(
    make_task: Callable[..., TuningTask],
    make_experiment: Callable[..., Experiment],
    django_assert_num_queries: Any,
) -> None:
    task = make_task()
    done: dict[str, Any] = {"status": Status.SUCCESS, "feasible": True, "objective_score": 1.0}
    for _ in range(20):
        make_experiment(task, **done)
    # Itself, its experiments, its vetoes, the winner's levels, the audit, the newest moves
    with django_assert_num_queries(6):
        picture.draw(task.pk, roles.Rights(steer=True))


@pytest.mark.parametrize(("share", "gain"), [(0.5, "+50.0%"), (-0.5, "+0.0%")])
def test_a_gain_is_green_and_the_defaults_are_the_best_where_there_is_none(
    share: float,
    gain: str,
    make_task: Callable[..., TuningTask],
    make_experiment: Callable[..., Experiment],
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    done: dict[str, Any] = {"status": Status.SUCCESS, "feasible": True}
    base = make_experiment(task, is_baseline=True, objective_score=100.0, **done)
    best = make_experiment(task, objective_score=100.0 * (1 + share), **done)
    found = findings.found_by(task, [base, best])
    figure = task_numbers.gain_number(task, [base, best], found)
    assert (figure["value"], figure["tone"]) == (gain, "good" if share > 0 else "")


def test_defaults_that_failed_are_said(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    base = make_experiment(task, is_baseline=True, status=Status.FAILED)
    found = findings.found_by(task, [base])
    assert task_numbers.gain_number(task, [base], found)["note"] == "the defaults failed"


def test_a_job_shows_its_own_metrics(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task(objective="maximize_throughput")
    task.engine, task.objective = "job", "maximize_speed"
    made = make_experiment(task, metrics={"speed": 1.0, "memory": 2.0, "loss": 3.0})
    assert [column.title for column in task_table.columns_of(task, [made])] == ["memory", "loss"]


def test_a_front_is_marked_drawn_and_explained(task_with_a_front: TuningTask) -> None:
    html = picture.draw(task_with_a_front.pk, roles.Rights()).fragments
    assert html["rows"].count("◆ on the front") == 1 and html["rows"].count("★ best") == 1
    assert "One of 2 on the Pareto front, each" in html["winner"]
    assert "#5</a> ★" in html["winner"] and "+50.0%" in html["winner"]
    assert "#5: 150 tok/s, 500 ms" in html["charts"]
    assert "ttft p90 (ms), less is better" in html["charts"]


def test_weights_have_columns_for_each_objective_and_no_front(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task(objective={TWO[0]: 2, TWO[1]: 1})
    measured(make_experiment, task, 150.0, 0.5)
    html = picture.draw(task.pk, roles.Rights()).fragments
    assert "ttft p90 ms" in html["rows"] and ">500</td>" in html["rows"]
    assert "on the front" not in html["rows"]


def test_a_pruned_experiment_says_why_and_its_score_is_about(
    make_experiment: Callable[..., Experiment],
) -> None:
    why = "at D(1,1) · concurrency 4: 60 tok/s, 40% below #1 (margin 12%)"
    one = make_experiment(
        status=Status.SUCCESS,
        feasible=True,
        pruned=True,
        pruned_why=why,
        objective_score=61.0,
        metrics={"output_throughput": 60.0},
    )
    found = findings.found_by(one.task, [one])
    (row,) = task_table.table(one.task, [one], found, task_table.View(), NOW)["rows"]
    assert (row["remark"], row["score"], row["is_best"]) == ("pruned", "≈ 61", False)
    assert not any(text for _, text in row["metrics"])
    assert why in picture.draw(one.task_id, roles.Rights()).fragments["rows"]
    assert found.best is None
