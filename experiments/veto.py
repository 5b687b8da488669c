"""A veto's row: a configuration that is not tried, because it is known to fail, and why."""

from hashlib import sha256

from django.db import models
from django.utils import timezone

from experiments.columns import JsonText, choices
from experiments.states import FailureKind, VetoState


class Veto(models.Model):
    """One configuration that the search of a task wanted, and that would have failed again."""

    task = models.ForeignKey(
        "experiments.TuningTask", on_delete=models.CASCADE, related_name="vetoes"
    )
    key = models.CharField(max_length=64)  # Of the configuration: the same for equal ones only
    parameters = JsonText()
    state = models.CharField(max_length=10, choices=choices(VetoState), default=VetoState.STANDING)
    kind = models.CharField(max_length=20, choices=choices(FailureKind))
    chance = models.FloatField()  # of failing, from 0 to 1
    reason = models.TextField()
    sources = JsonText(default=list)  # The experiments that it is known from, as people call them
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "vetoes"
        constraints = [
            models.UniqueConstraint(fields=["task", "key"], name="one_veto_per_configuration"),
        ]

    def __str__(self) -> str:
        return f"veto {self.pk} of {self.task_id}"


def short_key(key: str) -> str:
    """A configuration's key in the length that a column holds."""
    return sha256(key.encode()).hexdigest()
