"""The highest request rate at which one server still keeps its objectives: its goodput.

Zhong et al., "DistServe: Disaggregating Prefill and Decoding for Goodput-optimized Large Language
Model Serving", OSDI 2024: the highest rate at which the objectives hold. Each rate that is tried
is a load level of its own, on the same server.
"""

from dataclasses import replace
from typing import Any
from zlib import crc32

from experiments import rates, scoring
from experiments.benchmarks.base import Level
from experiments.climbing import AGAIN, Climb, Measured
from experiments.database import read_or
from experiments.ladder import breaking
from experiments.race import margin
from experiments.scoring import LevelResult
from experiments.sections import RateSearch
from experiments.standing import best_of_others

GOODPUT = "goodput"


class RateClimb(Climb):
    """A search over request rates. Its metrics are those at the highest rate that holds, and its
    goodput is that rate.

    Without pruning it begins at the lowest rate. Else a new configuration begins just below the
    rate of the best one so far, by the margin of noise; when not even that holds, it has lost.
    """

    best_number = 0

    def _fixed_levels(self) -> list[Level]:
        return []

    @property
    def search(self) -> RateSearch:
        search = self.file.benchmark.rate_search
        assert search is not None, "a task without a search has fixed levels"
        return search

    def results(self) -> dict[str, Any]:
        """The columns of the experiment. Raises ExperimentFailed when there are none."""
        best = self._best_rate()
        start = None if best is None else self._start(best)
        while (rate := self._next_rate(start)) is not None:
            self._rung(rate)
            if best is not None and rate == start and not self.tried()[rate]:
                return self._lost(best)
        return self._columns()

    def tried(self) -> dict[float, bool]:
        """Each rate, and whether the objectives held."""
        return {self._rate(one): self._verdict(one.result).feasible for one in self._in_order()}

    def _next_rate(self, start: float | None) -> float | None:
        search = self.search
        return rates.next_rate(self.tried(), search.low, search.high, search.tolerance, start)

    def _rung(self, rate: float) -> None:
        """Measure one rate. One that breaks while a neighbour starts is measured again."""
        index, scenario = len(self.levels), self.file.levels()[0].scenario
        level = Level(scenario, request_rate=rate)
        self.levels.append(level)
        self.labels.append(level.label)
        most = rates.most_rungs(self.search.low, self.search.high, self.search.tolerance)
        share = (1 + index) / (1 + max(most, 1 + index))  # The start is a step, too
        self._at(f"rate {index + 1}: {self.labels[index]}", share)
        seed = crc32(level.label.encode()) % AGAIN  # Whatever was tried before it
        one = self._one(index, f"level-{index + 1}", seed, breaking(self.rules))
        self.measured[index] = one
        if one.is_disturbed and not self._verdict(one.result).feasible:
            self._again(index)

    def _rate(self, one: Measured) -> float:
        assert one.level.request_rate is not None, "each rung has a rate"
        return one.level.request_rate

    def _verdict(self, level: LevelResult) -> scoring.Verdict:
        """Of a rate every objective decides, a soft one as well."""
        found = super()._verdict(level)
        return replace(found, feasible=not found.violations)

    # ── against the best so far ─────────────────────────────────────────────────────────────

    def _best_rate(self) -> float | None:
        """The goodput of the best so far, for as many GPUs as this one has."""
        is_alone = not self.objectives.several and self.rules.objective.metric == GOODPUT
        if not self.may_stop or not is_alone:
            return None
        best = read_or(None, lambda: best_of_others(self.experiment, "metrics"))
        if best is None or GOODPUT not in best.metrics:
            return None
        self.best_number, rate = best.number, float(best.metrics[GOODPUT])
        return rate / best.gpus * self.gpus if self.rules.per_gpu else rate

    def _start(self, best: float) -> float | None:
        """Just below the best's rate; None where that is no rate to be searched."""
        start = rates.rounded(best * (1 - margin(0.0, 0.0, self.rules.noise)))
        return start if self.search.low < start <= self.search.high else None

    def _lost(self, best: float) -> dict[str, Any]:
        """Pruned: its goodput is estimated from how far it was beyond its worst limit."""
        result, rate = self._results()[0], self._rate(self.measured[0])
        missed = self._verdict(result).violations[0]
        limits = dict(self.file.slo.limits() if self.file.slo else ())
        worst = max((scoring.violation(result, name, limits[name]) for name in limits), default=0.0)
        why = f"at {result.label}: {missed}; #{self.best_number} holds {best:.3g} req/s"
        return self._at_rate(result, rate / (1 + max(worst, 0.0)), None, why)

    # ── what they come to ───────────────────────────────────────────────────────────────────

    def _in_order(self) -> list[Measured]:
        return sorted(self.measured.values(), key=self._rate)

    def _columns(self, pruned: str = "") -> dict[str, Any]:
        """At the highest rate that holds; at the lowest one, and infeasible, where none does."""
        held = rates.highest(self.tried())
        one = next((one for one in self._in_order() if self._rate(one) == held), None)
        if one is None:
            columns = self._at_rate(self._results()[0], 0.0, None)
            return {**columns, "feasible": False}
        return self._at_rate(one.result, self._rate(one), one.level.label)

    def _at_rate(
        self, result: LevelResult, rate: float, holds_at: str | None, pruned: str = ""
    ) -> dict[str, Any]:
        """The columns with the metrics of one rung, and this rate as the goodput.

        A soft limit that is exceeded costs nothing more: at no such rate it holds. One that was
        pruned is feasible at a lower rate, as far as anybody knows.
        """
        result = replace(result, metrics={**result.metrics, GOODPUT: rate})
        scored = self._score([result])
        score = replace(
            scored,
            objective_score=scored.value,
            feasible=True,
            penalty=0.0,
            holds_at=holds_at,
        )
        return self._as_columns(score, [result], pruned)
