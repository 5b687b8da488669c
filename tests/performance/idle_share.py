"""GPU idle share under one stream of mixed requests: ours, two that poll, and a clairvoyant one.

The stream is played in virtual time; ours are the real scripts, of which only the clock is set.
The clairvoyant scheduler knows how long every request will take. It serves in the same order and
gives every waiting request the same promise as we do (nothing younger delays it), and fills each
gap with whatever ends in time. What it leaves idle, nobody who keeps the promise can use.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from statistics import mean
from typing import Any

from gpupool import Gpu, connect
from tests.integration.virtual_pool import VirtualPool

NODES = {"n1": 8, "n2": 8}
GPUS = sum(NODES.values())
SIZES = {1: 0.5, 2: 0.25, 4: 0.15, 8: 0.1}
SECONDS = (20.0, 120.0)  # of a request, uniform
BUSY_PART = (0.2, 1.0)  # of the arrivals: neither the empty beginning nor the end counts
BEAT = 4.0  # seconds between the words of a node


@dataclass(frozen=True)
class Request:
    """A request of the stream, and what only the clairvoyant may look at: its duration."""

    number: int
    arrives: float
    gpus: int
    seconds: float


Starts = dict[int, float]  # Request number: when it got its GPUs


def stream(load: float, count: int, seed: int) -> list[Request]:
    """Poisson arrivals that ask for `load` of all GPU time."""
    chance = Random(seed)
    work = sum(size * share for size, share in SIZES.items()) * mean(SECONDS)
    now, found = 0.0, []
    for number in range(count):
        now += chance.expovariate(load * GPUS / work)
        size = chance.choices(list(SIZES), weights=list(SIZES.values()))[0]
        found.append(Request(number, now, size, chance.uniform(*SECONDS)))
    return found


def idle_share(requests: list[Request], starts: Starts) -> float:
    """The share of GPU time, while requests arrive, in which no request used the GPU."""
    begin, end = (part * requests[-1].arrives for part in BUSY_PART)
    used = sum(
        one.gpus
        * max(0.0, min(end, starts[one.number] + one.seconds) - max(begin, starts[one.number]))
        for one in requests
    )
    return 1 - used / (GPUS * (end - begin))


def ours(requests: list[Request], url: str) -> Starts:
    """The real scripts. They are told the mean duration, as for a task whose experiments ended."""
    with connect(url) as client:
        client.flushall()
        pool = VirtualPool(client, ttl=1e6, prefix="{idle}", loses_nothing=True)
        pool.set_time(0)
        pool.initialise()
        return _Play(pool, requests).starts


class _Play:
    """One stream on a pool in virtual time."""

    def __init__(self, pool: VirtualPool, requests: list[Request]) -> None:
        self.pool = pool
        self.by_holder = {str(one.number): one for one in requests}
        self.starts: Starts = {}
        self.waiting: dict[str, float] = {}  # Holder: when it asked last
        self.ends: list[tuple[float, str]] = []
        self.notices = pool.redis.pubsub(ignore_subscribe_messages=True)
        self.notices.psubscribe(f"{pool.prefix}:granted:*")
        for one in requests:
            self.pass_until(one.arrives)
            self.ask(str(one.number), one.arrives)
        while self.waiting or self.ends:
            self.pass_until(self.now + BEAT)
        self.notices.close()

    now = 0.0
    beat = 0.0

    def pass_until(self, moment: float) -> None:
        """Let every end and every beat before `moment` happen, in order."""
        while True:
            end = self.ends[0][0] if self.ends else float("inf")
            following = min(end, self.beat)
            if following > moment:
                break
            self.at(following)
            if end <= self.beat:
                self.pool.release(heapq.heappop(self.ends)[1])
            else:
                self.say_alive()
            self.hear()
        self.at(moment)

    def at(self, moment: float) -> None:
        self.now = moment
        self.pool.set_time(round(moment * 1000))

    def say_alive(self) -> None:
        self.beat += BEAT
        for name, count in NODES.items():
            gpus = [Gpu(f"{name}-{i}", name, i, "GPU", 80_000, 80_000, 0.0) for i in range(count)]
            self.pool.publish(name, gpus)
        for holder, asked in list(self.waiting.items()):
            if asked < self.now - 20:
                self.ask(holder, self.now)

    def ask(self, holder: str, now: float) -> None:
        wanted = self.by_holder[holder].gpus
        lease = self.pool.acquire(holder, gpus=wanted, expected=mean(SECONDS))
        self.waiting[holder] = now
        if lease:
            self.begin(holder, lease.id)
        self.hear()

    def hear(self) -> None:
        """Who was granted GPUs by somebody else's call."""
        while message := self.notices.get_message(timeout=0.0005 if self.waiting else 0.0):
            holder = str(message["channel"]).rpartition(":")[2]
            if holder in self.waiting and (lease := self.pool.acquire(holder)):
                self.begin(holder, lease.id)

    def begin(self, holder: str, lease_id: str) -> None:
        if self.waiting.pop(holder, None) is not None:
            one = self.by_holder[holder]
            self.starts[one.number] = self.now
            heapq.heappush(self.ends, (self.now + one.seconds, lease_id))


def clairvoyant(requests: list[Request]) -> Starts:
    """Each in its order at the first moment at which its GPUs are free for as long as it needs."""
    starts: Starts = {}
    plans: dict[str, list[tuple[float, float, int]]] = {name: [] for name in NODES}

    def first_fit(one: Request, node: str, count: int) -> float:
        plan = [entry for entry in plans[node] if entry[1] > one.arrives]
        for moment in sorted({one.arrives, *(end for _, end, _ in plan)}):
            until = moment + one.seconds
            changes = {moment, *(begin for begin, _, _ in plan if moment < begin < until)}
            used = (sum(g for begin, end, g in plan if begin <= at < end) for at in changes)
            if max(used) + one.gpus <= count:
                return moment
        raise AssertionError("every plan ends")

    for one in requests:
        # A plan that is made at its arrival never changes: everybody ends as foreseen
        moment, node = min((first_fit(one, node, count), node) for node, count in NODES.items())
        starts[one.number] = moment
        plans[node].append((moment, moment + one.seconds, one.gpus))
    return starts


def polling(requests: list[Request], every: float) -> Starts:
    """Who waits looks again `every` so many seconds, and takes the first node with room."""
    starts: Starts = {}
    free = dict(NODES)
    events: list[tuple[float, int, Any]] = [(one.arrives, 1, one) for one in requests]
    heapq.heapify(events)
    order: Iterator[int] = iter(range(2, 10**9))
    while events:
        now, _, what = heapq.heappop(events)
        if isinstance(what, tuple):
            free[what[0]] += what[1]
            continue
        node = next((name for name, count in free.items() if count >= what.gpus), None)
        if node is None:
            heapq.heappush(events, (now + every, next(order), what))
            continue
        free[node] -= what.gpus
        starts[what.number] = now
        heapq.heappush(events, (now + what.seconds, next(order), (node, what.gpus)))
    return starts


def idle_shares(url: str, count: int = 400, seeds: int = 3) -> dict[str, Any]:
    """The idle share of each at two loads, the mean of several streams; and who waited longest."""
    schedulers: dict[str, Callable[[list[Request]], Starts]] = {
        "ours": lambda requests: ours(requests, url),
        "clairvoyant": clairvoyant,
        "redis_py_lock": lambda requests: polling(requests, 0.1),
        "asyncio_pool": lambda requests: polling(requests, 1.0),
    }
    result: dict[str, Any] = {"mean size": sum(s * share for s, share in SIZES.items())}
    for load in (0.7, 0.85, 1.2):
        row: dict[str, dict[str, float]] = {}
        for name, schedule in schedulers.items():
            shares, waits = [], []
            for seed in range(seeds):
                requests = stream(load, count, seed)
                starts = schedule(requests)
                shares.append(idle_share(requests, starts))
                wide = [one for one in requests if one.gpus == max(SIZES)]
                waits.append(max(starts[one.number] - one.arrives for one in wide))
            row[name] = {"idle_percent": 100 * mean(shares), "longest_wait_of_8": max(waits)}
        row["ours"]["points_above_clairvoyant"] = (
            row["ours"]["idle_percent"] - row["clairvoyant"]["idle_percent"]
        )
        result[f"load {load}"] = row
    result["ours_above_clairvoyant_points"] = max(
        result[f"load {load}"]["ours"]["points_above_clairvoyant"] for load in (0.7, 0.85)
    )
    return result
