"""Let a paused task go on."""

from experiments.shell import TaskCommand


class Command(TaskCommand):
    verb = "resume"
    help = "Let a paused task go on. Its waiting experiments have the age that they had."
