"""The numbers on top of a task's page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from experiments import findings, progress, task_numbers
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from tests.unit.conftest import succeeded

NOW = timezone.now()


def figures(task: TuningTask, made: list[Experiment]) -> dict[str, dict[str, Any]]:
    found = findings.found_by(task, made)
    return {one["label"]: one for one in task_numbers.numbers(task, made, found, NOW)}


def minutes(count: float) -> Any:
    return NOW - timedelta(minutes=count)


def test_what_failed_or_was_pruned_does_not_meet_the_objectives(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    made = [
        make_experiment(task, **succeeded()),
        make_experiment(task, **succeeded(feasible=False)),
        make_experiment(task, **succeeded(pruned=True)),
        make_experiment(task, status=Status.FAILED),
        make_experiment(task, status=Status.CANCELLED),
    ]
    figure = figures(task, made)["Meet the objectives"]
    assert (figure["value"], figure["note"]) == ("25%", "1 missed, 1 pruned, 1 failed")


def test_gpu_use_is_the_share_of_the_time_of_the_gpus_it_had(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    first = succeeded(placed_at=minutes(40), gpu_uuids=["a"])
    made = [
        make_experiment(task, **{**first, "finished_at": minutes(20)}),
        make_experiment(
            task, status=Status.BENCHMARKING, placed_at=minutes(20), gpu_uuids=["a", "b"]
        ),
    ]
    assert progress.gpu_use(made, NOW) == progress.GpuUse(0.75, 2)
    figure = figures(task, made)["GPU use"]
    assert (figure["value"], figure["unit"]) == ("75%", "of 2 GPUs")
    assert progress.gpu_use([], NOW) is None


def test_what_goes_on_is_said_beside_what_has_ended(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    made = [
        make_experiment(task, **succeeded()),
        make_experiment(task, status=Status.FAILED),
        make_experiment(task, status=Status.DEPLOYING),
        make_experiment(task),
    ]
    figure = figures(task, made)["Experiments"]
    assert (figure["value"], figure["note"]) == ("2 / 5", "1 running, 1 waiting, 1 failed")
