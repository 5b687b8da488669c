"""What parallel experiments did to each other: measured from what a task has measured anyway.

Load levels of one configuration that were measured more than once, with and without neighbours on
the node, are compared: baselines that were repeated during the search, finalists that were repeated
alone, and levels that were measured again because a neighbour had started.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from experiments.models import Experiment, TuningTask
from experiments.race import DISTURBANCE
from experiments.states import Status

ASSUMED = 4  # Levels that the usual disturbance counts as, beside what was measured
QUIET, STEADY, STARTING = "quiet", "steady", "starting"


@dataclass(frozen=True)
class Slowdown:
    """By which share the objective was worse beside such neighbours than on a quiet node.

    `pairs` is how many load levels were measured in both ways.
    """

    neighbours: str
    share: float
    pairs: int


def slowdowns(task: TuningTask, experiments: Iterable[Experiment]) -> list[Slowdown]:
    """Beside steady neighbours, and beside ones that started; those that are known."""
    objective = task.objectives.each[0]
    found: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in experiments:
        for label, state, metrics in _levels(one):
            value = metrics.get(objective.metric)
            if value is not None and value > 0:
                found[one.repeat_of or one.number, label][state].append(math.log(value))
    return list(_compared(list(found.values()), objective.maximize))


def disturbance(task: TuningTask) -> float:
    """What a level loses while a neighbour starts, as a share of what it had on a quiet node.

    What the task's levels show that were measured both ways, together with the usual share as if
    `ASSUMED` more of them had shown it.
    """
    done = task.experiments.filter(status=Status.SUCCESS)
    found = slowdowns(task, done.only("number", "repeat_of", "levels", "task"))
    lost = next((one for one in found if one.neighbours == STARTING), None)
    if lost is None:
        return DISTURBANCE
    maximize = task.objectives.each[0].maximize
    share = lost.share if maximize else lost.share / (1 + lost.share)
    mean = (ASSUMED * DISTURBANCE + lost.pairs * share) / (ASSUMED + lost.pairs)
    return max(0.0, mean)


def _levels(experiment: Experiment) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Every measurement of each load level, also of the one that did not count."""
    for level in experiment.levels:
        for one in (level, level.get("superseded")):
            neighbours = one and one.get("neighbours")
            if neighbours and not one.get("stopped_early"):
                state = STARTING if neighbours["starting"] else STEADY
                is_quiet = not (neighbours["starting"] or neighbours["steady"])
                yield level["label"], QUIET if is_quiet else state, one["metrics"]


def _compared(groups: Sequence[Mapping[str, list[float]]], maximize: bool) -> Iterator[Slowdown]:
    for state in (STEADY, STARTING):
        both = [group for group in groups if QUIET in group and state in group]
        if both:
            ratio = math.exp(fmean(fmean(group[state]) - fmean(group[QUIET]) for group in both))
            yield Slowdown(state, 1 - ratio if maximize else ratio - 1, len(both))


def document(task: TuningTask, experiments: Iterable[Experiment]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {"neighbours": one.neighbours, "slowdown": one.share, "pairs": one.pairs}
        for one in slowdowns(task, experiments)
    ]


def sentence(task: TuningTask, experiments: Iterable[Experiment]) -> str:
    """For people; empty while nothing was measured both ways."""
    words = {STEADY: "beside steady neighbours", STARTING: "while a neighbour started"}
    parts = [
        f"{abs(one.share):.0%} {'worse' if one.share > 0 else 'better'} {words[one.neighbours]} "
        f"({one.pairs} level{'s' * (one.pairs > 1)})"
        for one in slowdowns(task, experiments)
    ]
    return ", ".join(parts)
