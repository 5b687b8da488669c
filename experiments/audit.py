"""Who did what: one row for each action of a person on the pool or on a running task."""

import os
import pwd
from typing import Any

from django.db import models
from django.utils import timezone

from experiments.states import Action


class AuditEntry(models.Model):
    """One action, done. Written with it, never changed."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=150)  # The user's name, or "shell:<user of the system>"
    action = models.CharField(
        max_length=20, choices=[(action.value, action.value) for action in Action]
    )
    target = models.CharField(max_length=255)  # A GPU, a node, a lease, a task
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        # Here, because the pool has no rows
        permissions = [
            ("view_pool", "Can view the GPU pool"),
            ("operate_pool", "Can quarantine GPUs, drain nodes and release leases"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.target}"


def record(actor: str, action: Action, target: Any, detail: str = "") -> AuditEntry:
    """Write down that `actor` did this."""
    return AuditEntry.objects.create(actor=actor, action=action, target=str(target), detail=detail)


def shell_actor() -> str:
    """Who works at this shell: the system's own word, which no variable can change."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # A container's user need not have a name
        name = str(os.getuid())
    return f"shell:{name}"
