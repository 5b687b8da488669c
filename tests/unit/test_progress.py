"""When a task will have ended, and where the time of an experiment went."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from experiments import progress
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def minutes_left(task: TuningTask, now: datetime) -> float | None:
    end = progress.expected_end(task, list(task.experiments.all()), now)
    return None if end is None else round((end - now).total_seconds() / 60, 3)


def ended(make: Make, task: TuningTask, now: datetime, minutes: float, **fields: object) -> None:
    start = now - timedelta(hours=1)
    finished = start + timedelta(minutes=minutes)
    fields = {"status": Status.SUCCESS, **fields}
    make(task, placed_at=start, started_at=start, finished_at=finished, **fields)


def running(make: Make, task: TuningTask, now: datetime, minutes: float) -> None:
    make(task, status=Status.BENCHMARKING, placed_at=now - timedelta(minutes=minutes))


def test_nothing_is_expected_of_a_task_of_which_nothing_has_ended(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task()
    running(make_experiment, task, now, 3)
    assert minutes_left(task, now) is None


def test_what_is_left_takes_turns_at_what_may_run_at_once(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task(max_iterations=6, max_parallel_experiments=2)
    ended(make_experiment, task, now, 10)
    running(make_experiment, task, now, 4)  # 6 minutes to go
    running(make_experiment, task, now, 9)  # 1 minute
    # 1 → 11 → 21 and 6 → 16 for the three that have not begun
    assert minutes_left(task, now) == 21


def test_only_the_gpus_there_are_count_while_they_are_short(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task(max_iterations=4, max_parallel_experiments=3)
    ended(make_experiment, task, now, 10)
    running(make_experiment, task, now, 5)
    make_experiment(task)
    make_experiment(task)
    assert minutes_left(task, now) == 25


def test_a_space_that_is_smaller_than_the_budget_ends_earlier(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task(max_iterations=100, max_parallel_experiments=1)
    ended(make_experiment, task, now, 10)
    assert minutes_left(task, now) == 60  # 6 configurations beside the baseline


@pytest.mark.parametrize("status", [TaskStatus.PAUSED, TaskStatus.COMPLETED, TaskStatus.CANCELLED])
def test_a_task_that_does_not_run_has_no_expected_end(
    make_task: MakeTask, make_experiment: Make, now: datetime, status: TaskStatus
) -> None:
    task = make_task(status)
    ended(make_experiment, task, now, 10)
    assert minutes_left(task, now) is None


def test_one_that_takes_longer_than_usual_ends_at_any_moment(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task(max_iterations=2)
    ended(make_experiment, task, now, 10)
    running(make_experiment, task, now, 30)
    assert minutes_left(task, now) == 0


def test_what_was_cancelled_says_nothing_of_the_others(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task(max_iterations=3, max_parallel_experiments=1)
    ended(make_experiment, task, now, 10)
    ended(make_experiment, task, now, 0.1, status=Status.CANCELLED)
    assert minutes_left(task, now) == 10


def test_the_phases_of_an_experiment_are_all_of_its_time(
    make_experiment: Make, now: datetime
) -> None:
    at = [now - timedelta(seconds=seconds) for seconds in (100, 90, 89, 59, 9)]
    names = ("queued_at", "placed_at", "started_at", "benchmarking_at", "finished_at")
    done = make_experiment(status=Status.SUCCESS, **dict(zip(names, at, strict=True)))
    assert progress.phases(done, now) == {
        "waiting": 10,
        "placed": 1,
        "starting": 30,
        "measuring": 50,
    }


def test_one_that_runs_is_in_its_phase_until_now_and_one_that_never_started_in_the_first(
    make_experiment: Make, now: datetime
) -> None:
    at = [now - timedelta(seconds=seconds) for seconds in (100, 90, 89)]
    names = ("queued_at", "placed_at", "started_at")
    starts = make_experiment(status=Status.DEPLOYING, **dict(zip(names, at, strict=True)))
    assert progress.phases(starts, now) == {"waiting": 10, "placed": 1, "starting": 89}
    crashed = make_experiment(starts.task, status=Status.FAILED, queued_at=at[0], finished_at=at[1])
    assert progress.phases(crashed, now) == {"waiting": 10}


def test_the_use_of_parallelism_is_how_many_ran_at_once_and_how_many_were_chosen_blindly(
    make_task: MakeTask, make_experiment: Make, now: datetime
) -> None:
    task = make_task()

    def ran(chosen: int, placed: int, finished: int) -> None:
        moments = {"created_at": chosen, "placed_at": placed, "finished_at": finished}
        at = {name: now + timedelta(minutes=minute) for name, minute in moments.items()}
        make_experiment(task, status=Status.SUCCESS, **at)

    assert progress.parallel_use(list(task.experiments.all())) is None
    ran(0, 0, 10)
    ran(0, 0, 10)
    ran(10, 10, 20)
    assert progress.parallel_use(list(task.experiments.all())) == (1.5, 1)
