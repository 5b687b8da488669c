"""What is old is deleted: ended tasks with their experiments, their logs, and results of jobs.

The audit is kept. What has not ended is never touched, however old it is.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django_celery_results.models import TaskResult

from experiments.models import Experiment, TuningTask
from experiments.states import ENDED, TASK_ENDED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruned:
    """One thing that is deleted, or would be."""

    what: str
    experiments: int = 0
    log_bytes: int = 0

    def __str__(self) -> str:
        parts = [self.what]
        if self.experiments:
            parts.append(f"{self.experiments} experiments")
        if self.log_bytes:
            parts.append(f"{self.log_bytes / 2**20:.1f} MiB of logs")
        return ", ".join(parts)


def prune(before: datetime, dry_run: bool = False) -> Iterator[Pruned]:
    """Delete what had ended before this moment, and say each as it is done."""
    for task in ended(before):
        folder = settings.LOG_DIR / str(task.pk)
        found = Pruned(f"task {task.pk} {task}", task.experiments.count(), size(folder))
        # The rows first: logs without rows are found the next time, rows without logs never
        if dry_run or delete_rows(task, before):
            if not dry_run:
                delete_folder(folder)
            yield found
    for folder in orphans(before):
        found = Pruned(f"logs of task {folder.name}, which is gone", log_bytes=size(folder))
        if not dry_run:
            delete_folder(folder)
        yield found
    results = TaskResult.objects.filter(date_done__lt=before)
    if count := results.count():
        if not dry_run:
            results.delete()
        yield Pruned(f"results of {count} jobs")


def ended(before: datetime) -> "QuerySet[TuningTask]":
    """The tasks that ended before this moment, and nothing of which still stops."""
    stopping = Experiment.objects.exclude(status__in=ENDED).values("task")
    old = TuningTask.objects.filter(status__in=TASK_ENDED, finished_at__lt=before)
    return old.exclude(pk__in=stopping).order_by("pk")


def delete_rows(task: TuningTask, before: datetime) -> bool:
    """Whether it was deleted: a person may have extended it since."""
    with transaction.atomic():
        # The row lock orders this against a retry and an extension
        still = TuningTask.objects.select_for_update().filter(pk=task.pk)
        if still.first() is None or not ended(before).filter(pk=task.pk).exists():
            return False
        task.delete()
        return True


def orphans(before: datetime) -> Iterator[Path]:
    """Folders of logs on this node whose task is gone, and in which nothing was written since."""
    if not settings.LOG_DIR.is_dir():
        return
    folders = [path for path in settings.LOG_DIR.iterdir() if is_of_a_task(path)]
    alive = set(TuningTask.objects.values_list("pk", flat=True))
    for folder in sorted(folders, key=lambda path: int(path.name)):
        if int(folder.name) not in alive and newest(folder) < before.timestamp():
            yield folder


def is_of_a_task(path: Path) -> bool:
    number = path.name.isascii() and path.name.isdigit()
    return number and path.is_dir() and not path.is_symlink()


def newest(folder: Path) -> float:
    """When something in it was written last."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def size(folder: Path) -> int:
    """The bytes in its files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def delete_folder(folder: Path) -> None:
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        log.warning("Logs are left: %s", error)
