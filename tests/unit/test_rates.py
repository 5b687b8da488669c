"""The search for the highest rate, on servers that are a number: what they hold."""

import pytest

from experiments.rates import highest, most_rungs, next_rate


def search(
    holds: float, low: float = 1, high: float = 64, tolerance: float = 0.1, start: float = 0
) -> dict[float, bool]:
    """Every rate that is tried on a server that holds up to a rate, in order."""
    tried: dict[float, bool] = {}
    while (rate := next_rate(tried, low, high, tolerance, start or None)) is not None:
        assert rate not in tried and low <= rate <= high
        tried[rate] = rate <= holds
    return tried


@pytest.mark.parametrize("holds", [1, 1.3, 2, 3.7, 17.2, 40, 63])
@pytest.mark.parametrize("start", [0, 1.5, 12, 50])
def test_the_highest_rate_is_found_to_the_tolerance(holds: float, start: float) -> None:
    found = highest(search(holds, start=start))
    assert found is not None and found <= holds <= found * 1.1 * 1.01


def test_the_rate_doubles_and_the_gap_is_halved() -> None:
    assert list(search(11, tolerance=0.2)) == [1, 2, 4, 8, 16, 11.3, 9.51]


def test_a_server_that_holds_everything_or_nothing_is_known_soon() -> None:
    assert list(search(999, high=10)) == [1, 2, 4, 8, 10]
    assert search(0.5) == {1: False}
    assert highest(search(0.5)) is None


def test_a_search_that_begins_too_high_comes_down() -> None:
    assert list(search(3, start=20))[:4] == [20, 10, 5, 2.5]


def test_a_rate_that_held_by_luck_above_one_that_broke_is_not_believed() -> None:
    assert highest({1: True, 2: False, 4: True}) == 1


@pytest.mark.parametrize("tolerance", [0.01, 0.1, 0.3, 1.0])
def test_it_ends_after_so_many_rates_at_most(tolerance: float) -> None:
    for holds in (1, 5, 31, 63, 100):
        assert len(search(holds, tolerance=tolerance)) <= most_rungs(1, 64, tolerance) + 1
