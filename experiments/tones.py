"""How a status is coloured on every page, and how an outcome is called.

A colour is never alone: the word of the status is always there too.
"""

from experiments.experiment import Experiment
from experiments.states import ON_A_WORKER, Status, TaskStatus

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


# What an experiment can be: by this one filters, and so is its mark drawn
KINDS = {
    "waiting": "waiting",
    "running": "running",
    "met": "meet the objectives",
    "missed": "miss them",
    "pruned": "pruned",
    "failed": "failed",
    "cancelled": "cancelled",
}


def kind(experiment: Experiment) -> str:
    """Which of KINDS it is."""
    if experiment.status == Status.SUCCESS:
        if experiment.pruned:
            return "pruned"
        return "met" if experiment.feasible else "missed"
    if experiment.has_ended:
        return "failed" if experiment.status == Status.FAILED else "cancelled"
    return "running" if experiment.status in ON_A_WORKER else "waiting"
