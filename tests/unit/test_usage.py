"""How GPUs were used: what counts of the last day, and the share of it in which they sat idle."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from experiments import usage
from experiments.models import Experiment, TuningTask
from experiments.states import Status

NOW = timezone.now()


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


@pytest.fixture
def make(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> Callable[..., Experiment]:
    """Experiments of a task that was made two days ago."""
    task = make_task()
    TuningTask.objects.update(created_at=ago(48))
    return lambda **fields: make_experiment(task, **fields)


def test_gpu_hours_are_those_of_all_gpus_within_the_day(make: Callable[..., Experiment]) -> None:
    make(status=Status.SUCCESS, placed_at=ago(3), finished_at=ago(1), gpus=2)
    make(status=Status.FAILED, placed_at=ago(26), finished_at=ago(20))  # 4 h of it
    make(status=Status.SUCCESS, placed_at=ago(30), finished_at=ago(25), gpus=8)  # Before
    make(status=Status.SUCCESS, finished_at=ago(1))  # Taken over: it held nothing
    running = make(status=Status.BENCHMARKING, placed_at=ago(1), gpus=4)
    used = usage.of_last_day([running], NOW)
    assert (used.ended, used.succeeded, used.failed) == (2, 1, 1)
    assert used.gpu_seconds / 3600 == pytest.approx(4 + 4 + 4)
    assert used.idle(2) == pytest.approx(1 - 12 / 48)


def test_a_young_service_is_not_called_idle_for_the_time_before_it(
    make: Callable[..., Experiment],
) -> None:
    TuningTask.objects.update(created_at=ago(2))
    make(status=Status.SUCCESS, placed_at=ago(2), finished_at=ago(1))
    used = usage.of_last_day([], NOW)
    assert used.seconds == pytest.approx(7200) and used.idle(1) == pytest.approx(0.5)


def test_nothing_is_known_without_tasks_or_gpus(db: None) -> None:
    used = usage.of_last_day([], NOW)
    assert (used.ended, used.gpu_seconds, used.idle(4)) == (0, 0.0, None)


def test_the_sum_of_a_day_reads_an_index_alone(make: Callable[..., Experiment]) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("another database says its plan in other words")
    plan: Any = usage.ended_since(NOW).explain()
    assert "COVERING INDEX latest_ended" in plan
