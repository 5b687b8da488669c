"""An experiment's row: one configuration of a task, and every move that it made."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from experiments import live, masking
from experiments.columns import JsonText, choices
from experiments.errors import IllegalMove, MovedElsewhere
from experiments.samples import keep
from experiments.states import ENDED, LEASED, MOVES, ON_A_WORKER, FailureKind, Status
from gpupool import Lease

ATTEMPTS = 3  # How often an experiment is tried, when its worker is lost or the reason may pass

# What an experiment that waits again has no longer
ON_ITS_LEASE = (
    *("lease_id", "lease_token", "node", "worker", "gpu_uuids"),
    *("placed_at", "started_at", "benchmarking_at"),
)
OUTCOME = (
    *("cancel_requested", "metrics", "levels", "objective_value", "objective_score", "feasible"),
    *("objective_values", "penalty", "effective"),
    *(
        "holds_at",
        "pruned",
        "pruned_why",
        "error_kind",
        "error_message",
        "error_lines",
        "error_may_pass",
        "error_where",
    ),
    *("reached", "finished_at"),
)


def defaults(names: Iterable[str]) -> dict[str, Any]:
    """What these columns of a new experiment have."""
    fields = {field.name: field for field in Experiment._meta.concrete_fields}
    return {name: fields[name].get_default() for name in names}


# What the list of experiments is sorted and filtered by
SORTED_BY = ("status", "feasible", "error_kind", "node", "objective_score", "started_at")


class Experiment(models.Model):
    """One configuration of a task, tried once, or again as its next attempt."""

    task = models.ForeignKey(
        "experiments.TuningTask", on_delete=models.CASCADE, related_name="experiments"
    )
    number = models.PositiveIntegerField()  # 1, 2, 3 … within the task
    attempt = models.PositiveIntegerField(default=1)
    # That one's loss is the end
    last_attempt = models.PositiveIntegerField(default=ATTEMPTS, db_default=ATTEMPTS)
    parameters = JsonText()
    is_baseline = models.BooleanField(default=False)
    # The number of the experiment whose configuration this one measures again
    repeat_of = models.PositiveIntegerField(null=True, blank=True)
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
    # The process that runs it, on its node: its pid and the moment of its start
    worker = models.CharField(max_length=64, blank=True, default="", db_default="")
    gpu_uuids = JsonText(default=list)
    command = JsonText(default=list)
    # What it is measured on and with (see `provenance`); its fingerprint is the same for those
    # that can be compared
    environment = JsonText(default=dict, db_default={})
    fingerprint = models.CharField(
        max_length=16, blank=True, default="", db_default="", db_index=True
    )

    # What the engine says it runs with (see `engines.effective`)
    effective = JsonText(default=dict, db_default={})
    # Whose measurement it has, if an earlier task's; and in words, which outlive that one
    reused_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    measured_as = models.CharField(max_length=300, blank=True, default="", db_default="")

    metrics = JsonText(default=dict)  # The measured metrics over all levels
    levels = JsonText(default=list)  # Each load level: label, metrics, feasible, violations
    objective_value = models.FloatField(null=True, blank=True)
    # Each objective of the task, in its order and unit; of several the value is their mean
    objective_values = JsonText(default=list, db_default=[])
    penalty = models.FloatField(null=True, blank=True)  # The soft one
    objective_score = models.FloatField(null=True, blank=True)  # With the soft penalty
    feasible = models.BooleanField(null=True, blank=True)
    holds_at = models.CharField(max_length=200, blank=True)
    # It had clearly lost: not all its levels were measured, and its score is an estimate
    pruned = models.BooleanField(default=False, db_default=False)
    pruned_why = models.TextField(blank=True, default="", db_default="")
    error_kind = models.CharField(max_length=20, blank=True, choices=choices(FailureKind))
    error_message = models.TextField(blank=True)
    # The lines of the log that say why; whether it is worth a retry, since the configuration is not
    # to blame; "start" or the load level
    error_lines = models.TextField(blank=True, default="", db_default="")
    error_may_pass = models.BooleanField(default=False, db_default=False)
    error_where = models.CharField(max_length=200, blank=True, default="", db_default="")
    reached = models.FloatField(null=True, blank=True)  # Of a failed one: its share of the steps

    created_at = models.DateTimeField(default=timezone.now)
    # Since when this attempt waits for GPUs, or will: after a pause
    queued_at = models.DateTimeField(default=timezone.now, db_default=Now())
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
        indexes = [
            # Who is on a node is asked around each load level
            models.Index(fields=["node", "finished_at"], name="who_is_on_a_node"),
            # All that the dashboard sums up of a day
            models.Index(
                fields=["finished_at", "placed_at", "status", "gpus"], name="latest_ended"
            ),
            models.Index(fields=["number", "task"], name="by_number"),
            *(models.Index(fields=[one, "task", "number"], name=f"by_{one}") for one in SORTED_BY),
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

    def start(self, command: list[str], worker: str = "", **on: Any) -> None:
        """PLACED to DEPLOYING: this worker process has it. Of two workers, one raises."""
        now = timezone.now()
        self._move(Status.DEPLOYING, command=command, worker=worker, started_at=now, **on)

    def begin_benchmark(self, **said: Any) -> None:
        """DEPLOYING to BENCHMARKING, with what the engine has said of itself."""
        self._move(Status.BENCHMARKING, benchmarking_at=timezone.now(), **said)

    def succeed(
        self, samples: Iterable[tuple[str, bool, dict[str, Any]]] = (), **results: Any
    ) -> None:
        """BENCHMARKING to SUCCESS, with metrics, levels and score; with the raw samples."""
        with transaction.atomic():
            self._move(Status.SUCCESS, finished_at=timezone.now(), **results)
            keep(self, samples)

    def take_over(
        self,
        other: "Experiment",
        samples: Iterable[tuple[str, bool, dict[str, Any]]],
        **results: Any,
    ) -> None:
        """PENDING to SUCCESS, without having run: an earlier task's experiment measured it."""
        on = f"{other.finished_at:%Y-%m-%d}" if other.finished_at else "an unknown day"
        words = f"measured as task {other.task.name} #{other.number} on {on}"
        with transaction.atomic():
            self._move(
                Status.SUCCESS,
                reason=words,
                reused_from=other,
                measured_as=words,
                command=other.command,
                environment=other.environment,
                effective=other.effective,
                finished_at=timezone.now(),
                **results,
            )
            keep(self, samples)

    def fail(self, kind: FailureKind, message: str, **details: Any) -> None:
        self._move(
            Status.FAILED,
            reason=message,
            error_kind=kind,
            error_message=message,
            feasible=False,
            finished_at=timezone.now(),
            **details,
        )

    def cancel(self) -> None:
        self._move(
            Status.CANCELLED,
            error_kind=FailureKind.CANCELLED,
            error_message="cancelled",
            finished_at=timezone.now(),
        )

    def requeue(self, reason: str, charged: bool = True, pause: timedelta = timedelta(0)) -> None:
        """Wait for GPUs again; an attempt that was started counts, and the last one is the end.

        Not `charged`: its worker was asked to stop, so nothing was wrong with it. `pause`: it asks
        for GPUs only then.
        """
        if self.has_ended:
            raise IllegalMove(f"experiment {self} has ended")
        was_started = charged and self.status in ON_A_WORKER
        if was_started and self.attempt >= self.last_attempt:
            message = f"{reason} (attempt {self.attempt})"
            return self.fail(FailureKind.LOST, message, error_may_pass=True)
        return self._wait_again(
            reason, attempt=self.attempt + was_started, queued_at=timezone.now() + pause
        )

    def put_back(self, reason: str) -> None:
        """PLACED to PENDING: no worker has started it, and it keeps its age."""
        if self.status != Status.PLACED:
            raise IllegalMove(f"experiment {self} is not placed")
        self._wait_again(reason, queued_at=self.queued_at)

    def retry(self, reason: str) -> None:
        """FAILED or CANCELLED to PENDING: a next attempt, which may be lost as often as the first.

        The caller sees to it that the task runs.
        """
        if not self.has_ended:
            raise IllegalMove(f"experiment {self} has not ended")
        self._wait_again(
            reason,
            attempt=self.attempt + 1,
            last_attempt=self.attempt + ATTEMPTS,
            **defaults(OUTCOME),
        )

    def _wait_again(self, reason: str, **changes: Any) -> None:
        new = {"queued_at": timezone.now(), **defaults(ON_ITS_LEASE), **changes}
        self._move(Status.PENDING, reason=reason, **new)

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
        fence: who lost the lease cannot write a result. It has the row's own columns only: one
        of another table would be a subquery, and PostgreSQL does not ask that again when it has
        waited for the one who was first.
        """
        if status not in MOVES[Status(self.status)]:
            raise IllegalMove(f"experiment {self}: {self.status} to {status}")
        reason, changes = self._without_secrets(reason, changes)
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

    def _without_secrets(self, reason: str, changes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """What people read of a move: an engine's last words may repeat what it was told."""
        texts = [name for name in ("error_message", "error_lines") if changes.get(name)]
        if not (reason or texts):
            return reason, changes
        known = masking.known_of(self.task.specification)
        hidden = {name: masking.hide(changes[name], known) for name in texts}
        return masking.hide(reason, known), {**changes, **hidden}


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
