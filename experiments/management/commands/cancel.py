"""Cancel a task, or experiments of it."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "cancel"
    help = (
        "Cancel a task: nothing more starts, and what runs is stopped within 5 seconds. With "
        "--experiment only those, and the task goes on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--experiment", nargs="+", metavar="N", help="only the experiments of these numbers"
        )
