"""One number for several objectives, and the front of those that nothing beats."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import ExperimentFailed
from experiments.objectives import parse_objectives
from experiments.pareto import dominates, pareto_front, together, turned

FRONT = parse_objectives(["maximize_throughput", "minimize_ttft_p90"])
WEIGHED = parse_objectives({"maximize_throughput": 3, "minimize_ttft_p90": 1})
ONE = parse_objectives("minimize_ttft")

scores = st.lists(
    st.one_of(st.just(()), st.tuples(*[st.integers(-3, 3).map(float)] * 3)), max_size=30
)
values = st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))


@given(scores)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(every):
    front = pareto_front(every)
    assert front == sorted(set(front))
    measured = [index for index, one in enumerate(every) if one]
    for index in measured:
        beaten = any(dominates(every[other], every[index]) for other in measured)
        assert beaten == (index not in front)
    assert set(front) <= set(measured)


@given(scores, st.randoms())
def test_the_front_does_not_depend_on_who_ended_first(every, rng):
    shuffled = list(every)
    rng.shuffle(shuffled)
    before = [every[index] for index in pareto_front(every)]
    assert sorted(before) == sorted(shuffled[index] for index in pareto_front(shuffled))


@given(st.lists(values, min_size=1, max_size=20))
def test_the_best_of_all_ratios_is_on_the_front(every):
    front = pareto_front([turned(1.0, one, 0.0, FRONT) for one in every])
    best = max(together(one, FRONT) for one in every)
    assert max(together(every[index], FRONT) for index in front) == pytest.approx(best)


@given(values, values, values)
def test_scores_compare_as_the_weighted_ratios_to_whatever_baseline(a, b, baseline):
    def gain(one):
        return (one[0] / baseline[0]) ** 0.75 * (baseline[1] / one[1]) ** 0.25

    assert together(a, WEIGHED) / together(b, WEIGHED) == pytest.approx(gain(a) / gain(b))
    assert together(a, WEIGHED) / together(baseline, WEIGHED) == pytest.approx(gain(a))


@given(values, st.floats(0, 1e6))
def test_who_is_at_least_as_good_in_everything_never_scores_less(a, more):
    better = (a[0] + more, a[1])
    assert together(better, FRONT) >= together(a, FRONT)


def test_one_objective_is_its_own_score():
    assert together((0.5,), ONE) == 0.5
    assert turned(0.5, (0.5,), 0.0, ONE) == (-0.5,)
    assert turned(0.5, (), None, ONE) == (-0.5,)  # As older rows have it


def test_nothing_measured_is_no_score():
    assert turned(None, (), None, FRONT) == ()
    assert turned(math.nan, (1.0, 1.0), 0.0, FRONT) == ()
    assert turned(1.0, (), None, FRONT) == ()


def test_a_penalty_makes_every_objective_worse():
    assert turned(1.0, (100.0, 2.0), 1.0, FRONT) == (50.0, -4.0)


def test_a_value_without_ratios_is_a_failure_that_says_so():
    assert together((0.0, 1.0), FRONT) == 0.0
    for wrong in ((-1.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ExperimentFailed, match="by their ratios, for which each must be above"):
            together(wrong, FRONT)
