"""What the GPUs were used for in a while: how many experiments ended, and for how many hours."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Cast, Greatest

from experiments.experiment import Experiment
from experiments.models import TuningTask
from experiments.states import Status

DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Usage:
    """`seconds` is how long the time is that it speaks of, `gpu_seconds` what experiments held."""

    seconds: float
    ended: int
    succeeded: int
    failed: int
    gpu_seconds: float

    def idle(self, gpus: int) -> float | None:
        """The share of the time that so many GPUs sat idle; None without GPUs or time."""
        whole = gpus * self.seconds
        return max(0.0, 1 - self.gpu_seconds / whole) if whole else None


def of_last_day(running: list[Experiment], now: datetime) -> Usage:
    """The usage of the last 24 hours, or since the first task was made. `running`: what holds
    GPUs now. Two queries, of which one reads an index alone.
    """
    first = TuningTask.objects.order_by("pk").values_list("created_at", flat=True).first()
    since = max(now - DAY, min(first or now, now))
    done: dict[str, Any] = next(iter(ended_since(since)), {})
    still = (
        one.gpus * (now - max(one.placed_at, since)).total_seconds()
        for one in running
        if one.placed_at
    )
    return Usage(
        seconds=(now - since).total_seconds(),
        ended=done.get("ended", 0),
        succeeded=done.get("succeeded", 0),
        failed=done.get("failed", 0),
        gpu_seconds=(done.get("held") or timedelta(0)).total_seconds() + sum(still),
    )


def ended_since(since: datetime) -> QuerySet[Any, Any]:
    """One row: how many ended since then, succeeded, failed, and the time that they held GPUs.

    It has no groups: SQLite would take the index of what it groups by, and read every row.
    """
    begun = Greatest(F("placed_at"), Value(since))
    time = Cast("gpus", IntegerField()) * (F("finished_at") - begun)
    rows = Experiment.objects.filter(finished_at__gte=since, placed_at__isnull=False).order_by()
    return rows.values(one=Value(1)).annotate(
        ended=Count("status"),
        succeeded=Count("status", filter=Q(status=Status.SUCCESS)),
        failed=Count("status", filter=Q(status=Status.FAILED)),
        held=Sum(ExpressionWrapper(time, output_field=DurationField())),
    )
