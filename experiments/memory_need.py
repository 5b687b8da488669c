"""What needs at least as much memory as something that had too little."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence

from experiments.dimensions import identity
from experiments.outcomes import Outcome, Verdict, chance_after, is_like, listed
from experiments.space import Configuration, Space
from experiments.states import FailureKind

DIRECTION = 1.64  # Of a rank test's z value: by chance alone in one of twenty
FEW_FAILED, FEW_STARTED = 2, 3  # … and not said of fewer


class Memory:
    """What ran out of memory at one place does so wherever more is needed.

    In which direction of which number memory grows is learnt: by a rank test (Mann and Whitney,
    1947) between the values that ran out of it and those that started. In all else a
    configuration must be like the failures that speak against it: a number between theirs, any
    other value one that they had, or had all, once it was seen to matter.
    """

    def __init__(self, space: Space, outcomes: Sequence[Outcome], numeric: Collection[str]) -> None:
        self.failed = [o for o in outcomes if o.kind == FailureKind.OUT_OF_MEMORY]
        self.started = [o for o in outcomes if o.started and o.kind != FailureKind.OUT_OF_MEMORY]
        signs = {name: self._direction(name) for name in space.names if name in numeric}
        self.signs = {name: sign for name, sign in signs.items() if sign}
        self.words = [name for name in space.names if name not in numeric]
        self.matters: set[str] = set()
        self._drop_contradicted()

    def _direction(self, name: str) -> int:
        """+1: memory grows with this number, -1: it shrinks, 0: not known to do either."""
        failed = [float(o.configuration[name]) for o in self.failed if name in o.configuration]
        started = [float(o.configuration[name]) for o in self.started if name in o.configuration]
        if len(failed) < FEW_FAILED or len(started) < FEW_STARTED:
            return 0
        z = rank_test(failed, started)
        return int(math.copysign(1, z)) if abs(z) >= DIRECTION else 0

    def _drop_contradicted(self) -> None:
        """Without the failures that something larger has survived; what else differed matters."""
        standing = []
        needs = [(self._need(o.configuration), o.configuration) for o in self.started]
        for failure in self.failed:
            need = self._need(failure.configuration)
            survived = [c for other, c in needs if _at_least(other, need)]
            differing = [self._differing(failure.configuration, c) for c in survived]
            if all(differing):
                standing.append(failure)
                self.matters.update(name for names in differing for name in names)
        self.failed = standing
        self.needs = [self._need(failure.configuration) for failure in standing]

    def _need(self, configuration: Configuration) -> list[float | None]:
        """The memory-driving numbers, the larger the more; None for one that it does not have."""
        return [
            sign * float(configuration[name]) if name in configuration else None
            for name, sign in self.signs.items()
        ]

    def _differing(self, one: Configuration, other: Configuration) -> list[str]:
        return [name for name in self.words if _word(one, name) != _word(other, name)]

    def judge(self, configuration: Configuration) -> Verdict | None:
        if not self.signs:
            return None
        need = self._need(configuration)
        below = [
            failure
            for failure, least in zip(self.failed, self.needs, strict=True)
            if _at_least(need, least)
            and not self.matters.intersection(self._differing(configuration, failure.configuration))
        ]
        if not below or not is_like(configuration, below, but=self.signs):
            return None
        names = [failure.name for failure in below]
        grows = ", ".join(f"{'more' if s > 0 else 'less'} {name}" for name, s in self.signs.items())
        reason = f"needs no less memory than {listed(names)}, which had too little ({grows})"
        return Verdict(FailureKind.OUT_OF_MEMORY, chance_after(len(below)), reason, tuple(names))


def _at_least(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether each is; what only one of them has cannot be compared."""
    return all(
        mine is yours if mine is None or yours is None else mine >= yours
        for mine, yours in zip(one, other, strict=True)
    )


def _word(configuration: Configuration, name: str) -> str:
    return identity(configuration[name]) if name in configuration else ""


def rank_test(first: Sequence[float], second: Sequence[float]) -> float:
    """The z value of Mann and Whitney's test, ties corrected: above 0, `first` is the larger."""
    ranks = _mean_ranks([*first, *second])
    n, m = len(first), len(second)
    u = sum(ranks[:n]) - n * (n + 1) / 2
    ties: dict[float, int] = defaultdict(int)
    for rank in ranks:
        ties[rank] += 1
    total = n + m
    tied = sum(count**3 - count for count in ties.values()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - tied)
    return 0.0 if variance <= 0 else (u - n * m / 2) / math.sqrt(variance)


def _mean_ranks(values: Sequence[float]) -> list[float]:
    """Each value's rank from 1; equal values have the mean of theirs."""
    order = sorted(values)
    first: dict[float, int] = {}
    count: dict[float, int] = defaultdict(int)
    for position, value in enumerate(order, start=1):
        first.setdefault(value, position)
        count[value] += 1
    return [first[value] + (count[value] - 1) / 2 for value in values]
