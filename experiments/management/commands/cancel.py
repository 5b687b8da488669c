"""Cancel a task."""

from typing import Any

from django.core.management.base import CommandParser

from experiments import dispatch
from experiments.errors import BadInput, IllegalMove, MovedElsewhere
from experiments.shell import ShellCommand, find_task


class Command(ShellCommand):
    help = "Cancel a task: nothing more starts, and what runs is stopped within 5 seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the task's id or name")

    def handle(self, *args: Any, **options: Any) -> None:
        task = find_task(options["id"])
        try:
            dispatch.cancel(task)
        except (IllegalMove, MovedElsewhere) as error:
            raise BadInput("ID", f"{error}; only a task that has not ended can be") from error
        self.stdout.write(f"task {task.pk} {task.name} is cancelled")
