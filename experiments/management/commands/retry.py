"""Try failed experiments again."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "retry"
    help = (
        "Try experiments again, as their next attempt: all that failed, or with --experiment those "
        "that are named, also cancelled ones. A task that had ended runs again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--experiment", nargs="+", metavar="N", help="the experiments of these numbers"
        )
