"""One server under its load levels: measured one after the other, and what they come to."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from experiments import scoring
from experiments.benchmarks.base import Level, Measurement, Samples, StopWhen
from experiments.benchmarks.samples import compact, goodput, rounded, standard_errors
from experiments.database import read_or
from experiments.experiment import Experiment
from experiments.interference import disturbance
from experiments.ladder import Step, all_races, all_results, hopeless, next_step, pace, result
from experiments.neighbours import Neighbours, Watch, somebody_starts
from experiments.objectives import parse_objectives
from experiments.race import Rules, Standing, relieved
from experiments.scoring import LevelResult
from experiments.standing import best_score, samples_of, standing
from experiments.taskfile import TaskFile

CLOSE = 0.1  # of the best score: so near to it that a disturbed level is measured again
AGAIN = 500  # added to the seed of what is measured again: other requests, which no cache knows


class Measure(Protocol):
    """Puts one load level on the server. `name` is that of its report and log."""

    def __call__(
        self, level: Level, *, name: str, seed: int, stop_when: StopWhen | None
    ) -> Measurement: ...


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
        return LevelResult(
            self.level.label,
            measured.metrics,
            standard_errors(measured.samples),
            disturbed=self.is_disturbed,
            stopped_early=measured.stopped_early,
        )

    def document(self) -> dict[str, Any]:
        """What an experiment's row keeps of it."""
        return {
            "metrics": self.measurement.metrics,
            "standard_errors": rounded(self.result.standard_errors),
            "seconds": round(self.seconds, 3),
            "neighbours": asdict(self.neighbours),
            "disturbed": self.is_disturbed,
            "stopped_early": self.measurement.stopped_early,
        }


class Climb:
    """The load levels of one experiment on its running server.

    `measure` measures one; `at` hears where it is, and which share of its steps (the start, each
    level) is done; `time_left` is how many seconds the experiment may still take; `pause` waits a
    moment on the server, and raises when that has ended or the experiment must not go on.
    """

    def __init__(
        self,
        experiment: Experiment,
        measure: Measure,
        *,
        at: Callable[[str, float], None],
        time_left: Callable[[], float],
        pause: Callable[[], None],
    ) -> None:
        self.experiment = experiment
        self.file = experiment.task.file
        self.objectives = parse_objectives(self.file.optimization.objective)
        self.levels = self._fixed_levels()
        self.labels = [level.label for level in self.levels]
        self.gpus = experiment.gpus
        self.rules = rules_of(self.file)
        self.noises = [self.rules.noise] * len(self.objectives.each)
        self.best: Standing | None = None
        self.is_repeat = experiment.repeat_of is not None
        # What others are compared with is measured to the end
        self.may_stop = self.file.optimization.pruning and not (
            experiment.is_baseline or self.is_repeat
        )
        self.measured: dict[int, Measured] = {}  # By the level's place in `levels`
        self.superseded: dict[str, Measured] = {}  # By label: measured twice, and not counted
        self._measure, self._at = measure, at
        self._time_left, self._pause = time_left, pause

    def _fixed_levels(self) -> list[Level]:
        """The levels that are known before anything is measured."""
        return self.file.levels()

    def results(self) -> dict[str, Any]:
        """The columns of the experiment. Raises ExperimentFailed when there are none."""
        while (step := self._next()).level:
            self._go(self.labels.index(step.level), step)
        if step.pruned:
            return self._columns(step.pruned)
        self._disturbed_again()
        return self._columns()

    def _next(self) -> Step:
        if self.may_stop and (found := read_or(None, lambda: standing(self.experiment))):
            self.best, self.noises = found
        is_disturbed = any(one.is_disturbed for one in self.measured.values())
        if is_disturbed and self.objectives.several:
            # What a neighbour costs is known of the first objective only: nothing has lost by it
            self.best = None
        elif is_disturbed:
            # Not read before it matters: it is of every experiment so far
            cost = read_or(self.rules.disturbance, lambda: disturbance(self.experiment.task))
            self.rules = replace(self.rules, disturbance=cost)
        measured = self._results()
        return all_races(
            [next_step(self.labels, measured, self.best, one, self.gpus) for one in self._races()]
        )

    def _races(self) -> list[Rules]:
        """The rules of each objective."""
        each = zip(self.objectives.each, self.noises, strict=True)
        return [replace(self.rules, objective=one, noise=noise) for one, noise in each]

    def _go(self, index: int, step: Step) -> None:
        """Measure a level, until its end or until it is hopeless."""
        total = len(self.levels)
        where = f"level {index + 1} of {total}: {step.level}"
        self._at(where, (1 + len(self.measured)) / (1 + total))  # The start is a step, too
        stop_when = self._stop_when(index, step) if self.may_stop else None
        one = self._one(index, f"level-{index + 1}", index, stop_when)
        self.measured[index] = one
        if one.is_disturbed and one.measurement.stopped_early and not self._next().pruned:
            # A neighbour may be to blame, and half a level is no result
            self._again(index)

    def _stop_when(self, index: int, step: Step) -> StopWhen:
        stop, best, level = hopeless(self.rules, step.needed), self.best, self.levels[index]
        if best is None or step.needed is None:
            return stop
        value = best.value(level.label, self.rules.objective.metric)
        none: Samples = {}
        found = read_or(none, lambda: samples_of(self.experiment, best.number, level.label))
        return replace(stop, pace=pace(self.rules, step.needed, level, value, found))

    def _one(self, index: int, name: str, seed: int, stop_when: StopWhen | None = None) -> Measured:
        """The level at this place of the ladder, measured now."""
        level = self.levels[index]
        watch, began = Watch(self.experiment), time.monotonic()
        # The same requests for every configuration, other ones at every level
        seed += self.file.optimization.seed * 1000
        measurement = self._measure(level, name=name, seed=seed, stop_when=stop_when)
        measurement = self._with_goodput(measurement)
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
            if self._time_left() < 3 * self.measured[index].seconds:
                return  # What is measured must not be lost to the experiment's own limit
            if self.labels[index] not in self.superseded:
                self._again(index)

    def _again(self, index: int) -> None:
        """Measure a level once more, to its end. The quieter one counts; of equals the whole."""
        before = self.measured[index]
        self._wait_for_quiet(before.seconds)
        total = len(self.levels)
        where = f"level {index + 1} of {total}, again: {before.level.label}"
        self._at(where, len(self.measured) / (1 + total))
        after = self._one(index, f"level-{index + 1}-again", index + AGAIN)
        if after.is_disturbed and not before.measurement.stopped_early:
            self.superseded[self.labels[index]] = after
        else:
            self.superseded[self.labels[index]], self.measured[index] = before, after

    def _wait_for_quiet(self, seconds: float) -> None:
        """Until no neighbour starts, at most so long: a second result that is disturbed is lost."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and somebody_starts(self.experiment):
            self._pause()

    def _is_close(self) -> bool:
        """Whether it may win: as good as the best so far, or nearly, had nobody disturbed it.

        On a Pareto front many win, also such as score far less than the best.
        """
        if self.objectives.has_front:
            return True
        best = read_or(None, lambda: best_score(self.experiment))
        levels = [relieved(level, self.rules) for level in self._results()]
        own = self._score(levels).objective_score
        by = scoring.gain(own, best, self.objectives.maximize)
        return self.is_repeat or by is None or by >= -CLOSE

    # ── what they come to ───────────────────────────────────────────────────────────────────

    def _in_order(self) -> list[Measured]:
        """What was measured, the lightest level first."""
        return [one for _, one in sorted(self.measured.items())]

    def _results(self) -> list[LevelResult]:
        return [one.result for one in self._in_order()]

    def _verdict(self, level: LevelResult) -> scoring.Verdict:
        return scoring.verdict(level, self.file.slo, self.file.benchmark.max_error_rate)

    def _score(self, levels: Sequence[LevelResult]) -> scoring.Score:
        return scoring.score(
            levels,
            self.objectives,
            self.file.slo,
            gpus=self.gpus,
            max_error_rate=self.file.benchmark.max_error_rate,
            per_gpu=self.file.per_gpu,
        )

    def _columns(self, pruned: str = "") -> dict[str, Any]:
        levels = self._results()
        if not pruned:
            return self._as_columns(self._score(levels), levels)
        each = [result(self.labels, levels, self.best, one, self.gpus) for one in self._races()]
        return self._as_columns(all_results(each, self.objectives), levels, pruned)

    def _as_columns(
        self, score: scoring.Score, levels: Sequence[LevelResult], pruned: str = ""
    ) -> dict[str, Any]:
        """`levels` are those that its metrics are of."""
        return {
            "pruned": bool(pruned),
            "pruned_why": pruned,
            "metrics": scoring.overall(levels),
            "levels": [self._document(one) for one in self._in_order()],
            **score.columns(),
            "samples": [sample for one in self._in_order() for sample in self._samples(one)],
        }

    def _document(self, one: Measured) -> dict[str, Any]:
        document = {**asdict(self._verdict(one.result)), **one.document()}
        if superseded := self.superseded.get(one.level.label):
            document["superseded"] = superseded.document()
        return document

    def _samples(self, one: Measured) -> Iterator[tuple[str, bool, Samples]]:
        label = one.level.label
        yield label, False, compact(one.measurement.samples)
        if superseded := self.superseded.get(label):
            yield label, True, compact(superseded.measurement.samples)


def rules_of(file: TaskFile) -> Rules:
    """How the experiments of a task are judged on the ladder, by the first objective."""
    return Rules(
        parse_objectives(file.optimization.objective).each[0],
        file.slo,
        max_error_rate=file.benchmark.max_error_rate,
        per_gpu=file.per_gpu,
    )
