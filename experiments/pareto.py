"""Several objectives: one number for all of them, and the front of those that nothing beats."""

import math
from collections.abc import Sequence

from experiments.errors import ExperimentFailed
from experiments.objectives import Objectives
from experiments.states import FailureKind


def together(values: Sequence[float], objectives: Objectives) -> float:
    """One objective as it is; several as their weighted geometric mean, where higher is better.

    `Π ratio ^ (weight / Σ weights)`, with the value as the ratio where more is better, else 1 /
    value. Divided by another experiment's it is the weighted geometric mean of the ratios to that
    one, so no measurement that comes later changes it. Raises ExperimentFailed for a value that
    has no ratios.
    """
    if not objectives.several:
        return values[0]
    logarithm = 0.0
    for value, objective, share in zip(values, objectives.each, objectives.shares(), strict=True):
        if value < 0 or (value == 0 and not objective.maximize):
            raise ExperimentFailed(
                FailureKind.BENCHMARK_ERRORS,
                f"{objective.metric} is {value:g}; several objectives are compared by their "
                "ratios, for which each must be above 0",
            )
        part = math.log(value) if value else -math.inf
        logarithm += share * (part if objective.maximize else -part)
    return math.exp(logarithm)


def penalised(value: float, penalty: float, maximize: bool) -> float:
    """A value with the soft penalty: less where more is better, else more."""
    return value / (1 + penalty) if maximize else value * (1 + penalty)


def turned(
    score: float | None, values: Sequence[float], penalty: float | None, objectives: Objectives
) -> tuple[float, ...]:
    """What an experiment's row has, as numbers of which each is better when it is higher.

    Of a Pareto front one for each objective, with the penalty; else the score alone. Empty when
    there is none.
    """
    if score is None or not math.isfinite(score):
        return ()
    if not objectives.has_front:
        return (score if objectives.maximize else -score,)
    if len(values) != len(objectives.each):
        return ()
    return tuple(
        (1 if one.maximize else -1) * penalised(value, penalty or 0.0, one.maximize)
        for value, one in zip(values, objectives.each, strict=True)
    )


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is at least as good in everything, and better in something."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def pareto_front(scores: Sequence[tuple[float, ...]]) -> list[int]:
    """The indices of those that no other one dominates, in their order; an empty one is not in it.

    `scores` are better when they are higher. Equal ones do not dominate each other.
    """
    front: list[int] = []
    # What dominates another is before it in this order, so only the front need be asked
    for index in sorted(range(len(scores)), key=lambda i: scores[i], reverse=True):
        if scores[index] and not any(dominates(scores[one], scores[index]) for one in front):
            front.append(index)
    return sorted(front)
