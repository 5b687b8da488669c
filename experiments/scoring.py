"""How good a measured configuration is, and which of several is the winner.

Every load level counts. A level with too many errors, or far beyond a hard limit, is not dropped
from an average: it makes the whole experiment infeasible, and infeasible ones never win.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.errors import ExperimentFailed
from experiments.objectives import (
    NEEDS,
    PERCENTILES,
    THROUGHPUTS,
    Objective,
    Objectives,
    unit_of,
)
from experiments.pareto import penalised, together
from experiments.slo import Limit, Slo
from experiments.states import FailureKind

STEEPEST = 50.0  # exp(50) is 5e21: worse than anything, and still a number


@dataclass(frozen=True)
class LevelResult:
    """What was measured at one load level."""

    label: str
    metrics: Mapping[str, float]
    # Of each metric, as a share of it; empty where single requests are not known
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    disturbed: bool = False  # A neighbour started its engine meanwhile
    stopped_early: str = ""  # Why it was hopeless, before it was measured to the end


@dataclass(frozen=True)
class Verdict:
    """Whether the configuration holds at one load level, and every limit that it exceeds."""

    label: str
    feasible: bool
    violations: list[str]


@dataclass(frozen=True)
class Score:
    """`value` is the objective in its own unit, `objective_score` the same with the penalty.

    `values` are all objectives in their own units; of several, `value` is the geometric mean.
    `holds_at` is the label of the heaviest level up to which every level is feasible.
    """

    value: float
    values: tuple[float, ...]
    objective_score: float
    feasible: bool
    penalty: float
    levels: list[Verdict]
    holds_at: str | None
    reasons: list[str]

    def columns(self) -> dict[str, Any]:
        """The same as an experiment's row has it."""
        return {
            "objective_value": self.value,
            "objective_values": list(self.values),
            "penalty": self.penalty,
            "objective_score": self.objective_score,
            "feasible": self.feasible,
            "holds_at": self.holds_at or "",
        }


def score(
    levels: Sequence[LevelResult],
    objectives: Objectives,
    slo: Slo | None = None,
    *,
    gpus: int = 1,
    max_error_rate: float = 0.01,
    per_gpu: bool = False,
) -> Score:
    """The score of one experiment from its levels, the lightest first.

    `per_gpu` divides throughputs by `gpus`, for tasks whose configurations use different
    numbers of them. `max_error_rate` is a hard limit unless the SLOs have one of their own.
    Raises ExperimentFailed when an objective, or a metric with a limit, was not measured.
    """
    values = tuple(
        over_levels([measured(level, one.metric) for level in levels], one)
        / (gpus if per_gpu and one.metric in THROUGHPUTS else 1)
        for one in objectives.each
    )
    value = together(values, objectives)
    penalty = soft_penalty(levels, slo)
    verdicts, reasons = [], []
    for level in levels:
        fatal, violations = _examine(level, slo, max_error_rate)
        verdicts.append(Verdict(level.label, not fatal, violations))
        reasons += [f"{level.label}: {violation}" for violation in fatal]
    return Score(
        value=value,
        values=values,
        objective_score=penalised(value, penalty, objectives.maximize),
        feasible=not reasons,
        penalty=penalty,
        levels=verdicts,
        holds_at=_holds_at(verdicts),
        reasons=reasons,
    )


def verdict(level: LevelResult, slo: Slo | None, max_error_rate: float) -> Verdict:
    """Whether a configuration holds at one level. Raises ExperimentFailed as `score` does."""
    fatal, violations = _examine(level, slo, max_error_rate)
    return Verdict(level.label, not fatal, violations)


def score_job(metrics: Mapping[str, float], objectives: Objectives) -> Score:
    """The score of a job: the numbers that its own output gives under the objectives' names.

    Raises ExperimentFailed when one is missing or not finite.
    """
    values = tuple(
        _measured(metrics, one.word if one.word in metrics else one.metric, "the output")
        for one in objectives.each
    )
    value = together(values, objectives)
    return Score(value, values, value, True, 0.0, [], None, [])


def overall(levels: Sequence[LevelResult]) -> dict[str, float]:
    """The metrics of an experiment: each one that is finite at every level, over all levels.

    Percentiles are those of the worst level, because an average of percentiles is none.
    """
    shared = {
        name: [level.metrics.get(name, math.nan) for level in levels] for name in levels[0].metrics
    }
    return {
        name: max(values) if is_percentile(name) else math.fsum(values) / len(values)
        for name, values in shared.items()
        if all(map(math.isfinite, values))
    }


def soft_penalty(levels: Sequence[LevelResult], slo: Slo | None) -> float:
    """The sum of weight x exp(violation / steepness) over the limits that are exceeded.

    Each limit counts once, at the level that exceeds it most, so that measuring more levels
    does not make a configuration worse.
    """
    if slo is None:
        return 0.0
    penalty = 0.0
    for metric, limit in slo.limits():
        worst = max(violation(level, metric, limit) for level in levels)
        if worst > 0:
            penalty += limit.weight * math.exp(min(worst / slo.steepness, STEEPEST))
    return penalty


def violation(level: LevelResult, metric: str, limit: Limit) -> float:
    """How far a level is beyond a limit, as a share of it; negative when it keeps it."""
    return limit.violation(measured(level, metric))


def better(a: float | None, b: float | None, maximize: bool) -> bool:
    """Whether `a` is strictly better than `b`. No score is never better than another."""
    if a is None or not math.isfinite(a):
        return False
    if b is None or not math.isfinite(b):
        return True
    return a > b if maximize else a < b


def best(results: Sequence[tuple[float | None, bool | None]], maximize: bool) -> int | None:
    """The index of the best (objective score, feasible) pair; the first of equals.

    None when there is no feasible score.
    """
    winner, winning = None, None
    for index, (value, feasible) in enumerate(results):
        if feasible and better(value, winning, maximize):
            winner, winning = index, value
    return winner


def gain(value: float | None, baseline: float | None, maximize: bool) -> float | None:
    """How much better than the baseline, as a share of it: 0.18 is 18 % better.

    None when there is no baseline to compare with.
    """
    if value is None or baseline is None or baseline == 0:
        return None
    if not (math.isfinite(value) and math.isfinite(baseline)):
        return None
    difference = value - baseline if maximize else baseline - value
    return difference / abs(baseline)


def over_levels(values: Sequence[float], objective: Objective) -> float:
    """An objective's values at all levels as one: the mean, or for a percentile the worst."""
    if not values:
        raise ExperimentFailed(FailureKind.BENCHMARK_ERRORS, "no load level was measured")
    if is_percentile(objective.metric):
        return min(values) if objective.maximize else max(values)
    return math.fsum(values) / len(values)


def measured(level: LevelResult, metric: str) -> float:
    """A finite metric of a level, or ExperimentFailed, which names those that are there."""
    return _measured(level.metrics, metric, level.label)


def _measured(metrics: Mapping[str, float], name: str, where: str) -> float:
    """A finite metric, or ExperimentFailed, which names those that are there."""
    value = metrics.get(name)
    if value is not None and math.isfinite(value):
        return float(value)
    problem = "is missing" if value is None else f"is {value}"
    if value is None and name in NEEDS:
        problem += f": it needs {NEEDS[name]}"
    present = ", ".join(sorted(metrics)) or "none"
    raise ExperimentFailed(
        FailureKind.BENCHMARK_ERRORS, f"{where}: {name} {problem} (metrics present: {present})"
    )


def is_percentile(metric: str) -> bool:
    """Whether it is the percentile of a time: of several levels the worst counts."""
    return metric.rpartition("_")[2] in PERCENTILES


def _examine(
    level: LevelResult, slo: Slo | None, max_error_rate: float
) -> tuple[list[str], list[str]]:
    """What makes this level infeasible, and every limit that it exceeds."""
    fatal: list[str] = []
    exceeded: list[str] = []
    errors = level.metrics.get("error_rate", 0.0)
    is_ours = slo is None or slo.error_rate is None or not slo.error_rate.hard_fail
    if is_ours and not errors <= max_error_rate:  # Said so that NaN is too many, not few
        fatal.append(f"error rate {errors:.1%} is above {max_error_rate:.1%}")
    for metric, limit in slo.limits() if slo else ():
        by = violation(level, metric, limit)
        if by <= 0:
            continue
        text = _in_words(metric, level.metrics[metric], limit)
        exceeded.append(text)
        if limit.hard_fail and by > limit.fail_ratio:
            fatal.append(text)
    return fatal, [*(text for text in fatal if text not in exceeded), *exceeded]


def _in_words(metric: str, actual: float, limit: Limit) -> str:
    """`latency_p90 6.2 s is 24% above 5 s`."""
    if metric == "error_rate":
        return f"error rate {actual:.1%} is above {limit.threshold:.1%}"
    unit, by = unit_of(metric), limit.violation(actual)
    return f"{metric} {actual:.4g} {unit} is {by:.0%} {limit.beyond} {limit.threshold:g} {unit}"


def _holds_at(verdicts: Sequence[Verdict]) -> str | None:
    """The label of the last level before the first infeasible one."""
    holds = None
    for verdict in verdicts:
        if not verdict.feasible:
            break
        holds = verdict.label
    return holds
