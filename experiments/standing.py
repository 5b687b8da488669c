"""How the best experiment of a task stands, for one that is being measured.

The reads are light, for they are made before every load level: of other experiments only what
says which is the best.
"""

from experiments import scoring
from experiments.experiment import Experiment
from experiments.race import Standing
from experiments.scoring import LevelResult
from experiments.states import Status


def best_score(experiment: Experiment) -> float | None:
    """The best objective score of the task's other experiments so far."""
    best = best_of_others(experiment)
    return None if best is None else best.objective_score


def standing(experiment: Experiment) -> Standing | None:
    """The best of the task's other experiments so far, as it was at each load level."""
    best = best_of_others(experiment, "levels")
    if best is None:
        return None
    levels = [
        LevelResult(level["label"], level["metrics"], level.get("standard_errors", {}))
        for level in best.levels
    ]
    return Standing(best.number, levels, best.gpus)


def best_of_others(experiment: Experiment, *columns: str) -> Experiment | None:
    """The row of the best one, with its number, score and GPUs, and with these columns."""
    others = experiment.task.experiments.filter(
        status=Status.SUCCESS, feasible=True, pruned=False
    ).exclude(pk=experiment.pk)
    rows = list(others.order_by("number").values_list("pk", "objective_score", "feasible"))
    scores = [(score, feasible) for _, score, feasible in rows]
    index = scoring.best(scores, experiment.task.objectives.maximize)
    if index is None:
        return None
    shown = Experiment.objects.only("number", "objective_score", "gpus", *columns)
    return shown.get(pk=rows[index][0])
