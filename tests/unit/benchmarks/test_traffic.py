"""When requests are due, and what a loop does with those it has to give up."""

import asyncio
from collections.abc import Callable
from random import Random
from time import perf_counter

import pytest

from experiments.benchmarks.client import Answer
from experiments.benchmarks.traffic import arrivals, closed_loop, open_loop


async def at_once(index: int) -> Answer:
    await asyncio.sleep(0)
    return Answer(0.0, 1.0, 0.5, 1.0, [], 1, index)


async def never(index: int) -> Answer:
    await asyncio.Event().wait()
    return Answer(0.0, 1.0)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert arrivals(4, 2.0, "constant", Random(1)) == [0.0, 0.5, 1.0, 1.5]


def test_poisson_arrivals_have_the_wanted_rate() -> None:
    due = arrivals(5000, 4.0, "poisson", Random(1))
    assert due[0] == 0.0
    assert due == sorted(due)
    assert 4999 / due[-1] == pytest.approx(4.0, rel=0.05)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    assert arrivals(9, 1.0, "poisson", Random("3 a")) == arrivals(9, 1.0, "poisson", Random("3 a"))


def test_another_arrival_process_is_refused() -> None:
    with pytest.raises(ValueError, match="poisson or constant"):
        arrivals(1, 1.0, "bursty", Random(1))


def test_a_closed_loop_sends_each_request_once() -> None:
    traffic = asyncio.run(closed_loop(at_once, 20, 3, 60))
    assert sorted(answer.output_tokens for answer in traffic.answers) == list(range(20))
    assert traffic.unfinished == []


def test_an_open_loop_sends_each_request_once_and_none_early() -> None:
    started = perf_counter()
    traffic = asyncio.run(open_loop(at_once, [0.0, 0.05, 0.1], 60))
    assert perf_counter() - started >= 0.1
    assert len(traffic.answers) == len(traffic.lateness) == 3


def test_the_end_of_the_time_gives_up_what_is_in_flight() -> None:
    closed = asyncio.run(closed_loop(never, 20, 3, 0.05))
    opened = asyncio.run(open_loop(never, [0.0, 0.0, 99.0], 0.05))
    assert (len(closed.unfinished), len(closed.answers)) == (3, 0)
    assert (len(opened.unfinished), len(opened.answers)) == (2, 0)
    assert all(closed.cut_off - sent >= 0.05 for sent in closed.unfinished)


def test_an_event_loop_that_is_held_up_is_late() -> None:
    async def blocking(index: int) -> Answer:
        await asyncio.sleep(0.01)
        end = perf_counter() + 0.3
        while perf_counter() < end:
            pass
        return await at_once(index)

    traffic = asyncio.run(closed_loop(blocking, 2, 1, 60))
    assert max(traffic.lateness) > 0.1


def test_both_loops_end_when_the_rest_is_hopeless_and_say_why() -> None:
    def third(heard: list[Answer]) -> Callable[[Answer], str]:
        def hear(answer: Answer) -> str:
            heard.append(answer)
            return "enough" if len(heard) == 3 else ""

        return hear

    async def soon_or_never(index: int) -> Answer:
        return await (never(index) if index > 2 else at_once(index))

    closed = asyncio.run(closed_loop(soon_or_never, 20, 5, 60, third([])))
    opened = asyncio.run(open_loop(soon_or_never, [0.0] * 5 + [99.0], 60, third([])))
    for traffic, unfinished in ((closed, 4), (opened, 2)):
        assert traffic.stopped_early == "enough"
        assert (len(traffic.answers), len(traffic.unfinished)) == (3, unfinished)
