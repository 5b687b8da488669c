"""What all shell commands share: how they say that something is wrong."""

import json
import os
import signal
import sys
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from rich.console import Console
from rich.table import Table

from experiments import audit, jobs, steering
from experiments.errors import BadInput
from experiments.models import TuningTask
from gpupool import PoolUnreachable

ENDED_BY_SIGPIPE = 128 + signal.SIGPIPE  # As a shell reports a program that was ended by it
EPILOG = (
    "Exit codes: 0 done, 1 the outcome is a failure, 2 bad input. "
    "Settings are environment variables: docs/settings.md."
)


class ShellCommand(BaseCommand):
    """A command whose bad input is one line and exit code 2."""

    def create_parser(self, *args: Any, **options: Any) -> CommandParser:
        parser = super().create_parser(*args, epilog=EPILOG, **options)
        say_errors_in_one_line(parser)
        return parser

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            result = super().execute(*args, **options)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # Who reads (`… | head`) has read enough: no error of ours
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ENDED_BY_SIGPIPE)
        except BadInput as error:
            raise CommandError(str(error), returncode=2) from error
        except DatabaseError as error:
            raise CommandError(
                f"the database does not answer ({error}); is DATABASE_URL right, and has "
                "`manage.py migrate` been run?"
            ) from error
        except PoolUnreachable as error:
            raise CommandError(
                f"Redis does not answer ({error}); is `manage.py up` running, or REDIS_URL right?"
            ) from error

    def print_json(self, document: Any) -> None:
        """One JSON document, and nothing else, on standard output."""
        self.stdout.write(json.dumps(document, indent=2, default=str))

    def print_table(self, table: Table) -> None:
        """A table on standard output, as wide as the terminal."""
        console = Console()
        with console.capture() as captured:
            console.print(table)
        self.stdout.write(captured.get(), ending="")


def say_errors_in_one_line(parser: CommandParser) -> None:
    """Without the usage, which --help says."""

    def error(message: str) -> NoReturn:
        if parser.called_from_command_line:
            parser.exit(2, f"{message}; see {parser.prog} --help\n")
        raise CommandError(message, returncode=2)

    parser.error = error  # type: ignore[method-assign]


class TaskCommand(ShellCommand):
    """One action on one task, as `steering.VERBS` has it."""

    verb = ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="the task's id or name")

    def handle(self, *args: Any, **options: Any) -> None:
        task = find_task(options["id"])
        done = steering.act(self.verb, audit.shell_actor(), task, options)
        self.stdout.write(f"task {task.pk} {done.says}")
        if not jobs.announce(done.task.pk):
            self.stderr.write("warning: Redis does not answer: it goes on when Redis is back")


def find_task(text: str) -> TuningTask:
    """The task with this id or this name."""
    found = TuningTask.objects.filter(name=text).first()
    if found is None and text.isdigit():
        found = TuningTask.objects.filter(pk=int(text)).first()
    if found is None:
        raise BadInput("ID", f"there is no task {text!r}; `manage.py tasks` lists them")
    return found
