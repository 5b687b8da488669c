"""The Pareto front of what was measured, some of it again, and how sure each of it is.

By one measurement each, a front is made of the lucky ones: the more objectives, the more of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from experiments import confidence, repeats
from experiments.confidence import Gain, Measured, Noise
from experiments.objectives import Objectives
from experiments.pareto import dominates, pareto_front, penalised, turned
from experiments.repeats import Row


class Point(NamedTuple):
    """A configuration that met the objectives each time, by all its measurements that count.

    `together` are its scores, of all objectives; `at` has each objective with the soft penalty,
    turned so that higher is better.
    """

    together: Measured
    at: tuple[float, ...]

    @property
    def is_certain(self) -> bool:
        """Whether it was measured again: it is not on the front by luck alone."""
        return self.together.measurements > 1


@dataclass(frozen=True)
class Member:
    """One of the front: each objective by all its measurements, without the penalty, and its gain
    over the baseline (None where that was not measured).
    """

    number: int
    measurements: int
    values: tuple[float, ...]
    gains: tuple[Gain | None, ...]

    def with_gains(self, values: Iterable[str]) -> list[str]:
        """Its values as people see them, each with its gain: `300 tok/s (+12.0% ± 3.1%)`."""
        each = zip(values, self.gains, strict=True)
        return [value + (f" ({gain})" if gain else "") for value, gain in each]


class Goal(NamedTuple):
    """One objective of all configurations: their measurements, by number, and their noise."""

    of: dict[int, Measured]
    noise: Noise
    maximize: bool

    def value(self, number: int) -> float:
        return self.noise.value(self.of[number].counted)

    def gain(self, number: int, other: int | None) -> Gain | None:
        """Of one configuration over another one."""
        if other is None:
            return None
        one, choices = self.of[number], confidence.choices(self.of[number], self.of.values())
        return confidence.gain(one, self.of[other], self.noise, self.maximize, choices)


def goals(rows: Iterable[Row], objectives: Objectives, *, with_penalty: bool = False) -> list[Goal]:
    """Each objective by itself, in the order of the task's."""
    rows, found = list(rows), []
    for index, one in enumerate(objectives.each):
        value = partial(_value, index, one.maximize, with_penalty)
        known = [each for each in repeats.measured(rows, value) if each.is_known]
        groups = {each.number: each for each in known}
        found.append(Goal(groups, confidence.noise_of(known), one.maximize))
    return found


def _value(index: int, maximize: bool, with_penalty: bool, row: Row) -> float | None:
    if index >= len(row.objective_values):
        return None
    penalty = (row.penalty or 0.0) if with_penalty else 0.0
    return penalised(row.objective_values[index], penalty, maximize)


def points(rows: Iterable[Row], objectives: Objectives) -> list[Point]:
    """Every configuration that may be on the front, in the order of their numbers."""
    rows = list(rows)
    each = goals(rows, objectives, with_penalty=True)
    return [
        Point(one, tuple((1 if g.maximize else -1) * g.value(one.number) for g in each))
        for one in repeats.measured(rows)
        if one.is_known and one.feasible and all(one.number in goal.of for goal in each)
    ]


def front(rows: Iterable[Row], objectives: Objectives) -> list[Point]:
    """Those that no other one beats.

    One that was measured once takes the place of one that was measured again only when its score is
    better beyond the noise: it is one of many, and may be lucky.
    """
    found = points(rows, objectives)
    noise = confidence.noise_of(point.together for point in found)
    certain = _beaten_by_none([point for point in found if point.is_certain])
    single = _beaten_by_none([point for point in found if not point.is_certain])

    def beats(one: Point, other: Point) -> bool:
        if not dominates(one.at, other.at):
            return False
        # Nobody chose the baseline; without a known noise a measurement is all that there is
        is_free = one.is_certain or other.together.is_baseline or not noise.freedom
        return is_free or noise.differ(one.together, other.together)

    kept = [one for one in certain if not any(beats(other, one) for other in single)]
    kept += [one for one in single if not any(beats(other, one) for other in certain)]
    return sorted(kept, key=lambda point: point.together.number)


def _beaten_by_none(found: Sequence[Point]) -> list[Point]:
    return [found[index] for index in pareto_front([point.at for point in found])]


def next_to_repeat(rows: Iterable[Row], objectives: Objectives) -> int | None:
    """Whom to measure again: of those of the front that were measured once the one with the best
    score, by number. Then what was pruned, and is beaten by none of the front: what it had lost to
    was lucky. None when there is nobody.
    """
    rows = list(rows)
    kept = front(rows, objectives)
    single = [point.together for point in kept if not point.is_certain]
    if single:
        return max(single, key=lambda one: one.counted[0]).number
    unknown = {one.number for one in repeats.measured(rows) if one.feasible and not one.is_known}
    estimates = {
        row.number: turned(row.objective_score, row.objective_values, row.penalty, objectives)
        for row in rows
        if row.number in unknown
    }
    able = [
        (score, number)
        for row in rows
        if (number := row.number) in estimates
        and (score := row.objective_score) is not None
        and not any(dominates(point.at, estimates[number]) for point in kept)
    ]
    return max(able)[1] if able else None


def values(each: Sequence[Goal]) -> dict[int, tuple[float, ...]]:
    """Each objective of every configuration, by number: all its measurements that count."""
    known = [number for number in each[0].of if all(number in goal.of for goal in each)]
    return {number: tuple(goal.value(number) for goal in each) for number in known}


def members(rows: Iterable[Row], objectives: Objectives, each: Sequence[Goal]) -> list[Member]:
    """The front for people, in the order of their numbers; `each` are its goals without the
    penalty.
    """
    rows = list(rows)
    baselines = [one.number for one in repeats.measured(rows) if one.is_baseline and one.feasible]
    baseline = next((one for one in baselines if all(one in goal.of for goal in each)), None)
    return [
        Member(
            number=one.number,
            measurements=one.measurements,
            values=tuple(goal.value(one.number) for goal in each),
            gains=tuple(goal.gain(one.number, baseline) for goal in each),
        )
        for one, _ in front(rows, objectives)
    ]
