"""Which experiments the table shows, and in which order."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from experiments import findings, picture, roles, task_table
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from experiments.task_table import View
from tests.unit.conftest import succeeded, url

NOW = timezone.now()


@pytest.fixture
def task(make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]) -> Any:
    """Scores 30, 10, 20 that misses the objectives, 25 pruned; a failure, one that runs, one that
    waits."""
    made = make_task()
    for score, extra in (
        (30.0, {"parameters": {"a": 8, "b": "x"}}),
        (10.0, {"parameters": {"a": 16}}),
        (20.0, {"parameters": {"a": 4}, "feasible": False}),
        (25.0, {"parameters": {"a": "auto"}, "pruned": True}),
    ):
        metrics = {"ttft_mean": 1 / score, "output_throughput": score}
        make_experiment(made, **succeeded(objective_score=score, metrics=metrics, **extra))
    make_experiment(made, status=Status.FAILED, error_kind="out_of_memory")
    start = NOW - timedelta(hours=1)
    make_experiment(made, status=Status.BENCHMARKING, started_at=start)
    make_experiment(made)
    return made


def table(task: TuningTask, sort: str = "", only: str = "") -> dict[str, Any]:
    experiments = list(task.experiments.order_by("number"))
    found = findings.found_by(task, experiments)
    return task_table.table(task, experiments, found, View(sort, only), NOW)


def numbers(task: TuningTask, sort: str = "", only: str = "") -> list[int]:
    return [row["experiment"].number for row in table(task, sort, only)["rows"]]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", [7, 6, 5, 4, 3, 2, 1]),
        ("number", [1, 2, 3, 4, 5, 6, 7]),
        ("score", [2, 3, 4, 1, 7, 6, 5]),
        ("-score", [1, 4, 3, 2, 7, 6, 5]),
        ("metric.ttft_mean", [1, 3, 2, 7, 6, 5, 4]),  # A pruned one's is of a part of the levels
        ("-time", [6, 4, 3, 2, 1, 7, 5]),
        ("status", [7, 6, 2, 1, 3, 4, 5]),
        ("parameter.a", [3, 1, 2, 4, 7, 6, 5]),  # Words after numbers
        ("-parameter.a", [4, 2, 1, 3, 7, 6, 5]),
        ("nonsense", [7, 6, 5, 4, 3, 2, 1]),
    ],
)
def test_rows_are_sorted_by_any_column_and_what_has_nothing_there_is_last(
    task: TuningTask, sort: str, order: list[int]
) -> None:
    assert numbers(task, sort) == order


@pytest.mark.parametrize(
    ("only", "shown"),
    [
        ("succeeded", [4, 3, 2, 1]),
        ("met", [2, 1]),
        ("missed", [3]),
        ("pruned", [4]),
        ("failed", [5]),
        ("running", [6]),
        ("waiting", [7]),
        ("cancelled", []),
    ],
)
def test_one_sees_only_what_one_chose(task: TuningTask, only: str, shown: list[int]) -> None:
    assert numbers(task, only=only) == shown


def test_a_filter_says_how_many_there_are_and_keeps_the_order(task: TuningTask) -> None:
    found = {one["word"]: one for one in table(task, "-score", "met")["filters"]}
    counts = {word: one["count"] for word, one in found.items()}
    assert counts == {
        **{"": 7, "waiting": 1, "running": 1, "succeeded": 4},
        **{"met": 2, "missed": 1, "pruned": 1, "failed": 1},
    }
    assert found["met"]["is_chosen"] and not found[""]["is_chosen"]
    assert found["failed"]["address"] == "?sort=-score&only=failed"


def test_what_does_not_fit_is_left_out_after_it_was_sorted(
    task: TuningTask, monkeypatch: Any
) -> None:
    monkeypatch.setattr(task_table, "SHOWN", 2)
    assert numbers(task, "-score") == [1, 4] and table(task)["left_out"] == 5


def test_a_head_sorts_the_other_way_when_it_is_clicked_again(task: TuningTask) -> None:
    heads = table(task, only="met")["heads"]
    assert (heads["number"]["direction"], heads["score"]["direction"]) == ("descending", "")
    assert heads["score"]["address"] == "?sort=-score&only=met"
    heads = table(task, "-score")["heads"]
    assert (heads["score"]["direction"], heads["score"]["address"]) == ("descending", "?sort=score")


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ({}, View()),
        ({"sort": "-score", "only": "failed"}, View("-score", "failed")),
        ({"only": "<script>"}, View()),
        ({"sort": "x" * 1000}, View()),
    ],
)
def test_an_address_that_says_nonsense_shows_everything(query: Any, view: View) -> None:
    assert View.of(query) == view


def test_every_mark_of_an_experiment_says_what_it_is(task: TuningTask) -> None:
    html = picture.draw(task.pk, roles.Rights()).fragments
    for part, word, marks in (
        *(("strip", "failed", 1), ("charts", "failed", 1), ("rows", "failed", 1)),
        *(("strip", "met", 2), ("rows", "met", 2)),
        ("charts", "met", 4),  # A mark in each of two charts
    ):
        assert html[part].count(f'data-is="{word}"') == marks, (part, word)


@pytest.mark.usefixtures("site")
def test_a_page_in_a_view_has_it_in_its_socket_its_heads_and_its_rows(
    task: TuningTask, staff: Callable[..., Client]
) -> None:
    address = url("tuningtask_live", task.pk)
    html = staff("view_tuningtask").get(f"{address}?sort=score&only=met").content.decode()
    assert f'ws-connect="/ws/tasks/{task.pk}/?sort=score&amp;only=met"' in html
    assert 'data-only="met"' in html and 'aria-sort="ascending"' in html
    assert html.index('<tr id="row-2"') < html.index('<tr id="row-1"')
    assert '<tr id="row-5"' not in html


@pytest.mark.usefixtures("site", "pool")
def test_an_answer_to_a_button_is_in_the_view_of_its_page(
    task: TuningTask, staff: Callable[..., Client]
) -> None:
    client = staff("view_tuningtask", "steer_tuningtask")
    address = url("tuningtask_live", task.pk)
    answer = client.post(
        url("tuningtask_act", task.pk, "pause"),
        headers={"HX-Request": "true", "HX-Current-URL": f"http://testserver{address}?only=met"},
    )
    html = answer.content.decode()
    assert '<tr id="row-1"' in html and '<tr id="row-5"' not in html


def test_a_row_is_compared_with_all_measurements_of_the_defaults(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    make_experiment(task, is_baseline=True, **succeeded(objective_score=90.0))
    make_experiment(task, parameters={"a": 8}, **succeeded(objective_score=120.0))
    assert [row["change"] for row in table(task, "number")["rows"]] == ["", "+33.3%"]

    make_experiment(task, repeat_of=1, **succeeded(objective_score=1000.0 / 9))
    changes = [row["change"] for row in table(task, "number")["rows"]]
    assert changes == ["", "+20.0%", "+11.1%"]  # Their geometric mean is 100
