"""A move is one UPDATE that matches the old status and lease, or raises."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction

from experiments.errors import IllegalMove, MovedElsewhere
from experiments.experiment import ATTEMPTS
from experiments.models import Experiment, Move, TuningTask
from experiments.states import FailureKind, Status, TaskStatus
from gpupool import Lease

Make = Callable[..., Experiment]


def test_a_move_writes_status_and_history_together(make_experiment: Make, lease: Lease) -> None:
    experiment = make_experiment()
    experiment.place(lease)
    assert (experiment.status, experiment.lease_id, experiment.lease_token) == (
        Status.PLACED,
        "lease-a",
        7,
    )
    [move] = Move.objects.all()
    assert (move.old, move.new, move.lease_id) == (Status.PENDING, Status.PLACED, "lease-a")


def test_of_two_who_move_one_experiment_one_raises(make_experiment: Make, lease: Lease) -> None:
    experiment = make_experiment()
    other = Experiment.objects.get(pk=experiment.pk)
    experiment.place(lease)
    with pytest.raises(MovedElsewhere):
        other.place(lease)
    assert Move.objects.count() == 1


def test_a_worker_that_lost_its_lease_cannot_write_a_result(
    make_experiment: Make, lease: Lease
) -> None:
    experiment = make_experiment(status=Status.BENCHMARKING, lease_id="old")
    late = Experiment.objects.get(pk=experiment.pk)
    experiment.requeue("its worker died")
    experiment.place(lease)
    experiment.start(["engine"])
    experiment.begin_benchmark()  # The next attempt is just as far
    with pytest.raises(MovedElsewhere):
        late.succeed(objective_score=1.0)
    experiment.refresh_from_db()
    assert experiment.status == Status.BENCHMARKING and experiment.objective_score is None


@pytest.mark.parametrize("ended", [Status.SUCCESS, Status.FAILED, Status.CANCELLED])
def test_nothing_leaves_an_end(make_experiment: Make, ended: Status) -> None:
    experiment = make_experiment(status=ended)
    for move in (experiment.cancel, experiment.begin_benchmark, lambda: experiment.requeue("x")):
        with pytest.raises(IllegalMove):
            move()


@pytest.mark.parametrize("ended", [Status.FAILED, Status.CANCELLED])
def test_only_a_person_brings_back_what_ended_without_a_result(
    make_experiment: Make, lease: Lease, ended: Status
) -> None:
    experiment = make_experiment(status=ended, attempt=3, error_kind="lost", error_message="so")
    experiment.retry("asked for by ann")
    experiment.refresh_from_db()
    assert (experiment.status, experiment.attempt, experiment.last_attempt) == ("PENDING", 4, 6)
    assert not (experiment.error_kind or experiment.error_message or experiment.finished_at)
    experiment.place(lease)
    with pytest.raises(IllegalMove):
        experiment.retry("clicked twice")


def test_a_result_is_never_tried_again(make_experiment: Make) -> None:
    with pytest.raises(IllegalMove):
        make_experiment(status=Status.SUCCESS).retry("asked for by ann")


@pytest.mark.parametrize("ended", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_a_task_that_ended_is_reopened_and_neither_started_nor_resumed(
    make_task: Callable[..., TuningTask], ended: TaskStatus
) -> None:
    task = make_task(ended)
    for move in (task.start, task.resume, task.pause):
        with pytest.raises(IllegalMove):
            move()
    task.reopen(max_experiments=50)
    assert (task.status, task.max_experiments) == (TaskStatus.RUNNING, 50)
    assert task.finished_at is None


def test_a_lost_worker_is_the_next_attempt_and_the_last_one_is_lost(
    make_experiment: Make, lease: Lease
) -> None:
    experiment = make_experiment()
    for attempt in range(1, ATTEMPTS + 1):
        assert experiment.attempt == attempt
        experiment.place(lease)
        experiment.start(["engine"])
        experiment.requeue("its worker died")
    assert (experiment.status, experiment.error_kind) == (Status.FAILED, FailureKind.LOST)
    assert experiment.error_may_pass  # Worth a retry: its node was, or is, at fault


def test_an_experiment_that_no_worker_started_is_not_charged_an_attempt(
    make_experiment: Make, lease: Lease
) -> None:
    experiment = make_experiment()
    experiment.place(lease)
    experiment.requeue("its message was lost")
    assert (experiment.status, experiment.attempt, experiment.lease_id) == (Status.PENDING, 1, "")


def test_an_active_experiment_without_a_lease_cannot_be_stored(make_experiment: Make) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_experiment(status=Status.PLACED, lease_id="")


def test_max_parallel_experiments_is_at_least_1_in_the_database(
    make_task: Callable[..., TuningTask],
) -> None:
    task = make_task()
    with pytest.raises(IntegrityError), transaction.atomic():
        TuningTask.objects.filter(pk=task.pk).update(max_parallel_experiments=0)


def test_cancel_ends_what_waits_and_asks_what_runs(
    make_task: Callable[..., TuningTask], make_experiment: Make
) -> None:
    task = make_task()
    waits = make_experiment(task)
    placed = make_experiment(task, status=Status.PLACED)
    runs = make_experiment(task, status=Status.BENCHMARKING)
    done = make_experiment(task, status=Status.SUCCESS)
    task.cancel()
    for experiment in (waits, placed, runs, done):
        experiment.refresh_from_db()
    assert [e.status for e in (waits, placed)] == [Status.CANCELLED] * 2
    assert runs.status == Status.BENCHMARKING and runs.cancel_requested
    assert done.status == Status.SUCCESS and not done.cancel_requested
    with pytest.raises(IllegalMove):
        task.cancel()


def test_a_task_without_a_result_has_failed(
    make_task: Callable[..., TuningTask], make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, status=Status.FAILED)
    task.finish()
    assert task.status == TaskStatus.FAILED


def test_the_order_of_parameters_is_kept(make_experiment: Make) -> None:
    parameters = {"z-long-flag-name": 1, "a": 2, "bb": True}
    experiment = make_experiment(parameters=parameters)
    stored = Experiment.objects.get(pk=experiment.pk).parameters
    assert list(stored.items()) == list(parameters.items())
