"""Give a task a larger budget."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "extend"
    help = (
        "Let a task try more experiments than its task file says. One that had ended runs again, "
        "and its search goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "number",
            metavar="N",
            help="30: so many experiments in all, those that ended included; +10: ten more",
        )
