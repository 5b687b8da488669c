"""Start a task that was saved."""

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "start"
    help = "Start a task that was saved in the browser or cloned; it runs as GPUs are free."
