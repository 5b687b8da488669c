"""A task in one line: the strip, the best, the gain, and when it is expected to end."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from experiments import summaries
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from gpupool import Lease

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
NOW = timezone.now()
DONE: dict[str, Any] = {"status": Status.SUCCESS, "feasible": True}


def tones(strip: str) -> list[str]:
    """The colours of a strip's blocks."""
    return re.findall(r'class="at-(\w+)"', strip)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    summaries.forget()


def test_a_line_has_what_ended_the_best_and_the_gain(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, is_baseline=True, objective_score=100.0, **DONE)
    make_experiment(task, objective_score=150.0, **DONE)
    make_experiment(task, status=Status.BENCHMARKING)
    (line,) = summaries.of_tasks([task], NOW)
    assert (line["ended"], line["best"], line["gain"]) == (2, "150 tok/s", "+50.0%")
    assert line["is_better"] and line["end"] == "not known yet"
    assert tones(line["strip"]) == ["good", "good", "busy", "wait", "wait"]


def test_a_task_without_experiments_has_a_line_too(make_task: MakeTask) -> None:
    (line,) = summaries.of_tasks([make_task(TaskStatus.PENDING)], NOW)
    assert (line["best"], line["gain"], line["end"]) == ("–", "–", "not started")
    assert tones(line["strip"]) == ["wait"] * 5


def test_blocks_of_a_long_task_have_the_colour_of_most_of_theirs(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    experiments = [make_experiment(task, **DONE) for _ in range(2)]
    experiments.append(make_experiment(task, status=Status.FAILED))
    strip = tones(summaries.strip(experiments, 180))
    assert len(strip) == summaries.STRIP
    assert strip[:2] == ["good", "wait"]


@pytest.mark.parametrize("status", [TaskStatus.RUNNING, TaskStatus.COMPLETED])
def test_any_number_of_tasks_takes_the_same_queries_and_less_while_nothing_happens(
    status: TaskStatus, make_task: MakeTask, make_experiment: Make, django_assert_num_queries: Any
) -> None:
    tasks = [make_task(status)]
    tasks += [TuningTask(**{**columns(tasks[0]), "name": f"task {n}"}) for n in range(4)]
    for task in tasks:
        task.finished_at = NOW if task.has_ended else None
        task.save()
        for _ in range(3):
            make_experiment(task, objective_score=1.0, **DONE)
    with django_assert_num_queries(3):
        lines = summaries.of_tasks(tasks, NOW)
    assert [line["ended"] for line in lines] == [3] * 5
    with django_assert_num_queries(0 if status == TaskStatus.COMPLETED else 2):
        assert summaries.of_tasks(tasks, NOW) == lines


def columns(task: TuningTask) -> dict[str, Any]:
    kept = ("engine", "model", "objective", "status", "specification")
    return {name: getattr(task, name) for name in kept}


def test_a_task_that_ended_again_is_looked_at_again(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    task.finished_at = NOW
    make_experiment(task, objective_score=1.0, **DONE)
    assert summaries.of_tasks([task], NOW)[0]["ended"] == 1
    make_experiment(task, objective_score=2.0, **DONE)
    task.finished_at = NOW + timedelta(seconds=1)
    assert summaries.of_tasks([task], NOW)[0]["ended"] == 2


def test_what_still_runs_of_a_cancelled_task_is_followed_to_its_end(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(TaskStatus.CANCELLED)
    task.finished_at = NOW
    experiment = make_experiment(task, status=Status.BENCHMARKING)
    assert summaries.of_tasks([task], NOW)[0]["ended"] == 0
    experiment.cancel()
    assert summaries.of_tasks([task], NOW)[0]["ended"] == 1


def test_a_kept_line_is_another_one_after_a_move_and_after_a_change_of_its_task(
    make_task: MakeTask, make_experiment: Make, lease: Lease
) -> None:
    task = make_task()
    one = make_experiment(task)
    (before,) = summaries.of_tasks([task], NOW)
    one.place(lease)
    one.start(["vllm"])
    (moved,) = summaries.of_tasks([task], NOW)
    assert tones(before["strip"])[0] == "wait" and tones(moved["strip"])[0] == "busy"
    task.pause()
    assert summaries.of_tasks([task], NOW)[0]["end"] == "paused"
