"""Change how many experiments of a running task run at once."""

import logging
from typing import Any

from django.core.management.base import CommandParser

from experiments import audit, jobs, operations
from experiments.shell import ShellCommand, find_task

log = logging.getLogger(__name__)


class Command(ShellCommand):
    help = (
        "Change how many experiments of a running task may run at once. More: they start at once, "
        "as GPUs are free. Fewer: none is stopped, it counts as experiments end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="the task's id or name")
        parser.add_argument(
            "number",
            metavar="N",
            help="1 or more; at most the setting MAX_PARALLEL_EXPERIMENTS and the pool's GPUs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        task = find_task(options["id"])
        most = operations.whole_number("N", options["number"])
        operations.set_max_parallel(audit.shell_actor(), task, most)
        self.stdout.write(f"task {task.pk} {task.name}: at most {most} experiments at once")
        try:
            jobs.advance_task.delay(task.pk)
        except Exception as error:  # Whatever the broker raises, the number is already written
            log.warning("The change is found by itself, within seconds: %s", error)
