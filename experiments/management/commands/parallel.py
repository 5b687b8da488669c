"""Change how many experiments of a running task run at once."""

from django.core.management.base import CommandParser

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "parallel"
    help = (
        "Change how many experiments of a running task may run at once. More: they start at once, "
        "as GPUs are free. Fewer: none is stopped, it counts as experiments end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "number",
            metavar="N",
            help="1 or more; at most the setting MAX_PARALLEL_EXPERIMENTS and the pool's GPUs",
        )
