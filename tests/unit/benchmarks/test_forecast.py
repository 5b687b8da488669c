"""A level ends when, beside the best one's requests, it is beyond doubt that it has lost."""

from dataclasses import asdict
from random import Random

import pytest

from experiments.benchmarks.base import Level, Load, Pace, StopWhen
from experiments.benchmarks.client import Answer
from experiments.benchmarks.hopeless import Judge

REQUESTS, TOKENS = 100, 10


def answer(took: float, at: float = 0.0) -> Answer:
    return Answer(at, at + took, at + took / 2, at + took, [], 10, TOKENS)


def pace(needed: float = 900.0, times: list[float] | None = None, after: int = 10) -> Pace:
    """The best had 1000 tokens per second, with requests of a second."""
    taken = times or [1.0] * REQUESTS
    return Pace("output_throughput", 1000.0, needed, "latency", taken, after)


def judge(of: Pace, tokens: int | None = REQUESTS * TOKENS) -> Judge:
    return Judge(StopWhen(pace=of), REQUESTS, tokens)


def hear(judge: Judge, times: list[float]) -> tuple[int, str]:
    """After how many answers the level ends, and why."""
    for count, took in enumerate(times, start=1):
        if why := judge.hear(answer(took)):
            return count, why
    return len(times), ""


def spread(rng: Random, middle: float = 1.0, deviation: float = 0.3) -> list[float]:
    return [middle * rng.lognormvariate(0.0, deviation) for _ in range(REQUESTS)]


def test_what_is_clearly_slower_ends_as_soon_as_anything_may_be_said() -> None:
    slow = judge(pace())
    assert hear(slow, [1.25] * REQUESTS) == (
        10,
        "output_throughput would be about 800, as after 10 of 100 requests, 900 needed",
    )
    assert slow.expected == {"output_throughput": pytest.approx(800.0)}


def test_not_before_each_place_in_flight_has_answered() -> None:
    assert hear(judge(pace(after=32)), [1.25] * REQUESTS)[0] == 32


def test_what_is_good_enough_goes_to_its_end() -> None:
    assert hear(judge(pace()), [1.1] * REQUESTS) == (REQUESTS, "")


def test_the_nearer_to_what_is_needed_the_more_requests_it_takes() -> None:
    best = spread(Random(1))
    ends = [
        hear(judge(pace(times=best)), spread(Random(2), middle))[0] for middle in (3.0, 1.5, 1.25)
    ]
    assert 10 == ends[0] < ends[1] < ends[2] < REQUESTS


def test_a_beginning_as_slow_as_the_best_ones_is_no_loss() -> None:
    """Both begin with a burst in which all are slow: only what differs counts."""
    burst = [3.0] * 16 + [1.0] * (REQUESTS - 16)
    assert hear(judge(pace(times=burst)), burst) == (REQUESTS, "")


def test_one_that_becomes_quick_is_not_judged_by_its_beginning() -> None:
    warming = [1.15 if index < 20 else 0.8 for index in range(REQUESTS)]
    rng = Random(3)
    noisy = [took * rng.lognormvariate(0.0, 0.2) for took in warming]
    best = spread(rng, deviation=0.2)
    assert hear(judge(pace(times=best)), noisy) == (REQUESTS, "")


def test_what_would_just_have_been_good_enough_is_hardly_ever_ended() -> None:
    """Of those that are exactly so good, at most one of a hundred."""
    ended = 0
    for seed in range(200):
        rng = Random(seed)
        best, own = spread(rng), spread(rng)
        needed = 1000.0 * sum(best) / sum(own)
        ended += bool(hear(judge(pace(needed, best)), own)[1])
    assert ended <= 2


def test_of_answers_of_unknown_length_no_throughput_is_forecast() -> None:
    assert hear(judge(pace(), tokens=None), [9.0] * REQUESTS) == (REQUESTS, "")


def test_nothing_is_forecast_beyond_what_the_best_was_asked() -> None:
    assert hear(judge(pace(times=[1.0] * 5)), [9.0] * REQUESTS) == (REQUESTS, "")


def test_a_mean_time_is_forecast_where_less_is_wanted() -> None:
    of = Pace("ttft_mean", 0.5, 0.6, "ttft", [0.5] * REQUESTS)
    assert hear(Judge(StopWhen(pace=of), REQUESTS), [2.0] * REQUESTS) == (
        10,
        "ttft_mean would be about 1, as after 10 of 100 requests, 0.6 needed",
    )
    assert hear(Judge(StopWhen(pace=of), REQUESTS), [1.1] * REQUESTS)[1] == ""


def test_a_pace_is_handed_to_the_load_generator() -> None:
    load = Load("u", "m", "p", Level("D(1,1)", 4), 9, 9.0, 1, "poisson", 1, stop_when=StopWhen())
    assert Load.parse(asdict(load)) == load
    of = StopWhen(at_least={"output_throughput": 1.0}, pace=pace())
    assert StopWhen.parse(asdict(of)) == of
