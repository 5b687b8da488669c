"""The row of an attempt's GPU readings: how its GPUs were used while it ran."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils import timezone

from experiments.columns import JsonText

if TYPE_CHECKING:
    from experiments.experiment import Experiment


class GpuReadings(models.Model):
    """What `gpu_trace` kept of one attempt; written again and again while that goes on.

    Each attempt has its own. They are deleted with their experiment.
    """

    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.CASCADE, related_name="gpu_readings"
    )
    attempt = models.PositiveIntegerField()
    began_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(default=0.0)  # from then to the last sample
    summary = JsonText(default=dict)
    data = JsonText(default=dict)

    class Meta:
        ordering = ["attempt"]
        verbose_name_plural = "GPU readings"
        constraints = [
            models.UniqueConstraint(fields=["experiment", "attempt"], name="readings_per_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.experiment_id}, attempt {self.attempt}"


def keep(experiment: "Experiment", **columns: Any) -> None:
    """Write what is known of this attempt by now, over what was known before."""
    row = GpuReadings(experiment=experiment, attempt=experiment.attempt, **columns)
    GpuReadings.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["experiment", "attempt"],
        update_fields=list(columns),
    )


def summaries() -> Any:
    """What a document of a task wants of them: without the points."""
    rows = GpuReadings.objects.defer("data")
    return models.Prefetch("gpu_readings", queryset=rows)


def documents(rows: Iterable[GpuReadings]) -> list[dict[str, Any]]:
    """For `show --json`: of each attempt the mean and the most, by GPU."""
    return [
        {"attempt": row.attempt, "seconds": round(row.seconds, 1), "gpus": row.summary}
        for row in rows
    ]
