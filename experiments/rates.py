"""The search for the highest request rate at which a server keeps its objectives.

A pure function of what was tried. The rate doubles until the objectives break, and the gap is then
halved until it is small enough; halved as ratios are, since rates differ by factors.
"""

import math
from collections.abc import Mapping

DIGITS = 3  # of a rate, so that its label can be read


def next_rate(
    tried: Mapping[float, bool],
    low: float,
    high: float,
    tolerance: float,
    start: float | None = None,
) -> float | None:
    """The rate to try next, in requests per second; None when the highest one is known.

    `tried` says of each rate whether the objectives held. The first rate is `start`, else `low`.
    At the end the lowest rate that breaks is at most `tolerance` (as a share) above the highest
    that holds below it; or every rate holds up to `high`, or not even `low` does.
    """
    if not tried:
        return low if start is None else min(max(start, low), high)
    broken = min((rate for rate, holds in tried.items() if not holds), default=None)
    held = highest(tried)
    if broken is None:
        assert held is not None
        return None if held >= high else min(2 * held, high)
    if held is None:
        return None if broken <= low else max(broken / 2, low)
    if broken <= held * (1 + tolerance):
        return None
    middle = rounded(math.sqrt(held * broken))
    return middle if held < middle < broken else None


def highest(tried: Mapping[float, bool]) -> float | None:
    """The highest rate that holds below every one that breaks: one that held above by luck is
    not believed.
    """
    broken = min((rate for rate, holds in tried.items() if not holds), default=math.inf)
    return max((rate for rate, holds in tried.items() if holds and rate < broken), default=None)


def most_rungs(low: float, high: float, tolerance: float) -> int:
    """How many rates are tried at most."""
    doubling = math.ceil(math.log2(high / low)) + 1
    return doubling + max(0, math.ceil(math.log2(math.log(2) / math.log1p(tolerance))))


def rounded(rate: float) -> float:
    return float(f"{rate:.{DIGITS}g}")
