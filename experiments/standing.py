"""How the best experiment of a task stands, for one that is being measured.

The reads are light, for they are made before every load level: of other experiments only what
says which is the best, and by how much repeats of one configuration differ.
"""

import math
from collections.abc import Iterable, Sequence

from experiments import confidence, scoring
from experiments.benchmarks.base import Samples
from experiments.confidence import Measured
from experiments.experiment import Experiment
from experiments.race import NOISE, Standing
from experiments.samples import Samples as LevelSamples
from experiments.scoring import LevelResult
from experiments.states import Status

ASSUMED = 4  # Degrees of freedom that the usual noise counts as, beside what repeats show


def best_score(experiment: Experiment) -> float | None:
    """The best score of the task's other configurations so far: of repeats, their mean."""
    found = best(_others(experiment), experiment.task.objectives.maximize)
    return None if found is None else found[1]


def standing(experiment: Experiment) -> tuple[Standing, list[float]] | None:
    """The best of the task's other experiments so far, as it was at each load level; and the
    noise of each objective in the task.
    """
    rows = _whole(experiment)
    groups = grouped(row[:4] for row in rows)
    row = _row(experiment, groups, "levels")
    if row is None:
        return None
    levels = [
        LevelResult(level["label"], level["metrics"], level.get("standard_errors", {}))
        for level in row.levels
    ]
    count = len(experiment.task.objectives.each)
    each = [groups] if count == 1 else [_by_objective(rows, index) for index in range(count)]
    return Standing(row.number, levels, row.gpus), [noise(one) for one in each]


def samples_of(experiment: Experiment, number: int, label: str) -> Samples:
    """What the requests of another experiment of the task took at one load level."""
    rows = LevelSamples.objects.filter(
        experiment__task=experiment.task_id, experiment__number=number, level=label
    )
    row = rows.filter(superseded=False).first()
    return {} if row is None else row.data


def best_of_others(experiment: Experiment, *columns: str) -> Experiment | None:
    """The row of the best one: its number, its GPUs, and these columns."""
    return _row(experiment, _others(experiment), *columns)


def noise(groups: Sequence[Measured]) -> float:
    """By how much one start of a server differs from the next, as a share (standard deviation).

    What repeats of one configuration show, pooled, together with the usual noise as if `ASSUMED`
    more degrees of freedom had shown it: √((ν₀ σ₀² + ν s²) / (ν₀ + ν)), the scale of the posterior
    with a scaled inverse χ² prior (Gelman et al., "Bayesian Data Analysis", section 2.6).
    """
    found = confidence.noise_of(groups)
    if not found.is_share:
        return NOISE
    squares = ASSUMED * NOISE**2 + found.freedom * found.deviation**2
    return math.sqrt(squares / (ASSUMED + found.freedom))


Row = tuple[int, int | None, float | None, bool | None, list[float]]


def _whole(experiment: Experiment) -> list[Row]:
    """Every other experiment that was measured at all levels: number, what it repeats, score,
    whether it is feasible, and the value of each objective.
    """
    done = experiment.task.experiments.filter(
        status=Status.SUCCESS, pruned=False, objective_score__isnull=False
    )
    columns = ("number", "repeat_of", "objective_score", "feasible", "objective_values")
    return list(done.exclude(pk=experiment.pk).order_by("number").values_list(*columns))


def _others(experiment: Experiment) -> list[Measured]:
    """Every other configuration that was measured at all levels, with its scores."""
    return grouped(row[:4] for row in _whole(experiment))


def _by_objective(rows: Iterable[Row], index: int) -> list[Measured]:
    """The same with the values of one of several objectives."""
    return grouped(
        (number, repeat_of, values[index], feasible)
        for number, repeat_of, _, feasible, values in rows
        if index < len(values)
    )


def grouped(rows: Iterable[tuple[int, int | None, float | None, bool | None]]) -> list[Measured]:
    """Rows of a number, what it repeats, a score, whether it is feasible: by configuration.

    One is feasible when it met the objectives each time.
    """
    found: dict[int, list[tuple[float, bool]]] = {}
    for number, repeat_of, score, feasible in rows:
        found.setdefault(repeat_of or number, []).append((score or 0.0, bool(feasible)))
    return [
        Measured(number, tuple(score for score, _ in each), all(able for _, able in each))
        for number, each in found.items()
    ]


def best(groups: Sequence[Measured], maximize: bool) -> tuple[int, float] | None:
    """The number and the score of the best one; of repeats, their mean."""
    pooled = confidence.noise_of(groups)
    scores = [(pooled.value(one.scores), one.feasible) for one in groups]
    index = scoring.best(scores, maximize)
    return None if index is None else (groups[index].number, scores[index][0])


def _row(experiment: Experiment, groups: list[Measured], *columns: str) -> Experiment | None:
    found = best(groups, experiment.task.objectives.maximize)
    if found is None:
        return None
    shown = experiment.task.experiments.only("number", "gpus", "task", *columns)
    return shown.filter(number=found[0]).first()
