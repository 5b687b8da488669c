"""Export a task's results."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from experiments.exports import EXPORTS, as_json_with_samples
from experiments.shell import ShellCommand, find_task


class Command(ShellCommand):
    help = "Export a task's results; `command` is the winner's launch line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the task's id or name")
        parser.add_argument(
            "--format",
            choices=list(EXPORTS),
            default="json",
            help="what to print; json is the default, command the winner's launch line",
        )

        parser.add_argument(
            "--samples",
            action="store_true",
            help="with --format json: also what each request of each load level took; much text",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        export = EXPORTS[options["format"]]
        if options["samples"]:
            if options["format"] != "json":
                raise CommandError("--samples: goes with --format json only", returncode=2)
            export = as_json_with_samples
        text = export(find_task(options["id"]))
        if not text:
            raise CommandError("no configuration won, so there is no launch line", returncode=1)
        self.stdout.write(text)
