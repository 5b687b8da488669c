"""The rows: tuning tasks, their experiments, and every move that an experiment made."""

import json
from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from experiments import live
from experiments.audit import AuditEntry
from experiments.columns import JsonText
from experiments.errors import IllegalMove, MovedElsewhere
from experiments.states import (
    ENDED,
    LEASED,
    MOVES,
    ON_A_WORKER,
    TASK_ENDED,
    TASK_MOVES,
    FailureKind,
    Status,
    TaskStatus,
)
from experiments.taskfile import TaskFile, from_dict
from gpupool import Lease

__all__ = ["AuditEntry", "Experiment", "Move", "TuningTask"]

ATTEMPTS = 3  # How often an experiment is tried again after its worker was lost


def choices(words: Iterable[Any]) -> list[tuple[str, str]]:
    """The words of an enumeration as a model field wants them."""
    return [(word.value, word.value) for word in words]


@lru_cache(maxsize=256)
def task_file(specification: str) -> TaskFile:
    """A stored task file. Every step of a task wants it, and it changes as good as never."""
    return from_dict(json.loads(specification))


class TuningTask(models.Model):
    """What to tune, how to search, and how to measure. The columns are the task file's fields."""

    name = models.CharField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    engine = models.CharField(max_length=20)
    model = models.CharField(max_length=500, blank=True)
    objective = models.CharField(max_length=100)
    max_parallel_experiments = models.PositiveIntegerField(
        default=1,
        help_text="Number of experiments to run concurrently (limited by GPU availability)",
    )
    # The whole task file, in its own shape; the columns above are what lists filter by.
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

    def describe(self, file: TaskFile) -> None:
        """Take over every field of `file`; the caller saves."""
        self.name = file.task_name
        self.description = file.description
        self.engine = file.base_runtime
        self.model = file.model.id_or_path
        self.objective = file.optimization.objective
        self.max_parallel_experiments = file.optimization.max_parallel_experiments
        self.specification = file.to_dict()

    @property
    def group(self) -> str:
        """The pool's name for all leases of this task."""
        return f"task:{self.pk}"

    @property
    def has_ended(self) -> bool:
        return self.status in TASK_ENDED

    def start(self) -> None:
        """PENDING to RUNNING. The caller rings `jobs.advance_task`."""
        self._move(TaskStatus.RUNNING, started_at=timezone.now())

    def finish(self, message: str = "") -> None:
        """Nothing is left to try: COMPLETED when there is a result, else FAILED."""
        succeeded = self.experiments.filter(status=Status.SUCCESS)
        status = TaskStatus.COMPLETED if succeeded.exists() else TaskStatus.FAILED
        if not message and not succeeded.filter(feasible=True).exists():
            message = "no configuration met the objectives" if succeeded else "no experiment worked"
        self._move(status, finished_at=timezone.now(), message=message)

    def give_up(self, message: str) -> None:
        """FAILED, because it cannot go on at all."""
        self._move(TaskStatus.FAILED, finished_at=timezone.now(), message=message)

    def set_max_parallel(self, most: int) -> None:
        """Change how many experiments may run at once, also while they do.

        Raises IllegalMove when the task has ended.
        """
        task = TuningTask.objects.filter(pk=self.pk).exclude(status__in=TASK_ENDED)
        if not task.update(max_parallel_experiments=most):
            raise IllegalMove(f"{self.name} has ended")
        transaction.on_commit(partial(live.push, self.pk), robust=True)
        self.refresh_from_db()

    def cancel(self) -> None:
        """Start nothing more, and ask everything that runs to stop."""
        with transaction.atomic():
            self._move(TaskStatus.CANCELLED, finished_at=timezone.now())
            for experiment in self.experiments.exclude(status__in=ENDED):
                experiment.request_cancel()

    def _move(self, status: TaskStatus, **changes: Any) -> None:
        if status not in TASK_MOVES[TaskStatus(self.status)]:
            raise IllegalMove(f"{self.name} is {self.status} and cannot become {status}")
        as_we_know_it = TuningTask.objects.filter(pk=self.pk, status=self.status)
        if not as_we_know_it.update(status=status, **changes):
            raise MovedElsewhere(f"{self.name} is no longer {self.status}")
        transaction.on_commit(partial(live.push, self.pk), robust=True)
        self.refresh_from_db()


class Experiment(models.Model):
    """One configuration of a task, tried once, or again as its next attempt."""

    task = models.ForeignKey(TuningTask, on_delete=models.CASCADE, related_name="experiments")
    number = models.PositiveIntegerField()  # 1, 2, 3 … within the task
    attempt = models.PositiveIntegerField(default=1)
    parameters = JsonText()
    is_baseline = models.BooleanField(default=False)
    gpus = models.PositiveIntegerField(default=1)  # How many it needs
    min_memory_mb = models.PositiveIntegerField(default=0)
    min_host_memory_mb = models.PositiveIntegerField(default=0)

    status = models.CharField(
        max_length=12, choices=choices(Status), default=Status.PENDING, db_index=True
    )
    cancel_requested = models.BooleanField(default=False)
    lease_id = models.CharField(max_length=64, blank=True)
    lease_token = models.BigIntegerField(null=True, blank=True)
    node = models.CharField(max_length=255, blank=True)
    gpu_uuids = JsonText(default=list)
    command = JsonText(default=list)

    metrics = JsonText(default=dict)  # The measured metrics over all levels
    levels = JsonText(default=list)  # Each load level: label, metrics, feasible, violations
    objective_value = models.FloatField(null=True, blank=True)
    objective_score = models.FloatField(null=True, blank=True)  # With the soft penalty
    feasible = models.BooleanField(null=True, blank=True)
    holds_at = models.CharField(max_length=200, blank=True)
    error_kind = models.CharField(max_length=20, blank=True, choices=choices(FailureKind))
    error_message = models.TextField(blank=True)

    created_at = models.DateTimeField(default=timezone.now)
    placed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    benchmarking_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["task_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="one_experiment_per_number"),
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in Status]),
                name="experiment_status_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=sorted(LEASED)) | ~Q(lease_id=""),
                name="an_active_experiment_has_a_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}#{self.number}"

    @property
    def holder(self) -> str:
        """The pool's name for this attempt: asking twice gives one lease."""
        return f"experiment:{self.pk}:{self.attempt}"

    @property
    def folder(self) -> Path:
        """Where this attempt's logs and reports are, on its node."""
        return settings.LOG_DIR / str(self.task_id) / f"{self.number}-{self.attempt}"

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def place(self, lease: Lease) -> None:
        """PENDING to PLACED: these GPUs are ours while the lease lasts."""
        self._move(
            Status.PLACED,
            lease_id=lease.id,
            lease_token=lease.token,
            node=lease.node,
            gpu_uuids=list(lease.gpus),
            placed_at=timezone.now(),
        )

    def start(self, command: list[str]) -> None:
        """PLACED to DEPLOYING: this worker has it. Of two workers, one raises."""
        self._move(Status.DEPLOYING, command=command, started_at=timezone.now())

    def begin_benchmark(self) -> None:
        self._move(Status.BENCHMARKING, benchmarking_at=timezone.now())

    def succeed(self, **results: Any) -> None:
        """BENCHMARKING to SUCCESS, with metrics, levels and score."""
        self._move(Status.SUCCESS, finished_at=timezone.now(), **results)

    def fail(self, kind: FailureKind, message: str) -> None:
        self._move(
            Status.FAILED,
            reason=message,
            error_kind=kind,
            error_message=message,
            feasible=False,
            finished_at=timezone.now(),
        )

    def cancel(self) -> None:
        self._move(
            Status.CANCELLED,
            error_kind=FailureKind.CANCELLED,
            error_message="cancelled",
            finished_at=timezone.now(),
        )

    def requeue(self, reason: str, charged: bool = True) -> None:
        """Wait for GPUs again; an attempt that was started counts, and the last one is the end.

        Not `charged`: its worker was asked to stop, so nothing was wrong with it.
        """
        was_started = charged and self.status in ON_A_WORKER
        if was_started and self.attempt >= ATTEMPTS:
            return self.fail(FailureKind.LOST, f"{reason} (attempt {self.attempt})")
        self._move(
            Status.PENDING,
            reason=reason,
            attempt=self.attempt + was_started,
            lease_id="",
            lease_token=None,
            node="",
            gpu_uuids=[],
            placed_at=None,
            started_at=None,
            benchmarking_at=None,
        )
        return None

    def request_cancel(self) -> None:
        """Cancel at once what waits; ask what runs to stop. Safe to call again."""
        if self.status in (Status.PENDING, Status.PLACED):
            try:
                return self.cancel()
            except MovedElsewhere:
                self.refresh_from_db()
        Experiment.objects.filter(pk=self.pk).exclude(status__in=ENDED).update(
            cancel_requested=True
        )
        return None

    def _move(self, status: Status, reason: str = "", **changes: Any) -> None:
        """Move from the status and lease we know to a new status, or raise.

        The UPDATE matches only while the row is as we last saw it: of two processes that try
        to move one experiment, one raises MovedElsewhere. The lease id in the match is the
        fence: who lost the lease cannot write a result.
        """
        if status not in MOVES[Status(self.status)]:
            raise IllegalMove(f"experiment {self}: {self.status} to {status}")
        as_we_know_it = Experiment.objects.filter(
            pk=self.pk, status=self.status, lease_id=self.lease_id
        )
        move = Move(
            experiment=self,
            attempt=self.attempt,
            old=self.status,
            new=status,
            lease_id=changes.get("lease_id") or self.lease_id,
            reason=reason,
        )
        with transaction.atomic():
            if not as_we_know_it.update(status=status, **changes):
                raise MovedElsewhere(f"experiment {self}: no longer {self.status}")
            move.save()
            transaction.on_commit(partial(live.push, self.task_id), robust=True)
        for name, value in {"status": status, **changes}.items():
            setattr(self, name, value)


class Move(models.Model):
    """One change of an experiment's status: the timeline, and the evidence."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="moves")
    attempt = models.PositiveIntegerField()
    old = models.CharField(max_length=12, choices=choices(Status))
    new = models.CharField(max_length=12, choices=choices(Status))
    lease_id = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"
