"""Which configurations of a task are measured again, and how sure its winner is therefore."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    score: float  # Of the measurements that count
    gain: Gain | None  # Over the baseline
    noise: Noise
    alike: list[Measured]  # What cannot be told from it

    def sentence(self) -> str:
        """What people are told: `+18.2 % ± 3.1 %, real`, or that it is within the noise."""
        if not self.noise.freedom:
            over = "over the engine's defaults"
            by = f"{_percent(self.gain.share)} {over}; " if self.gain else ""
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
            return f"{self._interval}, within noise of {_joined([*others, 'the defaults'])}"
        return f"{self._interval}, real" + (
            f"; within noise of {_joined(others)}" if others else ""
        )

    @property
    def _interval(self) -> str:
        assert self.gain is not None
        interval = f"{_percent(self.gain.share)} ± {self.gain.plus_minus:.1%}"
        return f"{interval} over the engine's defaults"


def measured(rows: Iterable[Row]) -> list[Measured]:
    """Every configuration with its scores, in the order of its first experiment.

    A repeat that failed for its own reason makes the configuration infeasible: it does not hold.
    """
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row.status in ENDED and not is_innocent(row):
            groups.setdefault(row.repeat_of or row.number, []).append(row)
    return [
        Measured(
            number=number,
            scores=tuple(
                row.objective_score
                for row in group
                if row.status == Status.SUCCESS
                and row.objective_score is not None
                and math.isfinite(row.objective_score)
            ),
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
    planned = planned_repeats(task)
    baseline = next((one for one in measured(rows) if one.is_baseline and one.feasible), None)
    if not planned or baseline is None:
        return None
    again = [row for row in rows if row.repeat_of == baseline.number]
    if any(row.status not in ENDED for row in again):
        return None
    searched = sum(row.repeat_of is None for row in rows)
    due = confidence.baseline_is_due(searched, to_search(task), planned, len(again) + 1)
    return baseline.number if due else None


def next_finalist(
    task: TuningTask, rows: Sequence[Row], expect: Callable[[], Mapping[int, float]]
) -> int | None:
    """The same after the search; None when the winner is certain, or the repeats are used up.

    `expect` answers which score is expected of each configuration, by number, its luck taken off.
    """
    repeated = sum(row.repeat_of is not None for row in rows)
    if repeated >= planned_repeats(task) or len(rows) >= task.max_experiments:
        return None
    one = confidence.next_to_repeat(measured(rows), task.objectives.maximize, expect())
    return None if one is None else one.number


def certainty(task: TuningTask, rows: Iterable[Row]) -> Certainty | None:
    """How sure the winner is; None while there is none, or a front instead of one."""
    groups = [one for one in measured(rows) if one.is_known]
    maximize = task.objectives.maximize
    winner = None if task.objectives.has_front else confidence.leader(groups, maximize)
    if winner is None:
        return None
    noise = confidence.noise_of(groups)
    baseline = next((one for one in groups if one.is_baseline and one.feasible), None)
    gain = confidence.gain(winner, baseline, noise, maximize) if baseline else None
    alike = confidence.rivals(winner, groups, maximize) if noise.freedom else []
    return Certainty(winner, noise.value(winner.counted), gain, noise, alike)


def _percent(share: float) -> str:
    return f"{share:+.1%}"


def _joined(names: Sequence[str]) -> str:
    """`#4`, `#4 and #7`, `#4, #7 and 3 more`."""
    shown = list(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        shown = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
