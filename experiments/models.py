"""The rows of the database: a tuning task is here, its experiments in `experiment.py`."""

import json
from collections.abc import Collection
from functools import lru_cache, partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from experiments import live
from experiments.audit import AuditEntry
from experiments.columns import JsonText, choices
from experiments.errors import IllegalMove, MovedElsewhere
from experiments.experiment import Experiment, Move
from experiments.gpu_readings import GpuReadings
from experiments.objectives import Objectives, objectives_of, write_objectives
from experiments.preset import Preset
from experiments.samples import Samples
from experiments.states import ENDED, TASK_ENDED, TASK_MOVES, Status, TaskStatus
from experiments.taskfile import TaskFile, from_dict
from experiments.veto import Veto

__all__ = [
    "AuditEntry",
    "Experiment",
    "GpuReadings",
    "Move",
    "Preset",
    "Samples",
    "TuningTask",
    "Veto",
]

PENDING, PAUSED = frozenset({TaskStatus.PENDING}), frozenset({TaskStatus.PAUSED})


@lru_cache(maxsize=32)  # Of the tasks that run now; more would only be kept in memory
def task_file(specification: str) -> TaskFile:
    """A stored task file. Every step of a task wants it, and it changes as good as never."""
    return from_dict(json.loads(specification))


class TuningTask(models.Model):
    """What to tune, how to search, and how to measure. The columns are the task file's fields."""

    name = models.CharField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    engine = models.CharField(max_length=20)
    model = models.CharField(max_length=500, blank=True)
    objective = models.TextField()  # One or several, in one line
    max_parallel_experiments = models.PositiveIntegerField(
        default=1,
        help_text="Number of experiments to run concurrently (limited by GPU availability)",
    )
    # `db_default`, here and below: the workers of the version before can still write rows
    max_experiments = models.PositiveIntegerField(default=10, db_default=10)
    priority = models.IntegerField(
        default=0, db_default=0
    )  # A higher one's experiments get GPUs first
    # The whole task file, in its own shape. It stays as it was started; the columns above are what
    # lists filter by, and what people change while the task runs.
    specification = JsonText()

    status = models.CharField(
        max_length=10, choices=choices(TaskStatus), default=TaskStatus.PENDING, db_index=True
    )
    message = models.TextField(blank=True)  # Why it ended as it did, for people
    created_by = models.ForeignKey(
        get_user_model(), null=True, blank=True, on_delete=models.SET_NULL, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "tuning task"
        constraints = [
            models.CheckConstraint(
                condition=Q(max_parallel_experiments__gte=1),
                name="max_parallel_experiments_is_at_least_1",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in TaskStatus]),
                name="task_status_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def file(self) -> TaskFile:
        """The task file, checked again by the same rules that let it in."""
        return task_file(json.dumps(self.specification))

    @property
    def objectives(self) -> Objectives:
        """What it wants to make better."""
        return objectives_of(self.objective)

    def describe(self, file: TaskFile) -> None:
        """Take over every field of `file`; the caller saves."""
        self.name = file.task_name
        self.description = file.description
        self.engine = file.base_runtime
        self.model = file.model.id_or_path
        self.objective = write_objectives(file.optimization.objective)
        self.max_parallel_experiments = file.optimization.max_parallel_experiments
        self.max_experiments = file.optimization.max_iterations
        self.priority = file.optimization.priority
        self.specification = file.to_dict()

    @property
    def columns(self) -> dict[str, Any]:
        """Its row, as it was read."""
        return {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}

    @property
    def group(self) -> str:
        """The pool's name for all leases of this task."""
        return f"task:{self.pk}"

    @property
    def has_ended(self) -> bool:
        return self.status in TASK_ENDED

    def start(self) -> None:
        """PENDING to RUNNING. The caller rings `jobs.advance_task`."""
        self._move(TaskStatus.RUNNING, started_at=timezone.now(), only_from=PENDING)

    def pause(self) -> None:
        """RUNNING to PAUSED: what runs goes on, nothing new starts."""
        self._move(TaskStatus.PAUSED)

    def resume(self) -> None:
        """PAUSED to RUNNING. The caller rings `jobs.advance_task`."""
        self._move(TaskStatus.RUNNING, only_from=PAUSED)

    def reopen(self, **changes: Any) -> None:
        """An ended task is RUNNING again. The caller rings `jobs.advance_task`."""
        self._move(
            TaskStatus.RUNNING, only_from=TASK_ENDED, finished_at=None, message="", **changes
        )

    def finish(self, message: str = "") -> None:
        """Nothing is left to try: COMPLETED when there is a result, else FAILED.

        Raises MovedElsewhere when there is something left: somebody has just extended its budget,
        or wants an experiment tried again.
        """
        with transaction.atomic():
            now = self.locked()
            unfinished = self.experiments.exclude(status__in=ENDED)
            if now.max_experiments != self.max_experiments or unfinished.exists():
                raise MovedElsewhere(f"{self.name} has something left to try")
            succeeded = self.experiments.filter(status=Status.SUCCESS)
            status = TaskStatus.COMPLETED if succeeded.exists() else TaskStatus.FAILED
            result = ""
            if not succeeded.exists():
                result = "no experiment worked"
            elif not succeeded.filter(feasible=True).exists():
                result = "no configuration met the objectives"
            said = "; ".join(filter(None, (result, message)))
            self._move(status, finished_at=timezone.now(), message=said)

    def locked(self) -> "TuningTask":
        """The row as it is now; nobody else changes it before the end of this transaction."""
        return TuningTask.objects.select_for_update().get(pk=self.pk)

    def give_up(self, message: str) -> None:
        """FAILED, because it cannot go on at all."""
        self._move(TaskStatus.FAILED, finished_at=timezone.now(), message=message)

    def change(self, **columns: int) -> None:
        """Change what may be changed while it runs: max_parallel_experiments, max_experiments,
        priority. Raises IllegalMove when the task has ended.
        """
        task = TuningTask.objects.filter(pk=self.pk).exclude(status__in=TASK_ENDED)
        if not task.update(**columns):
            raise IllegalMove(f"{self.name} has ended")
        transaction.on_commit(partial(live.push, self.pk), robust=True)
        self.refresh_from_db()

    def cancel(self) -> None:
        """Start nothing more, and ask everything that runs to stop."""
        with transaction.atomic():
            self._move(TaskStatus.CANCELLED, finished_at=timezone.now())
            for experiment in self.experiments.exclude(status__in=ENDED):
                experiment.request_cancel()

    def _move(
        self, status: TaskStatus, only_from: Collection[TaskStatus] = (), **changes: Any
    ) -> None:
        here = TaskStatus(self.status)
        if status not in TASK_MOVES[here] or (only_from and here not in only_from):
            raise IllegalMove(f"{self.name} is {self.status} and cannot become {status}")
        as_we_know_it = TuningTask.objects.filter(pk=self.pk, status=self.status)
        if not as_we_know_it.update(status=status, **changes):
            raise MovedElsewhere(f"{self.name} is no longer {self.status}")
        transaction.on_commit(partial(live.push, self.pk), robust=True)
        self.refresh_from_db()
