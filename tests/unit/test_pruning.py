"""What is old and has ended is deleted, and nothing else."""

import os
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_results.models import TaskResult

from experiments import audit, pruning
from experiments.models import AuditEntry, Experiment, Samples, TuningTask
from experiments.states import TASK_ENDED, Action, Status, TaskStatus

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
pytestmark = pytest.mark.django_db
NOW = timezone.now()
OLD, YOUNG = NOW - timedelta(days=91), NOW - timedelta(days=89)


@pytest.fixture(autouse=True)
def logs(settings: Any, tmp_path: Path) -> Path:
    settings.LOG_DIR = tmp_path / "logs"
    return tmp_path / "logs"


def write_log(experiment: Experiment) -> Path:
    experiment.folder.mkdir(parents=True)
    (experiment.folder / "engine.log").write_text("x" * 1000)
    return experiment.folder


def prune(*words: str) -> str:
    said = StringIO()
    call_command("prune", "--older-than", "90d", *words, stdout=said)
    return said.getvalue()


@pytest.mark.parametrize("status", sorted(TASK_ENDED))
def test_a_task_that_ended_long_ago_goes_with_its_rows_and_logs(
    status: TaskStatus, make_task: MakeTask, make_experiment: Make, logs: Path
) -> None:
    task = make_task(status)
    TuningTask.objects.update(finished_at=OLD)
    experiment = make_experiment(task, status=Status.FAILED)
    experiment.retry("once more")
    experiment.cancel()
    experiment.samples.create(level="D(1,1)", data={"ttft": [0.1]})
    folder = write_log(experiment)
    audit.record("ann", Action.START, task)
    assert f"would delete task {task.pk} task, 1 experiments" in prune("--dry-run")
    assert folder.exists() and TuningTask.objects.exists()
    assert f"deleted task {task.pk} task, 1 experiments, 0.0 MiB of logs" in prune()
    assert not (TuningTask.objects.exists() or Experiment.objects.exists())
    assert not Samples.objects.exists()
    assert list(logs.iterdir()) == []
    assert AuditEntry.objects.count() == 1
    assert prune() == "nothing has ended more than 90d ago\n"


@pytest.mark.parametrize(
    ("status", "finished_at", "experiment"),
    [
        (TaskStatus.COMPLETED, YOUNG, Status.SUCCESS),
        (TaskStatus.PENDING, None, None),
        (TaskStatus.RUNNING, None, Status.BENCHMARKING),
        (TaskStatus.PAUSED, None, Status.PENDING),
        (TaskStatus.CANCELLED, OLD, Status.BENCHMARKING),
    ],
)
def test_what_is_young_or_has_not_ended_is_kept(
    status: TaskStatus,
    finished_at: Any,
    experiment: Status | None,
    make_task: MakeTask,
    make_experiment: Make,
) -> None:
    task = make_task(status)
    TuningTask.objects.update(created_at=OLD, finished_at=finished_at)
    folder = write_log(make_experiment(task, status=experiment)) if experiment else None
    assert "nothing" in prune()
    assert TuningTask.objects.exists() and (folder is None or folder.exists())


def test_a_task_that_was_extended_meanwhile_is_kept(make_task: MakeTask) -> None:
    task = make_task(TaskStatus.COMPLETED)
    TuningTask.objects.update(finished_at=OLD)
    seen = TuningTask.objects.get()
    task.reopen(max_experiments=9)
    assert not pruning.delete_rows(seen, NOW) and TuningTask.objects.exists()


def test_old_logs_of_tasks_that_are_gone_are_deleted(
    make_task: MakeTask, make_experiment: Make, logs: Path, tmp_path: Path
) -> None:
    kept = write_log(make_experiment(make_task()))
    for name, at in (("998", OLD), ("999", YOUNG), ("notes", OLD)):
        (logs / name / "1-1").mkdir(parents=True)
        for path in (logs / name / "1-1", logs / name):
            os.utime(path, (at.timestamp(), at.timestamp()))
    (logs / "web.log").write_text("the service's own")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (logs / "997").symlink_to(elsewhere)
    assert prune() == "deleted logs of task 998, which is gone\n"
    left = {path.name for path in logs.iterdir()}
    assert left == {"997", "999", "notes", "web.log", kept.parent.name}
    assert elsewhere.exists() and kept.exists()


def test_old_results_of_jobs_are_deleted() -> None:
    for name, at in (("old", OLD), ("young", YOUNG)):
        TaskResult.objects.create(task_id=name)
        TaskResult.objects.filter(task_id=name).update(date_done=at)
    assert prune() == "deleted results of 1 jobs\n"
    assert TaskResult.objects.get().task_id == "young"


@pytest.mark.parametrize("text", ["", "soon", "-1d", "0d", "90w", "999999999d"])
def test_a_bad_time_deletes_nothing(text: str, make_task: MakeTask) -> None:
    make_task(TaskStatus.COMPLETED)
    TuningTask.objects.update(finished_at=OLD)
    with pytest.raises(CommandError, match="--older-than: ") as refused:
        call_command("prune", "--older-than", text)
    assert refused.value.returncode == 2 and TuningTask.objects.exists()


def test_the_age_is_always_said() -> None:
    with pytest.raises(CommandError, match="--older-than") as refused:
        call_command("prune")
    assert refused.value.returncode == 2
