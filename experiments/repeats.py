"""Which configurations of a task are measured again, and how sure its winner is therefore."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments import confidence
from experiments.budget import planned_repeats, to_search
from experiments.confidence import Gain, Measured, Noise
from experiments.models import TuningTask
from experiments.states import ENDED, FailureKind, Status

MOST_NAMED = 4
INNOCENT = (FailureKind.LOST, FailureKind.CANCELLED)


class Row(Protocol):
    """What is needed of an experiment, be it a model or a plain row."""

    @property
    def number(self) -> int: ...
    @property
    def repeat_of(self) -> int | None: ...
    @property
    def status(self) -> str: ...
    @property
    def objective_score(self) -> float | None: ...
    @property
    def objective_values(self) -> Sequence[float]: ...
    @property
    def penalty(self) -> float | None: ...
    @property
    def feasible(self) -> bool | None: ...
    @property
    def pruned(self) -> bool: ...
    @property
    def is_baseline(self) -> bool: ...
    @property
    def error_kind(self) -> str: ...
    @property
    def error_may_pass(self) -> bool: ...


@dataclass(frozen=True)
class Certainty:
    """How sure a task's winner is."""

    winner: Measured
    gain: Gain | None  # Over the baseline
    baseline: Measured | None  # Where it met the objectives
    noise: Noise
    alike: list[Measured]  # What cannot be told from it
    is_of_several: bool = False  # Its score is of several objectives

    @property
    def score(self) -> float:
        """Of the winner's measurements that count."""
        return self.noise.value(self.winner.counted)

    @property
    def baseline_score(self) -> float | None:
        """The same of the baseline."""
        return None if self.baseline is None else self.noise.value(self.baseline.counted)

    @property
    def both(self) -> list[Measured]:
        """The winner, and the baseline that it is compared with."""
        return [self.winner, *([self.baseline] if self.baseline else [])]

    def sentence(self) -> str:
        """What people are told: `+18.2 % ± 3.1 %, real`, or that it is within the noise."""
        return f"all objectives together: {self._said()}" if self.is_of_several else self._said()

    def _said(self) -> str:
        by = f"{self.gain} over the engine's defaults" if self.gain else ""
        if not self.noise.freedom:
            by = f"{by}; " if by else ""
            return f"{by}nothing was measured twice, so the noise is not known"
        others = [f"#{one.number}" for one in self.alike if not one.is_baseline]
        if self.winner.is_baseline:
            like = f"; within noise of {_joined(others)}" if others else ""
            return f"nothing is better than the engine's defaults{like}"
        if self.gain is None:
            if others:
                return f"within noise of {_joined(others)}"
            return f"{self.winner.times} × measured, better than all others beyond the noise"
        if not self.gain.is_real:
            return f"{by}, within noise of {_joined([*others, 'the defaults'])}"
        return f"{by}, real" + (f"; within noise of {_joined(others)}" if others else "")


def score(row: Row) -> float | None:
    """What an experiment came to, all its objectives together."""
    return row.objective_score


def measured(rows: Iterable[Row], value: Callable[[Row], float | None] = score) -> list[Measured]:
    """Every configuration with its scores (or another `value`), in the order of its first
    experiment.

    A repeat that failed for its own reason makes the configuration infeasible: it does not hold.
    """
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row.status in ENDED and not is_innocent(row):
            groups.setdefault(row.repeat_of or row.number, []).append(row)
    scored = {
        number: [
            (found, row.number)
            for row in group
            if row.status == Status.SUCCESS
            and (found := value(row)) is not None
            and math.isfinite(found)
        ]
        for number, group in groups.items()
    }
    return [
        Measured(
            number=number,
            scores=tuple(found for found, _ in scored[number]),
            numbers=tuple(of for _, of in scored[number]),
            feasible=all(row.status == Status.SUCCESS and row.feasible for row in group),
            is_baseline=any(row.is_baseline for row in group),
            was_pruned=group[0].pruned,
        )
        for number, group in sorted(groups.items())
    ]


def is_innocent(row: Row) -> bool:
    """Whether its failure says nothing of its configuration."""
    return row.status != Status.SUCCESS and (row.error_kind in INNOCENT or row.error_may_pass)


def next_repeat(task: TuningTask, rows: Sequence[Row]) -> int | None:
    """The number of the experiment whose configuration is to be measured again while the search
    goes on: the baseline's, now and then.
    """
    baseline = next((one for one in measured(rows) if one.is_baseline and one.feasible), None)
    if baseline is None or not are_left(task, rows):
        return None
    again = [row for row in rows if row.repeat_of == baseline.number]
    if any(row.status not in ENDED for row in again):
        return None
    searched = sum(row.repeat_of is None for row in rows)
    planned, times = planned_repeats(task), len(again) + 1
    due = confidence.baseline_is_due(searched, to_search(task), planned, times)
    return baseline.number if due else None


def are_left(task: TuningTask, rows: Sequence[Row]) -> bool:
    """Whether one more experiment may measure something again."""
    repeated = sum(row.repeat_of is not None for row in rows)
    return repeated < planned_repeats(task) and len(rows) < task.max_experiments


def next_finalist(
    task: TuningTask, rows: Sequence[Row], expected: Mapping[int, float]
) -> int | None:
    """The same after the search; None when the winner is certain.

    `expected` is which score is expected of each configuration, by number, its luck taken off.
    """
    one = confidence.next_to_repeat(measured(rows), task.objectives.maximize, expected)
    return None if one is None else one.number


def certainty(
    task: TuningTask, rows: Iterable[Row], among: Collection[int] | None = None
) -> Certainty | None:
    """How sure the winner is, one of `among` where that is given; None while there is none."""
    groups = [one for one in measured(rows) if one.is_known]
    maximize = task.objectives.maximize
    winner = confidence.leader(groups, maximize, among)
    if winner is None:
        return None
    noise = confidence.noise_of(groups)
    baseline = next((one for one in groups if one.is_baseline and one.feasible), None)
    choices = confidence.choices(winner, groups)
    gain = confidence.gain(winner, baseline, noise, maximize, choices) if baseline else None
    alike = confidence.rivals(winner, groups, maximize) if noise.freedom else []
    return Certainty(winner, gain, baseline, noise, alike, task.objectives.several)


def _joined(names: Sequence[str]) -> str:
    """`#4`, `#4 and #7`, `#4, #7 and 3 more`."""
    shown = list(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        shown = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
