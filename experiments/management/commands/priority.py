"""Change whose experiments get GPUs first."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "priority"
    help = (
        "Change a task's priority: while tasks wait for GPUs, the experiments of the higher one go "
        "first. What runs is not stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("number", metavar="N", help="-100 to 100; tasks begin with 0")
