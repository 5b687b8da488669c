"""How sure a winner is, and what is measured again."""

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.confidence import (
    MOST_EACH,
    Gain,
    Measured,
    baseline_is_due,
    believed,
    choices,
    gain,
    leader,
    next_to_repeat,
    noise_of,
    rivals,
    student_t,
)

SCORES = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=4).map(tuple)


def one(number: int, *scores: float, feasible: bool = True, baseline: bool = False) -> Measured:
    return Measured(number, scores, feasible, baseline)


def test_a_lucky_single_measurement_does_not_beat_one_that_was_measured_again() -> None:
    confirmed, lucky = one(2, 110.0, 108.0, 112.0), one(3, 114.0)
    assert leader([confirmed, lucky], maximize=True) is confirmed
    assert rivals(confirmed, [confirmed, lucky], maximize=True) == [lucky]


def test_one_that_is_better_beyond_the_noise_wins_after_one_measurement() -> None:
    confirmed, better = one(2, 110.0, 108.0, 112.0, 109.0), one(3, 160.0)
    assert leader([confirmed, better], maximize=True) is better


def test_the_measurement_that_it_was_chosen_by_does_not_count_any_more() -> None:
    steady, lucky = one(2, 100.0, 101.0, 99.0), one(3, 300.0, 50.0, 50.5)
    assert leader([steady, lucky], maximize=True) is steady


def test_the_baseline_was_not_chosen_and_all_of_its_measurements_count() -> None:
    assert one(1, 300.0, 50.0, baseline=True).counted == (300.0, 50.0)


def test_what_lost_to_a_lucky_one_is_measured_again_to_its_end() -> None:
    lucky = one(2, 300.0, 50.0)
    pruned = Measured(3, (100.0,), True, was_pruned=True)
    assert leader([lucky, pruned], maximize=True) is lucky  # An estimate cannot win
    assert next_to_repeat([lucky, pruned], True, {}) is pruned
    measured = Measured(3, (100.0, 98.0), True, was_pruned=True)
    assert leader([lucky, measured], maximize=True) is measured
    assert next_to_repeat([lucky, measured], True, {}) is measured  # An estimate is no measurement


def test_the_defaults_are_a_rival_until_the_gain_over_them_is_real() -> None:
    base, winner = one(1, 100.0, 104.0, 97.0, baseline=True), one(2, 118.0, 107.0, 108.0)
    others = [one(3, 116.0, 99.0, 97.0), one(4, 115.0, 98.0, 99.0)]
    everyone = [base, winner, *others, *(one(5 + i, 85.0) for i in range(7))]
    found = gain(winner, base, noise_of(everyone), True, choices(winner, everyone))
    assert found is not None and not found.is_real
    assert base in rivals(winner, everyone, True)
    assert next_to_repeat(everyone, True, {}) is not None


def test_infeasible_ones_never_win_however_often_they_were_measured() -> None:
    found = leader([one(1, 50.0), one(2, 90.0, 91.0, feasible=False)], maximize=True)
    assert found is not None and found.number == 1
    assert leader([one(2, 90.0, feasible=False)], maximize=True) is None


def test_less_is_better_where_it_is_minimised() -> None:
    found = leader([one(1, 2.0), one(2, 1.0)], maximize=False)
    assert found is not None and found.number == 2


def test_the_noise_is_that_of_all_repeats_as_a_share() -> None:
    noise = noise_of([one(1, 100.0, 110.0), one(2, 1000.0, 1100.0), one(3, 7.0)])
    assert noise.freedom == 2
    assert noise.deviation == pytest.approx(math.log(1.1) / math.sqrt(2))


def test_scores_that_are_not_all_positive_have_a_noise_in_their_own_unit() -> None:
    noise = noise_of([one(1, -1.0, 1.0), one(2, 5.0)])
    assert (noise.is_share, noise.deviation) == (False, pytest.approx(math.sqrt(2)))


def test_without_a_repeat_nothing_is_real() -> None:
    found = gain(one(2, 200.0), one(1, 100.0), noise_of([one(2, 200.0), one(1, 100.0)]), True)
    assert found is not None and found.share == pytest.approx(1.0)
    assert math.isinf(found.plus_minus) and not found.is_real


@pytest.mark.parametrize(("maximize", "share"), [(True, 0.18), (False, 0.18 / 1.18)])
def test_a_gain_is_a_share_of_the_baseline_with_its_interval(maximize: bool, share: float) -> None:
    high, low = one(2, 150.0, 117.0, 118.0, 119.0), one(3, 70.0, 99.5, 100.0, 100.5)
    winner, base = (high, low) if maximize else (low, high)
    found = gain(winner, base, noise_of([high, low]), maximize)
    assert found is not None and found.is_real
    assert found.share == pytest.approx(share, abs=1e-3) and 0.005 < found.plus_minus < 0.03


def test_19_of_20_intervals_hold_the_true_gain() -> None:
    rng, held, runs = random.Random(1), 0, 2000
    for _ in range(runs):
        scores = [[math.exp(rng.gauss(0.0, 0.05)) * true for _ in range(3)] for true in (1.0, 1.18)]
        base, winner = one(1, *scores[0]), one(2, *scores[1])
        found = gain(winner, base, noise_of([base, winner]), True)
        assert found is not None
        held += abs(found.share - 0.18) <= found.plus_minus
    assert 0.93 < held / runs < 0.97


@pytest.mark.parametrize(
    ("freedom", "wrong", "table"),
    [(1, 0.05, 12.706), (2, 0.05, 4.303), (5, 0.01, 4.032), (10, 0.05, 2.228), (30, 0.05, 2.042)],
)
def test_students_t_is_that_of_the_tables(freedom: int, wrong: float, table: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2"""
    assert student_t(freedom, wrong) == pytest.approx(table, abs=5e-4)


def declared(true: Sequence[float], seed: int) -> tuple[Measured, Gain | None]:
    """The winner of a search with 5 % of noise, and what is said of its gain."""
    scores = repeat_until_certain(true, 0.05, seed, most=8, of_the_baseline=4)
    measured = [one(i, *each, baseline=i == 0) for i, each in enumerate(scores)]
    winner = leader(measured, True)
    assert winner is not None
    among = choices(winner, measured)
    return winner, gain(winner, measured[0], noise_of(measured), True, among)


def test_where_nothing_is_better_than_the_defaults_a_real_gain_is_hardly_ever_said() -> None:
    said = [declared([1.0] * 8, seed)[1] for seed in range(600)]
    assert sum(found is not None and found.is_real for found in said) / len(said) < 0.05


def test_the_interval_holds_though_the_winner_is_the_luckiest_of_many_that_are_alike() -> None:
    true, held = [1.0, *[1.8] * 10], 0
    for seed in range(400):
        _, found = declared(true, seed)
        assert found is not None
        held += abs(found.share - 0.8) <= found.plus_minus
    assert held / 400 > 0.95


def repeat_until_certain(
    true: Sequence[float], noise: float, seed: int, most: int, of_the_baseline: int = 0
) -> list[list[float]]:
    """Every configuration's scores after the search and the repeats; the first is the baseline."""
    rng = random.Random(seed)

    def measure(index: int) -> float:
        return true[index] * math.exp(rng.gauss(0.0, noise))

    scores = [[measure(index)] for index in range(len(true))]
    scores[0] += [measure(0) for _ in range(of_the_baseline)]
    for _ in range(most):
        measured = [
            one(i, *each, baseline=i == 0 < of_the_baseline) for i, each in enumerate(scores)
        ]
        again = next_to_repeat(measured, True, {})
        if again is None:
            break
        scores[again.number].append(measure(again.number))
    return scores


def test_repeats_find_the_true_best_more_often_than_the_best_single_measurement() -> None:
    true = [1.0, *(1.05 + 0.01 * index for index in range(10))]
    single, repeated = [], []
    for seed in range(200):
        scores = repeat_until_certain(true, 0.05, seed, most=12)
        single.append(true[max(range(len(true)), key=lambda i: scores[i][0])])
        winner = leader([one(i, *each) for i, each in enumerate(scores)], True)
        assert winner is not None
        repeated.append(true[winner.number])
    assert statistics.mean(repeated) > statistics.mean(single)


def test_repeats_end_when_the_winner_is_certain() -> None:
    scores = repeat_until_certain([1.0, 2.0, 3.0], 0.01, seed=1, most=50)
    assert sum(map(len, scores)) < 3 + 6


def test_two_that_are_the_same_are_not_measured_for_ever() -> None:
    scores = repeat_until_certain([1.0, 1.0], 0.05, seed=2, most=50)
    assert max(map(len, scores)) <= MOST_EACH


@given(st.lists(SCORES, min_size=1, max_size=6), st.booleans())
def test_there_is_a_winner_as_soon_as_something_is_feasible(
    scores: list[tuple[float, ...]], maximize: bool
) -> None:
    measured = [Measured(number, each, True) for number, each in enumerate(scores, 1)]
    winner = leader(measured, maximize)
    assert winner in measured
    assert winner not in rivals(winner, measured, maximize)


def test_the_baselines_repeats_are_spread_over_the_search() -> None:
    times, due = 1, []
    for searched in range(1, 25):
        if baseline_is_due(searched, 24, 6, times):
            due.append(searched)
            times += 1
    assert due == [8, 16]


def test_the_baseline_is_not_measured_again_where_there_are_no_repeats() -> None:
    assert not any(baseline_is_due(searched, 24, 0, 1) for searched in range(25))


def test_what_is_measured_again_first_is_the_best_that_is_believed_not_the_lucky_one() -> None:
    lucky, good = one(2, 120.0), one(3, 112.0)
    assert next_to_repeat([lucky, good], True, {}) is lucky
    assert next_to_repeat([lucky, good], True, {2: 104.0, 3: 110.0}) is good


def test_what_is_expected_weighs_as_much_as_three_repeats() -> None:
    noise = noise_of([one(1, 100.0, 101.0)])
    again = one(2, 150.0, 121.0)
    assert math.exp(believed(again, noise, {2: 100.0})) == pytest.approx(100 * 1.21**0.25)
    assert math.exp(believed(again, noise, {})) == pytest.approx(121.0)
    baseline = one(1, 100.0, 121.0, baseline=True)
    assert math.exp(believed(baseline, noise, {1: 50.0})) == pytest.approx(110.0)
