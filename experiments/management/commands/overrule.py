"""Try what a task would not."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "overrule"
    help = (
        "Let a task try configurations although they are known to fail: they are tried next, "
        "within its budget. A task that had ended runs again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "veto",
            nargs="+",
            metavar="N",
            help="the numbers of its vetoes, as `manage.py show` lists them, or: all",
        )
