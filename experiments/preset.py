"""A preset's row: a part of a task file that is kept under a name, to begin new tasks with."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from experiments.columns import JsonText


class Preset(models.Model):
    """Some fields of a task file, such as an engine with its flags, or a workload with its SLO."""

    name = models.CharField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    parts = JsonText()  # As in a task file; `presets.check` says what may be there
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
