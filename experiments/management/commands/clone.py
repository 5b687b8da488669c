"""Make a new task with the file of another."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "clone"
    help = (
        "Make a new task with the task file of another, as that was started. It is saved and not "
        "started: change it in the browser, then `start` it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME", help="of the new task, which no other has")
        parser.add_argument("--start", action="store_true", help="start it at once, as it is")
