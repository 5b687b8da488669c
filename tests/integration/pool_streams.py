"""Streams of requests in made-up time, served by the real scripts, watched after each event."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpupool import Gpu
from gpupool.offers import offer
from tests.integration.virtual_pool import VirtualPool, decoded, in_book, parts

BEGIN = 1_700_000_000_000  # All times here are milliseconds
HEARD_EVERY = 8_000


@dataclass(frozen=True)
class Wish:
    """Somebody who wants `gpus` for `ms`, from `at` on."""

    holder: str
    at: int
    gpus: int
    ms: int
    priority: int = 0
    group: str = ""
    limit: int = 0

    @property
    def turn(self) -> tuple[int, int, str]:
        return -self.priority, self.at, self.holder


@dataclass
class Run:
    """One GPUs' user: who it is, where, from when to when."""

    wish: Wish
    node: str
    gpus: tuple[str, ...]
    start: int
    end: int
    id: str


@dataclass
class Place:
    """The node that somebody waits for, and when all will have ended that it waits for there."""

    node: str
    free_by: int


@dataclass
class Stream:
    """Requests that come one after the other to some nodes, and what became of them."""

    pool: VirtualPool
    nodes: dict[str, int]
    to_come: list[Wish]
    now: int = BEGIN
    heard: int = 0
    waiting: dict[str, Wish] = field(default_factory=dict)
    running: dict[str, Run] = field(default_factory=dict)
    done: list[Run] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    reservations: int = 0
    moved: int = 0  # How many of them

    # What happens next

    def send(self, pipe: Any) -> bool:
        """Put the next event into the pipeline; False when there is none."""
        ends = min(self.running.values(), key=lambda run: (run.end, run.id), default=None)
        comes = self.to_come[0] if self.to_come else None
        if not ends and not comes:
            return False
        is_end = ends is not None and (comes is None or ends.end <= comes.at)
        at = ends.end if ends and is_end else comes.at if comes else 0
        self.now = min(at, self.heard + HEARD_EVERY)
        pipe.hset(f"{self.pool.prefix}:test-time", mapping=parts(self.now))
        if self.now < at:
            self.publish(pipe)
        elif ends and is_end:
            self.done.append(self.running.pop(ends.id))
            self.pool.call("release", ends.id, client=pipe)
        elif comes:
            self.waiting[comes.holder] = self.to_come.pop(0)
            self.pool.call("acquire", request(comes), client=pipe)
        pipe.hgetall(f"{self.pool.prefix}:book")
        return True

    def publish(self, pipe: Any) -> None:
        self.heard = self.now
        for node, count in self.nodes.items():
            gpus = [Gpu(f"{node}-{i}", node, i, "Test GPU", 8, 8, 0.0) for i in range(count)]
            self.pool.call("publish", node, "{}", offer(gpus, 0), client=pipe)

    # What must be true of it

    def learn(self, book: dict[str, str]) -> None:
        leases, reserved = (in_book({"book": book}, kind) for kind in ("lease", "reserved"))
        new = []
        for name in leases.keys() - self.running.keys():
            lease = decoded(leases[name])
            wish = self.waiting.pop(lease["holder"])
            end = self.now + wish.ms
            run = Run(wish, lease["node"], tuple(lease["gpus"]), self.now, end, name)
            self.running[name] = run
            new.append(run)
        assert leases.keys() == self.running.keys()
        turn = self.eligible()
        for run in new:
            self.nobody_was_passed_over(run, turn, reserved)
            self.it_did_not_wait_too_long(run)
        self.nothing_is_idle_without_a_reason(turn, reserved)
        self.remember_places(turn, reserved)

    def eligible(self) -> list[Wish]:
        """Who waits within the limit of its group, in order."""
        has = Counter(run.wish.group for run in self.running.values())
        turn = []
        for wish in sorted(self.waiting.values(), key=lambda one: one.turn):
            if not wish.limit or has[wish.group] < wish.limit:
                has[wish.group] += 1
                turn.append(wish)
        for run in self.running.values():
            limit = run.wish.limit
            assert not limit or has[run.wish.group] <= limit
        return turn

    def nobody_was_passed_over(
        self, run: Run, turn: Sequence[Wish], reserved: dict[str, str]
    ) -> None:
        for wish in turn:
            if wish.turn < run.wish.turn:
                assert wish.gpus > run.wish.gpus, f"{wish} could have had the GPUs of {run}"
                assert reserved.get(wish.holder) != run.node, f"{wish} waits for the node of {run}"

    def it_did_not_wait_too_long(self, run: Run) -> None:
        """It began when all had ended that its node had when it was reserved, or before."""
        place = self.places.pop(run.wish.holder, None)
        if place:
            assert run.start <= place.free_by, f"{run} waited for somebody younger"
        for holder, other in self.places.items():
            if other.node == run.node and holder in self.waiting:
                other.free_by = max(other.free_by, run.end)  # It is older: see above

    def nothing_is_idle_without_a_reason(
        self, turn: Sequence[Wish], reserved: dict[str, str]
    ) -> None:
        """What is free is kept for somebody older, or too little for whoever waits."""
        free = dict(self.nodes)
        for run in self.running.values():
            free[run.node] -= len(run.gpus)
        kept = set()
        for wish in turn:
            for node, count in free.items():
                assert count < wish.gpus or node in kept, f"{wish} could have {node}"
            kept.add(reserved.get(wish.holder, ""))

    def remember_places(self, turn: Sequence[Wish], reserved: dict[str, str]) -> None:
        taken = set()
        for wish in turn:
            node, old = reserved.get(wish.holder, ""), self.places.get(wish.holder)
            if node and (not old or old.node != node):
                self.reservations += 1
                self.moved += old is not None
                times = {name: self.free_at(name, wish) for name in self.nodes.keys() - taken}
                assert times[node] == min(times.values()), f"{wish} waits for the wrong node"
                ends = [run.end for run in self.running.values() if run.node == node]
                self.places[wish.holder] = Place(node, max(ends))
            if not node:
                self.places.pop(wish.holder, None)
            taken.add(node)
        waits = {wish.holder for wish in turn}
        self.places = {name: place for name, place in self.places.items() if name in waits}

    def free_at(self, node: str, wish: Wish) -> float:
        ends = sorted(
            run.end for run in self.running.values() if run.node == node for _ in run.gpus
        )
        times = [self.now] * (self.nodes[node] - len(ends)) + ends
        return times[wish.gpus - 1] if wish.gpus <= len(times) else float("inf")


def request(wish: Wish) -> str:
    """It, as acquire.lua wants it."""
    terms = (wish.holder, wish.gpus, 0, 0, wish.group, wish.limit, wish.priority, wish.ms / 1000)
    return "\n".join([*map(str, terms), ""])


def serve(streams: Sequence[Stream]) -> None:
    """Let everything happen, an event of each stream at a time."""
    client = streams[0].pool.redis
    with client.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.hset(f"{stream.pool.prefix}:test-time", mapping=parts(stream.now))
            stream.pool.call("initialise", client=pipe)
            stream.heard = stream.now
            stream.publish(pipe)
        pipe.execute()
        going = list(streams)
        while going := [stream for stream in going if stream.send(pipe)]:
            answers = iter(pipe.execute())
            maps = [answer for answer in answers if isinstance(answer, dict)]
            for stream, book in zip(going, maps, strict=True):
                stream.learn(book)
    for stream in streams:
        assert not stream.waiting, "somebody was never served"
