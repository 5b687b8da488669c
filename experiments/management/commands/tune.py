"""Create and start a tuning task from a file."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from rich.console import Console

from experiments import audit, findings, jobs, planning, reports, steering, watching
from experiments.errors import BadInput
from experiments.shell import ShellCommand
from experiments.taskfile import TaskFile, load


class Command(ShellCommand):
    help = (
        "Create and start a tuning task from a YAML or JSON file. Exit code 0: done as asked; "
        "1: the task ended without a winner; 2: the file cannot be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the task file; - reads standard input")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="start nothing: say how many combinations there are, how many GPUs an "
            "experiment needs, and the first command line",
        )
        parser.add_argument(
            "--wait",
            action="store_true",
            help="show progress until the task ends, then the winner, its launch command and "
            "its gain over the engine's defaults",
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON document (with --wait: as `show`)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = read(options["file"])
        if options["dry_run"]:
            return self.say_plan(file, options["json"])
        jobs.connect()  # Raises when Redis is away: then nothing is created
        task = planning.create(file)
        for warning in file.warnings:
            self.stderr.write(f"warning: {warning}")
        steering.act("start", audit.shell_actor(), task, {})
        task.refresh_from_db()
        jobs.advance_task.delay(task.pk)
        if not options["wait"]:
            if options["json"]:
                return self.print_json(reports.document(task))
            self.stdout.write(f"task {task.pk} {task.name} is started; `manage.py show {task.pk}`")
            return None
        try:
            task = watching.watch(task, Console(stderr=options["json"]))
        except KeyboardInterrupt as stopped:
            raise CommandError(
                f"task {task.pk} goes on; `manage.py show {task.pk}`, `manage.py cancel {task.pk}`",
                returncode=130,
            ) from stopped
        if options["json"]:
            self.print_json(reports.document(task))
        else:
            self.stdout.write("\n".join(watching.outcome(task)))
        if findings.best_of(task, list(task.experiments.all())) is None:
            raise CommandError(f"{task.name} {task.status.lower()} without a winner", returncode=1)
        return None

    def say_plan(self, file: TaskFile, as_json: bool) -> None:
        plan = planning.plan(file)
        with contextlib.suppress(DatabaseError):  # A dry run needs no database
            planning.check_name(file)
        if as_json:
            self.print_json(vars(plan))
        else:
            self.stdout.write("\n".join(plan.lines()))


def read(name: str) -> TaskFile:
    """The task file. Raises BadInput, also when it cannot be read."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
    except OSError as error:
        raise BadInput("FILE", f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput("FILE", f"{name} is not text in UTF-8") from error
    return load(text, source=name)
