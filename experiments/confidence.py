"""How sure a winner is: several measurements of one configuration, and what to measure again.

Measurements of one configuration differ from one start of an engine to the next. How much they do
is the same for all of them, as a share of their value; so all that were repeated tell it together.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

WRONG = 0.05  # of all intervals do not hold the true difference
MOST_EACH = 5  # measurements of one configuration: two that are the same never come apart
AS_EXACT_AS = 3  # measurements is what all results let expect: on the surfaces of tests/performance
# its errors are 0.6 to 0.9 of one's, and of the weights from 1 to 5 this finds the best most often


@dataclass(frozen=True)
class Measured:
    """Every score of one configuration in one task; `number` is its first experiment's.

    `feasible`: it met the objectives, and ran to the end, each time. `was_pruned`: the first score
    is an estimate, from the load levels that were measured before it had lost to the best.
    """

    number: int
    scores: tuple[float, ...]
    feasible: bool
    is_baseline: bool = False
    was_pruned: bool = False
    numbers: tuple[int, ...] = ()  # Of the experiments that the scores are of

    @property
    def times(self) -> int:
        return len(self.scores)

    @property
    def measurements(self) -> int:
        """How often it was measured at all load levels."""
        return self.times - self.was_pruned

    @property
    def counted(self) -> tuple[float, ...]:
        """The scores that say how good it is. Once it was measured again, the one that it was
        chosen by does not: the best of many is mostly luck. The baseline was not chosen.
        """
        return self.scores if self.is_baseline or self.times < 2 else self.scores[1:]

    @property
    def is_known(self) -> bool:
        """Whether one of its scores is a measurement of all its load levels."""
        return self.measurements > 0


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one measurement, and from how many degrees of freedom it is known.

    Of the scores' logarithms when `is_share`, so of ratios; else in the scores' own unit.
    """

    deviation: float
    freedom: int
    is_share: bool

    def value(self, scores: Sequence[float]) -> float:
        """What these measurements say together: their mean, of ratios the geometric one."""
        middle = self.scale(scores)
        return math.exp(middle) if self.is_share else middle

    def scale(self, scores: Sequence[float]) -> float:
        """The same on the scale on which noise adds up."""
        return fmean(map(math.log, scores)) if self.is_share else fmean(scores)

    def typical(self, one: Measured) -> int:
        """The number of the measurement that counts whose score is nearest to all that do."""
        middle, counted = self.scale(one.counted), one.counted
        every = zip(counted, one.numbers[-len(counted) :], strict=True)
        # Of two, each is as near as the other, but for the last digits
        apart = [(round(abs(self.scale((score,)) - middle), 9), number) for score, number in every]
        return min(apart)[1]

    def half_width(self, one: Measured, other: Measured, chosen_from: int = 1) -> float:
        """Half of the 95 % confidence interval of their difference, on that scale.

        Infinite while nothing was repeated. Student's interval with one pooled deviation
        (Montgomery, "Design and Analysis of Experiments", section 2.4). When `one` was chosen from
        several by what they were measured at, all their intervals must hold together: each has a
        part of the 5 % (Bonferroni; the same, section 3.5).
        """
        if not self.freedom:
            return math.inf
        share = 1 / len(one.counted) + 1 / len(other.counted)
        return student_t(self.freedom, WRONG / chosen_from) * self.deviation * math.sqrt(share)

    def differ(self, one: Measured, other: Measured, chosen_from: int = 1) -> bool:
        """Whether they are different beyond the noise."""
        apart = abs(self.scale(one.counted) - self.scale(other.counted))
        return apart > self.half_width(one, other, chosen_from)


@dataclass(frozen=True)
class Gain:
    """By how much one is better than another, as a share of it, with its 95 % interval.

    `plus_minus` is infinite while the noise is not known; `is_real`: beyond the noise.
    """

    share: float
    plus_minus: float
    is_real: bool

    def __str__(self) -> str:
        """`+18.2% ± 3.1%`; without the interval while the noise is not known."""
        by = f" ± {self.plus_minus:.1%}" if math.isfinite(self.plus_minus) else ""
        return f"{self.share:+.1%}{by}"


@cache
def student_t(freedom: int, wrong: float) -> float:
    """What Student's t with so many degrees of freedom exceeds, on both sides together, with the
    probability `wrong`.
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < 1 - wrong:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 1 - wrong else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """The probability that Student's t is between -t and t (Abramowitz and Stegun, 26.7.3 and
    26.7.4).
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = total = 0.0 if freedom == 1 else cosine if is_odd else 1.0
    for k in range(2 + is_odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if is_odd else sine * total


def noise_of(measured: Iterable[Measured]) -> Noise:
    """The noise that all repeated configurations show together (the pooled variance)."""
    every = [
        one.counted if len(one.counted) > 1 or one.was_pruned else one.scores
        for one in measured
        if one.scores
    ]
    is_share = all(score > 0 for scores in every for score in scores)
    squares, freedom = 0.0, 0
    for scores in every:
        values = [math.log(score) for score in scores] if is_share else list(scores)
        middle = fmean(values)
        squares += math.fsum((value - middle) ** 2 for value in values)
        freedom += len(values) - 1
    return Noise(math.sqrt(squares / freedom) if freedom else 0.0, freedom, is_share)


def gain(
    one: Measured, other: Measured, noise: Noise, maximize: bool, chosen_from: int = 1
) -> Gain | None:
    """How much better `one`, chosen from so many, is than `other`; None when that has no
    meaning.
    """
    value, base = noise.value(one.counted), noise.value(other.counted)
    if base == 0 or one.number == other.number:
        return None
    share = (value - base if maximize else base - value) / abs(base)
    # Of a ratio r with a half width h of its logarithm the half width is about r h
    unit = value / base if noise.is_share else 1 / abs(base)
    half = noise.half_width(one, other, chosen_from)
    is_real = abs(share) > 0 and noise.differ(one, other, chosen_from)
    return Gain(share, half * unit, is_real)


def choices(winner: Measured, measured: Iterable[Measured]) -> int:
    """From how many the winner was chosen by the measurements that count of it: from those that
    were measured again, or from all, when it was not.
    """
    able = [one for one in measured if one.feasible and not one.is_baseline]
    return max(1, sum(one.times > 1 or winner.times == 1 for one in able))


def leader(
    measured: Iterable[Measured], maximize: bool, among: Collection[int] | None = None
) -> Measured | None:
    """The winner: the best mean of those that met the objectives each time; the older of equals.
    One of these numbers, where `among` has some.

    One that was measured once does not win against one that was measured again, unless it is
    better beyond the noise: the best of many single measurements is a lucky one.
    """
    everyone = [one for one in measured if one.is_known]
    able = [one for one in everyone if one.feasible and (among is None or one.number in among)]
    if not able:
        return None
    noise = noise_of(everyone)
    ranked = sorted(able, key=lambda one: (-_goodness(one, noise, maximize), one.number))
    confirmed = next((one for one in ranked if one.times > 1 and not one.is_baseline), None)
    for one in ranked:
        is_beyond = confirmed is None or not noise.freedom or noise.differ(one, confirmed)
        if one.times > 1 or is_beyond:
            return one
    return ranked[0]


def rivals(winner: Measured, measured: Iterable[Measured], maximize: bool) -> list[Measured]:
    """Those that the noise does not let us tell from the winner, the best first.

    The baseline is one of them until the gain over it is real.
    """
    everyone = [one for one in measured if one.scores]
    noise, among = noise_of(everyone), choices(winner, everyone)
    others = [one for one in everyone if one.feasible and one.number != winner.number]
    alike = [
        one for one in others if not noise.differ(winner, one, among if one.is_baseline else 1)
    ]
    return sorted(alike, key=lambda one: -_goodness(one, noise, maximize))


def next_to_repeat(
    measured: Sequence[Measured], maximize: bool, expected: Mapping[int, float]
) -> Measured | None:
    """What another measurement would tell most of; None when the winner is certain.

    First the best of all until it was measured twice; then, in turn, the best and the next of
    those that cannot be told from it, its defaults among them. What was pruned is among them, too:
    when the one that it lost to was lucky, it may be the best. Which are the best is what is
    `believed`, so that a lucky measurement does not keep a better one from being measured again.
    """
    able = [one for one in measured if one.feasible and one.scores]
    if not able:
        return None
    noise = noise_of(measured)

    def goodness(one: Measured) -> float:
        value = believed(one, noise, expected)
        return value if maximize else -value

    best = max(able, key=lambda one: (goodness(one), -one.number))
    if best.measurements < 2:
        return best
    for rival in sorted(rivals(best, able, maximize), key=goodness, reverse=True):
        fewer = min((rival, best), key=lambda one: one.times)
        if fewer.times < MOST_EACH:
            return fewer
    return None


def believed(one: Measured, noise: Noise, expected: Mapping[int, float]) -> float:
    """What a configuration's score is believed to be, on the scale of the noise.

    What all results together let expect of it (`expected`, by number; the measurement that it was
    chosen by is in there) weighs as much as AS_EXACT_AS measurements, beside its repeats. Without
    one, what was measured.
    """
    if one.is_baseline or one.number not in expected:
        return noise.scale(one.counted)
    return noise.scale((*[expected[one.number]] * AS_EXACT_AS, *one.scores[1:]))


def baseline_is_due(searched: int, to_search: int, repeats: int, times: int) -> bool:
    """Whether the baseline is to be measured again now, so that its repeats, a third of all, are
    spread over the search: the noise is that of the whole time.
    """
    wanted = max(1, repeats // 3) if repeats >= 2 else 0
    return times <= wanted and searched * (wanted + 1) >= times * to_search


def _goodness(one: Measured, noise: Noise, maximize: bool) -> float:
    value = noise.scale(one.counted)
    return value if maximize else -value
