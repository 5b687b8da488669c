"""How the word of a status is coloured on every page. The word itself is always there too."""

from experiments.experiment import Experiment
from experiments.states import Status, TaskStatus

TONES = {
    Status.PENDING: "wait",
    Status.PLACED: "wait",
    Status.DEPLOYING: "busy",
    Status.BENCHMARKING: "busy",
    Status.SUCCESS: "good",
    Status.FAILED: "bad",
    Status.CANCELLED: "gone",
    TaskStatus.PENDING: "wait",
    TaskStatus.RUNNING: "busy",
    TaskStatus.PAUSED: "soft",
    TaskStatus.COMPLETED: "good",
}


def tone(experiment: Experiment) -> str:
    """An experiment's colour: its status, and whether it met the objectives."""
    misses = experiment.status == Status.SUCCESS and not experiment.feasible
    return "soft" if misses else TONES[Status(experiment.status)]
