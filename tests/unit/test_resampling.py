import math
import random
import statistics

import pytest

from tests.performance.resampling import interval


def test_the_interval_of_a_mean_is_nearly_that_of_the_normal_distribution() -> None:
    rng = random.Random(3)
    values = [rng.gauss(10.0, 2.0) for _ in range(400)]
    low, high = interval(statistics.fmean, values)
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert low < statistics.fmean(values) < high


def test_runs_are_drawn_whole_so_that_what_is_paired_stays_so() -> None:
    ones = [1.0, 5.0, 9.0, 40.0]
    twice = [2 * one for one in ones]
    assert interval(lambda a, b: sum(b) / sum(a), ones, twice) == (2.0, 2.0)
    with pytest.raises(ValueError):
        interval(lambda a, b: sum(b) / sum(a), ones, twice[1:])
