"""Values, alone or two together, with which everything fails."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from experiments.engines.flags import format_value
from experiments.outcomes import (
    Outcome,
    Region,
    Verdict,
    chance_after,
    is_like,
    listed,
    regions_of,
    settings,
)
from experiments.space import Configuration
from experiments.states import FailureKind

# By the number of values that a region's members share: failures before anything is said of it, and
# how rare it must be that only chance made all of them fail. There are many more pairs
LEAST = {1: 2, 2: 3}
BY_CHANCE = {1: 0.02, 2: 0.001}


class Explanation(NamedTuple):
    region: Region
    members: list[Outcome]  # All failed
    verdict: Verdict


class Regions:
    """Values, alone or two together, with which everything failed in the same way.

    The least likely to be chance is taken first, and what it explains speaks for no other one.
    Of numbers, memory is not learnt here: it has an order, which is worth more (see `Memory`).
    """

    def __init__(self, outcomes: Sequence[Outcome], numeric: Collection[str]) -> None:
        self.found: list[Explanation] = []
        for kind in sorted({outcome.kind for outcome in outcomes if outcome.kind}):
            is_memory = kind == FailureKind.OUT_OF_MEMORY
            without = set(numeric) if is_memory else set()
            failed = [o for o in outcomes if o.kind == kind]
            worked = [o for o in outcomes if o.started and o.kind != kind]
            self.found += _explanations(kind, failed, worked, without)

    def judge(self, configuration: Configuration) -> Verdict | None:
        mine = set(settings(configuration))
        fitting = (
            found.verdict
            for found in self.found
            if mine.issuperset(found.region)
            and is_like(configuration, found.members, but=dict(found.region))
        )
        return max(fitting, key=lambda verdict: verdict.chance, default=None)


def _explanations(
    kind: FailureKind,
    failed: Sequence[Outcome],
    worked: Sequence[Outcome],
    without: Collection[str],
) -> Iterator[Explanation]:
    """Regions in which all failed, the clearest first, until chance would do as well."""
    possible = {region for o in worked for region in regions_of(o.configuration)}
    members: dict[Region, dict[str, Outcome]] = defaultdict(dict)
    for outcome in failed:
        for region in regions_of(outcome.configuration):
            if region not in possible and not any(name in without for name, _ in region):
                members[region][outcome.name] = outcome
    left = {outcome.name for outcome in failed}
    while left:
        ranked = []
        for region, those in members.items():
            mine = left.intersection(those)
            usual = (len(left) - len(mine) + 1) / (len(left) - len(mine) + len(worked) + 2)
            if len(mine) >= LEAST[len(region)]:
                ranked.append((usual ** len(mine) / BY_CHANCE[len(region)], len(region), region))
        unlikely, _, region = min(ranked, default=(math.inf, 0, ()))
        if unlikely > 1:
            return
        explained = members.pop(region)
        names = list(explained)
        what = " with ".join(f"{name}={format_value(json.loads(value))}" for name, value in region)
        others = len(failed) - len(names)
        reason = (
            f"{what}: all {len(names)} that had it failed with {kind} ({listed(names)}), and "
            f"{others} of the {others + len(worked)} others"
        )
        verdict = Verdict(kind, chance_after(len(names)), reason, tuple(names))
        yield Explanation(region, list(explained.values()), verdict)
        left.difference_update(names)
