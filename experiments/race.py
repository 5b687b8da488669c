"""One experiment against the best so far: by how much it loses, and whether it can still win.

Pure functions over results, as all of `ladder.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from experiments import scoring
from experiments.objectives import THROUGHPUTS, Objective, Objectives, unit_of
from experiments.pareto import penalised
from experiments.scoring import LevelResult, Score
from experiments.slo import Slo

NOISE = 0.05  # Of one start of a server against the next: the usual coefficient of variation
ONE_SIDED = 1.645  # Standard errors that one of twenty exceeds on one side
DISTURBANCE = 0.2  # What a neighbour that starts its engine costs, until a task has measured it


@dataclass(frozen=True)
class Rules:
    """How the experiments of a task are judged.

    `noise` is by how much one start of a server differs from the next, as a share (the standard
    deviation); `disturbance` what a level loses while a neighbour starts, as a share.
    """

    objective: Objective
    slo: Slo | None = None
    max_error_rate: float = 0.01
    per_gpu: bool = False
    noise: float = NOISE
    disturbance: float = DISTURBANCE


@dataclass(frozen=True)
class Standing:
    """The best experiment so far: what a new one must reach."""

    number: int
    levels: Sequence[LevelResult]
    gpus: int = 1

    def value(self, label: str, metric: str) -> float | None:
        """What it had at this level."""
        return next((one.metrics.get(metric) for one in self.levels if one.label == label), None)


def score(levels: Sequence[LevelResult], rules: Rules, gpus: int = 1) -> Score:
    """The score of an experiment that was measured at these levels and no others."""
    return scoring.score(
        levels,
        Objectives((rules.objective,)),
        rules.slo,
        gpus=gpus,
        max_error_rate=rules.max_error_rate,
        per_gpu=rules.per_gpu,
    )


def margin(one: float, other: float, noise: float = NOISE) -> float:
    """By how much two results may differ, as a share, and still be the same.

    `one` and `other` are their standard errors, as shares. Each result also has the `noise` of
    its server's start, which its requests cannot show. Independent errors add up as squares, and
    a difference beyond 1.645 standard errors is one-sidedly significant at 5 % (a two-sample z
    test; NIST/SEMATECH e-Handbook of Statistical Methods, 7.3.1). Without any errors of their own
    that is 11.6 % for a noise of 5 %: the floor.
    """
    return ONE_SIDED * math.sqrt(one**2 + other**2 + 2 * noise**2)


def relieved(level: LevelResult, rules: Rules) -> LevelResult:
    """A disturbed level with the objective that it might have had on a quiet node."""
    if not level.disturbed:
        return level
    metric, left = rules.objective.metric, 1 - rules.disturbance
    value = scoring.measured(level, metric)
    value = value / left if rules.objective.maximize else value * left
    return replace(level, metrics={**level.metrics, metric: value})


@dataclass(frozen=True)
class Race:
    """One experiment against the best so far. Values are the objective's, each level's own."""

    labels: Sequence[str]
    measured: Sequence[LevelResult]
    best: Standing
    rules: Rules
    gpus: int
    own: Mapping[str, float]
    theirs: Mapping[str, float]

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        measured: Sequence[LevelResult],
        best: Standing | None,
        rules: Rules,
        gpus: int,
    ) -> "Race | None":
        """None where there is nobody to beat: no best, or one that lacks a level."""
        if best is None:
            return None
        theirs = _values(best.levels, rules, best.gpus)
        if not all(theirs.get(label, 0.0) > 0 for label in labels):
            return None
        own = _values(measured, rules, gpus)
        return cls(labels, measured, best, rules, gpus, own, theirs)

    @property
    def deciding(self) -> str:
        """The level that decides the score of the best."""
        return self.most_decisive(self.labels)

    def most_decisive(self, labels: Sequence[str]) -> str:
        """The one of these levels that says most of the score of the best.

        For a mean that is the level with the largest value, which weighs most in it; for a
        percentile the worst level, which alone counts.
        """
        is_least = self.rules.objective.maximize and scoring.is_percentile(self.metric)
        choose = min if is_least else max
        return choose(labels, key=lambda label: self.theirs[label])

    @property
    def metric(self) -> str:
        return self.rules.objective.metric

    @property
    def maximize(self) -> bool:
        return self.rules.objective.maximize

    def lost(self, more: bool) -> str:
        """Why the experiment cannot win any more; empty while it can.

        Unless there is `more` to measure, only a level that was stopped early says so: what was
        measured to the end has a score of its own.
        """
        for level in self.measured:
            if level.disturbed:
                continue
            reasons = score([level], self.rules, self.gpus).reasons
            if reasons and more:
                return f"at {reasons[0]}"
            if level.stopped_early and not reasons:
                return self._loses_at(level, "")
        if not more:
            return ""
        found = [level for level in self.measured if level.label == self.deciding]
        if found and self._is_beyond(found[0]):
            return self._loses_at(found[0], f" (margin {self._margin(found[0]):.0%})")
        return self._cannot_reach()

    def needed(self, label: str) -> float:
        """The value of the metric at this level with which the experiment has not yet lost."""
        least = self._share_needed(label)
        if label == self.deciding:
            at_level = self._threshold(label, self._their_error(label))
            least = max(least, at_level) if self.maximize else min(least, at_level)
        return least * (self.gpus if _is_per_gpu(self.rules) else 1)

    def estimate(self) -> float:
        """The objective's value over all levels, those that were not measured included."""
        known = [label for label in self.labels if label in self.own]
        ratio = math.fsum(self.own[x] for x in known) / math.fsum(self.theirs[x] for x in known)
        values = [self.own.get(label, self.theirs[label] * ratio) for label in self.labels]
        return scoring.over_levels(values, self.rules.objective)

    # ── at one level ────────────────────────────────────────────────────────────────────────

    def _is_beyond(self, level: LevelResult) -> bool:
        """Whether it is worse than the best at this level by more than the margin."""
        error = level.standard_errors.get(self.metric, 0.0)
        return scoring.better(
            self._threshold(level.label, error), self._relieved(level), self.maximize
        )

    def _threshold(self, label: str, error: float) -> float:
        """The worst value at this level that is not yet beyond the margin.

        The best's soft penalty is part of what is to be beaten; one of our own comes on top.
        """
        by = margin(error, self._their_error(label), self.rules.noise)
        value = self.theirs[label] * (1 - by if self.maximize else 1 + by)
        return penalised(value, self._standing.penalty, self.maximize)

    def _margin(self, level: LevelResult) -> float:
        error = level.standard_errors.get(self.metric, 0.0)
        return margin(error, self._their_error(level.label), self.rules.noise)

    def _their_error(self, label: str) -> float:
        found = {level.label: level.standard_errors for level in self.best.levels}
        return found[label].get(self.metric, 0.0)

    def _relieved(self, level: LevelResult) -> float:
        """Its value, or what it might have been had no neighbour started meanwhile."""
        value = relieved(level, self.rules).metrics[self.metric]
        return value / (self.gpus if _is_per_gpu(self.rules) else 1)

    def _loses_at(self, level: LevelResult, note: str) -> str:
        value, other = level.metrics[self.metric], self.theirs[level.label]
        by = abs(1 - self.own[level.label] / other)
        way = "below" if self.maximize else "above"
        text = f"{value:.4g} {unit_of(self.metric)}".strip()
        stopped = f"; {level.stopped_early}" if level.stopped_early else ""
        return f"at {level.label}: {text}, {by:.0%} {way} #{self.best.number}{note}{stopped}"

    # ── over all levels ─────────────────────────────────────────────────────────────────────

    @property
    def _standing(self) -> Score:
        return score(self.best.levels, self.rules, self.best.gpus)

    def _hoped(self) -> dict[str, float]:
        """The most that can be hoped for at each level: what was measured, else the best's own
        and the margin.
        """
        hoped = {level.label: self._relieved(level) for level in self.measured}
        for label in self.labels:
            if label not in hoped:
                error = self._their_error(label)
                by = margin(error, error, self.rules.noise)
                hoped[label] = self.theirs[label] * (1 + by if self.maximize else 1 - by)
        return hoped

    @property
    def _penalty(self) -> float:
        """The soft penalty that it has already: more levels only add to it."""
        quiet = [level for level in self.measured if not level.disturbed]
        return scoring.soft_penalty(quiet, self.rules.slo) if quiet else 0.0

    def _cannot_reach(self) -> str:
        """Why it cannot reach the best at all its levels together; empty while it can."""
        if not self.measured:
            return ""
        hoped = self._hoped()
        value = scoring.over_levels([hoped[x] for x in self.labels], self.rules.objective)
        bound = penalised(value, self._penalty, self.maximize)
        goal = self._standing.objective_score
        if not scoring.better(goal, bound, self.maximize):
            return ""
        way = "below" if self.maximize else "above"
        most = "at most" if self.maximize else "at least"
        return (
            f"after {len(self.measured)} of {len(self.labels)} levels: {most} {bound:.4g} "
            f"{unit_of(self.metric)}, {abs(1 - bound / goal):.0%} {way} #{self.best.number}"
        )

    def _share_needed(self, label: str) -> float:
        """The value at this level with which all levels together just reach the best."""
        goal = penalised(self._standing.objective_score, self._penalty, not self.maximize)
        if scoring.is_percentile(self.metric):
            return goal
        others = [value for name, value in self._hoped().items() if name != label]
        return goal * len(self.labels) - math.fsum(others)


def _values(levels: Sequence[LevelResult], rules: Rules, gpus: int) -> dict[str, float]:
    """The objective at each level by itself, of one GPU where that is what counts."""
    by = gpus if _is_per_gpu(rules) else 1
    metric = rules.objective.metric
    return {level.label: scoring.measured(level, metric) / by for level in levels}


def _is_per_gpu(rules: Rules) -> bool:
    return rules.per_gpu and rules.objective.metric in THROUGHPUTS
