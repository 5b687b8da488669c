"""Pause a task."""

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "pause"
    help = (
        "Pause a task: what runs goes on to its end, nothing new starts, and what waited for GPUs "
        "leaves the queue. `resume` lets it go on."
    )
