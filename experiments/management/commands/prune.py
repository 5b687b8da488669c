"""Delete what is old."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from experiments import operations, pruning
from experiments.errors import BadInput
from experiments.shell import ShellCommand

LONGEST = 100 * 365 * 86400  # seconds


class Command(ShellCommand):
    help = (
        "Delete the tasks that ended before a time, with their experiments and logs, and the "
        "results of jobs. The audit is kept, and so is whatever has not ended. Logs are deleted "
        "on the node where this runs: run it on each, where it also deletes the logs of tasks "
        "that are gone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            required=True,
            metavar="TIME",
            help="90d, or another time such as 12h; what ended before that is deleted",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="delete nothing: say what would be deleted"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        text = options["older_than"]
        seconds = operations.duration(text, "--older-than", longest=LONGEST)
        if seconds is None:
            raise BadInput("--older-than", "say how old, such as 90d")
        before = timezone.now() - timedelta(seconds=seconds)
        verb = "would delete" if options["dry_run"] else "deleted"
        done = 0
        for found in pruning.prune(before, options["dry_run"]):
            self.stdout.write(f"{verb} {found}")
            done += 1
        if not done:
            self.stdout.write(f"nothing has ended more than {text.strip()} ago")
