"""When requests are sent: closed loops by concurrency, open loops by rate."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any

from experiments.benchmarks.client import Answer

TICK_SECONDS = 0.05

Send = Callable[[int], Awaitable[Answer]]
# Hears each answer, and says why the rest need not be waited for; empty to go on.
Hear = Callable[[Answer], str]


class Hopeless(Exception):
    """The rest of the level is not worth its time."""


def never(answer: Answer) -> str:
    """Goes on to the end, whatever is heard."""
    return ""


@dataclass
class Traffic:
    """What was sent and how it went."""

    answers: list[Answer] = field(default_factory=list)
    unfinished: list[float] = field(default_factory=list)  # sent, and in flight at the cut-off
    cut_off: float = 0.0  # when the time was over, if anything was in flight
    lateness: list[float] = field(default_factory=list)  # the generator's own, in seconds
    hear: Hear = never
    stopped_early: str = ""  # why it was hopeless

    async def record(self, answer: Awaitable[Answer]) -> None:
        """Wait for an answer and keep it; at the cut-off, keep when its request was sent."""
        sent = perf_counter()
        try:
            heard = await answer
        except asyncio.CancelledError:
            self.unfinished.append(sent)
            self.cut_off = perf_counter()
            raise
        self.answers.append(heard)
        if not self.stopped_early and (why := self.hear(heard)):
            self.stopped_early = why
            raise Hopeless(why)


async def closed_loop(
    send: Send, requests: int, concurrency: int, seconds: float, hear: Hear = never
) -> Traffic:
    """Keep `concurrency` requests in flight until all are sent or the time is over.

    Its lateness is that of the event loop: how much later than asked it woke up.
    """
    traffic = Traffic(hear=hear)
    indices = iter(range(requests))
    ticker = asyncio.create_task(_tick(traffic.lateness))
    try:
        await _within(seconds, _work(send, traffic, indices, min(concurrency, requests)))
    finally:
        ticker.cancel()
    return traffic


async def open_loop(
    send: Send, arrivals: Sequence[float], seconds: float, hear: Hear = never
) -> Traffic:
    """Send a request at each arrival, whatever the server does meanwhile.

    Its lateness is that of each send against its arrival.
    """
    traffic = Traffic(hear=hear)
    await _within(seconds, _follow(send, traffic, arrivals))
    return traffic


def arrivals(count: int, rate: float, kind: str, random: Random) -> list[float]:
    """When each of `count` requests is due, in seconds after the start.

    `rate` is in requests per second. "constant" spaces them evenly; "poisson" draws the
    gaps from the exponential distribution.
    """
    if kind == "constant":
        return [index / rate for index in range(count)]
    if kind != "poisson":
        raise ValueError(f"{kind!r} is not an arrival process: poisson or constant")
    due, times = 0.0, []
    for _ in range(count):
        times.append(due)
        due += random.expovariate(rate)
    return times


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            try:
                await work
            except* Hopeless:
                pass  # `traffic` knows why


async def _work(send: Send, traffic: Traffic, indices: Iterator[int], workers: int) -> None:
    async def worker() -> None:
        for index in indices:
            await traffic.record(send(index))

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())


async def _follow(send: Send, traffic: Traffic, arrivals: Sequence[float]) -> None:
    async def arrive(index: int, due: float) -> None:
        traffic.lateness.append(max(0.0, perf_counter() - due))
        await traffic.record(send(index))

    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for index, offset in enumerate(arrivals):
            if (wait := start + offset - perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(arrive(index, start + offset))


async def _tick(lateness: list[float]) -> None:
    while True:
        due = perf_counter() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lateness.append(max(0.0, perf_counter() - due))
