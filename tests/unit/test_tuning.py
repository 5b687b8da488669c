"""What a task tries next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import tuning
from experiments.demo_models import write_folder
from experiments.models import Experiment, TuningTask
from experiments.objectives import objectives_of
from experiments.states import FailureKind, Status, TaskStatus
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION, TWO, measured

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


def end_all(task: TuningTask) -> None:
    for experiment in task.experiments.exclude(status=Status.SUCCESS):
        Experiment.objects.filter(pk=experiment.pk).update(
            status=Status.SUCCESS, objective_score=float(experiment.number), feasible=True
        )


def test_the_first_experiment_is_the_baseline(make_task: MakeTask) -> None:
    task = make_task()
    tuning.advance(task.pk)
    first, second = task.experiments.order_by("number")
    assert first.is_baseline and first.parameters == {}
    assert not second.is_baseline and second.parameters != {}


def test_no_more_are_in_flight_than_allowed(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=3)
    for _ in range(3):
        tuning.advance(task.pk)
    assert task.experiments.count() == 3


def test_a_task_ends_with_its_budget(make_task: MakeTask) -> None:
    task = make_task(max_iterations=4)
    for _ in range(5):
        tuning.advance(task.pk)
        end_all(task)
    task.refresh_from_db()
    assert task.experiments.count() == 4 and task.status == TaskStatus.COMPLETED


def test_a_task_ends_with_its_space_and_repeats_nothing(make_task: MakeTask) -> None:
    task = make_task(max_iterations=100)
    for _ in range(10):
        tuning.advance(task.pk)
        end_all(task)
    task.refresh_from_db()
    tried = [tuple(e.parameters.items()) for e in task.experiments.all()]
    assert len(tried) == len(set(tried)) == 1 + 6 and task.status == TaskStatus.COMPLETED


def test_a_task_that_does_not_run_gets_nothing(make_task: MakeTask) -> None:
    for status in (TaskStatus.PENDING, TaskStatus.PAUSED, TaskStatus.CANCELLED):
        task = make_task(status=status)
        tuning.advance(task.pk)
        assert task.experiments.count() == 0
        task.delete()


def test_a_failure_teaches_how_far_it_came_unless_it_may_pass(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    late = {"status": Status.FAILED, "error_kind": FailureKind.BENCHMARK_ERRORS, "reached": 0.75}
    make_experiment(task, **late)
    make_experiment(task, **late, error_may_pass=True)
    make_experiment(task, status=Status.FAILED, error_kind=FailureKind.LOST)
    trials = [tuning.trial(past, task.objectives) for past in tuning.history(task)]
    assert [trial.feasible for trial in trials] == [False, None, None]
    assert trials[0].reached == 0.75 and trials[0].score is None


def test_of_several_objectives_a_strategy_sees_each_turned_so_that_higher_is_better(
    make_task: MakeTask, make_experiment: Make
) -> None:
    front, weighed = make_task(objective=TWO), "maximize_throughput: 2, minimize_ttft_p90: 1"
    measured(make_experiment, front, 800.0, 0.5, penalty=1.0)
    (past,) = tuning.history(front)
    assert tuning.trial(past, front.objectives).scores == (400.0, -1.0)
    (score,) = tuning.trial(past, objectives_of(weighed)).scores
    assert score == past.objective_score
    assert tuning.trial(past, objectives_of("minimize_ttft")).scores == (-score,)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, (2, 0)),  # Without a pool nobody knows what its GPUs have
        ({"min_memory_mb": 8000}, (2, 8000)),
        ({"gpus": 3, "min_memory_mb": 0}, (3, 0)),
    ],
)
def test_an_experiment_asks_for_its_gpus_and_their_memory(
    db: None, tmp_path: Path, resources: dict[str, int], expected: tuple[int, int]
) -> None:
    data: dict[str, Any] = {**SPECIFICATION, "parameters": {"tp": [2]}, "resources": resources}
    data["model"] = {"id_or_path": str(write_folder(tmp_path / "model"))}
    task = TuningTask(status=TaskStatus.RUNNING)
    task.describe(from_dict(data))
    task.save()
    assert tuning.add_experiment(task, 1, tuning.Step({"tp": 2}))
    experiment = task.experiments.get()
    assert (experiment.gpus, experiment.min_memory_mb) == expected
