"""One server under its load levels: measured one after the other, and what they come to."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from experiments import scoring
from experiments.benchmarks.base import Level, Measurement, Samples
from experiments.benchmarks.samples import compact, goodput, rounded, standard_errors
from experiments.database import read_or
from experiments.experiment import Experiment
from experiments.neighbours import Neighbours, Watch
from experiments.objectives import parse_objectives
from experiments.scoring import LevelResult
from experiments.states import Status

CLOSE = 0.1  # of the best score: so near to it that a disturbed level is measured again
AGAIN = 500  # added to the seed of what is measured again: other requests, which no cache knows


class Measure(Protocol):
    """Puts one load level on the server. `name` is that of its report and log."""

    def __call__(self, level: Level, *, name: str, seed: int) -> Measurement: ...


@dataclass(frozen=True)
class Measured:
    """One load level as it was measured, in `seconds`, and who was on the node meanwhile."""

    level: Level
    measurement: Measurement
    seconds: float
    neighbours: Neighbours

    @property
    def is_disturbed(self) -> bool:
        """Whether a neighbour started its engine meanwhile."""
        return self.neighbours.starting > 0

    @property
    def result(self) -> LevelResult:
        measured = self.measurement
        return LevelResult(self.level.label, measured.metrics, standard_errors(measured.samples))

    def document(self) -> dict[str, Any]:
        """What an experiment's row keeps of it."""
        return {
            "metrics": self.measurement.metrics,
            "standard_errors": rounded(self.result.standard_errors),
            "seconds": round(self.seconds, 3),
            "neighbours": asdict(self.neighbours),
            "disturbed": self.is_disturbed,
        }


class Climb:
    """The load levels of one experiment on its running server.

    `measure` measures one; `at` hears where it is, and which share of its steps (the start, each
    level) is done; `time_left` is how many seconds the experiment may still take.
    """

    def __init__(
        self,
        experiment: Experiment,
        measure: Measure,
        *,
        at: Callable[[str, float], None],
        time_left: Callable[[], float],
    ) -> None:
        self.experiment = experiment
        self.file = experiment.task.file
        self.objectives = parse_objectives(self.file.optimization.objective)
        self.levels = self.file.levels()
        self.measured: dict[int, Measured] = {}  # By the level's place in `levels`
        self.superseded: dict[int, Measured] = {}  # Disturbed, and measured again undisturbed
        self._measure, self._at, self._time_left = measure, at, time_left

    def results(self) -> dict[str, Any]:
        """The columns of the experiment. Raises ExperimentFailed when there are none."""
        for index, level in enumerate(self.levels):
            where = f"level {index + 1} of {len(self.levels)}: {level.label}"
            self._at(where, (1 + index) / (1 + len(self.levels)))  # The start is a step, too
            self.measured[index] = self._one(index, f"level-{index + 1}", index)
        self._disturbed_again()
        return self._columns()

    def _one(self, index: int, name: str, seed: int) -> Measured:
        """The level at this place of the ladder, measured now."""
        level = self.levels[index]
        watch, began = Watch(self.experiment), time.monotonic()
        # The same requests for every configuration, other ones at every level
        seed += self.file.optimization.seed * 1000
        measurement = self._with_goodput(self._measure(level, name=name, seed=seed))
        return Measured(level, measurement, time.monotonic() - began, watch.until_now())

    def _with_goodput(self, measured: Measurement) -> Measurement:
        limits = self.file.slo.per_request() if self.file.slo else {}
        if not limits or not measured.samples:
            return measured
        good = goodput(measured.samples, measured.metrics["duration"], limits)
        return replace(measured, metrics={**measured.metrics, "goodput": good})

    # ── a neighbour that started meanwhile ──────────────────────────────────────────────────

    def _disturbed_again(self) -> None:
        """Measure each disturbed level once more, where its figures decide something."""
        disturbed = [index for index, one in sorted(self.measured.items()) if one.is_disturbed]
        if not disturbed or not self._is_close():
            return
        for index in disturbed:
            before = self.measured[index]
            if self._time_left() < 2 * before.seconds:
                return  # What is measured must not be lost to the experiment's own limit
            self._at(f"again, level {index + 1} of {len(self.levels)}: {before.level.label}", 1.0)
            after = self._one(index, f"level-{index + 1}-again", index + AGAIN)
            if after.is_disturbed:
                self.superseded[index] = after
            else:
                self.superseded[index], self.measured[index] = before, after

    def _is_close(self) -> bool:
        """Whether it may win: as good as the best so far, or nearly.

        On a Pareto front many win, also such as score far less than the best.
        """
        if self.objectives.has_front:
            return True
        best = read_or(None, lambda: best_score(self.experiment))
        own = self._score().objective_score
        by = scoring.gain(own, best, self.objectives.maximize)
        return by is None or by >= -CLOSE

    # ── what they come to ───────────────────────────────────────────────────────────────────

    def _results(self) -> list[LevelResult]:
        return [one.result for _, one in sorted(self.measured.items())]

    def _score(self) -> scoring.Score:
        return scoring.score(
            self._results(),
            self.objectives,
            self.file.slo,
            gpus=self.experiment.gpus,
            max_error_rate=self.file.benchmark.max_error_rate,
            per_gpu=self.file.per_gpu,
        )

    def _columns(self) -> dict[str, Any]:
        score = self._score()
        return {
            "metrics": scoring.overall(self._results()),
            "levels": self._documents(score.levels),
            "objective_value": score.value,
            "objective_values": list(score.values),
            "penalty": score.penalty,
            "objective_score": score.objective_score,
            "feasible": score.feasible,
            "holds_at": score.holds_at or "",
            "samples": list(self._samples()),
        }

    def _samples(self) -> Iterator[tuple[str, bool, Samples]]:
        for measured, superseded in ((self.measured, False), (self.superseded, True)):
            for _, one in sorted(measured.items()):
                yield one.level.label, superseded, compact(one.measurement.samples)

    def _documents(self, verdicts: Sequence[scoring.Verdict]) -> list[dict[str, Any]]:
        documents = []
        for (index, one), verdict in zip(sorted(self.measured.items()), verdicts, strict=True):
            documents.append({**asdict(verdict), **one.document()})
            if index in self.superseded:
                documents[-1]["superseded"] = self.superseded[index].document()
        return documents


def best_score(experiment: Experiment) -> float | None:
    """The best objective score of the task's other experiments so far."""
    others = experiment.task.experiments.filter(status=Status.SUCCESS, feasible=True)
    scores = list(others.exclude(pk=experiment.pk).values_list("objective_score", "feasible"))
    index = scoring.best(scores, experiment.task.objectives.maximize)
    return None if index is None else scores[index][0]
