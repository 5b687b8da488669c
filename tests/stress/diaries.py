"""What clients of the pool have believed, read from their diaries, and what must be true of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gpupool.leases import STOP_MARGIN

CLOCK_ERROR = 0.01  # seconds: Redis's clock and its scores are whole milliseconds


@dataclass
class Belief:
    """One lease as its holder saw it: that it had these GPUs from `begin` to `end`, at least."""

    client: str
    token: int
    gpus: tuple[str, ...]
    looks: list[float] = field(default_factory=list)  # Each said that the lease is held
    done: list[float] = field(default_factory=list)  # When it acted after that look
    lost: float | None = None  # When it noticed
    gave: float | None = None

    @property
    def begin(self) -> float:
        return self.looks[0]

    @property
    def end(self) -> float:
        """The last moment at which it held the lease for sure."""
        return self.gave or self.looks[-1]

    def __str__(self) -> str:
        ending = "gave" if self.gave else "lost" if self.lost else "ended"
        return f"{self.client} {self.token} {self.begin:.4f} to {self.end:.4f} ({ending})"


@dataclass(frozen=True)
class Stop:
    """A client was stopped from `begin` (then it did nothing any more) to `end`."""

    client: str
    begin: float
    end: float


def beliefs(diaries: Iterable[Path]) -> list[Belief]:
    """All leases of all clients; the name of a diary is its client's."""
    found: dict[tuple[str, int], Belief] = {}
    for path in diaries:
        for line in path.read_text().splitlines():
            what, looked, done, token, gpus = line.split()
            belief = found.setdefault(
                (path.name, int(token)), Belief(path.name, int(token), tuple(gpus.split(",")))
            )
            if what == "lost":
                belief.lost = float(looked)
            elif what == "gave":
                belief.gave = float(looked)
            else:
                belief.looks.append(float(looked))
                belief.done.append(float(done))
    return list(found.values())


def successions(all_beliefs: Iterable[Belief]) -> Iterator[tuple[str, Belief, Belief]]:
    """Each GPU with each two of its holders that followed one another."""
    by_gpu: dict[str, list[Belief]] = defaultdict(list)
    for belief in all_beliefs:
        if belief.looks:
            for gpu in belief.gpus:
                by_gpu[gpu].append(belief)
    for gpu, holders in by_gpu.items():
        for older, newer in pairwise(sorted(holders, key=lambda one: one.begin)):
            yield gpu, older, newer


def violations(all_beliefs: list[Belief], stops: list[Stop], ttl: float) -> list[str]:
    """What the pool has promised and not kept."""
    found = []
    tokens = [belief.token for belief in all_beliefs if belief.looks]
    if len(tokens) != len(set(tokens)):
        found.append("a token was given twice")
    for gpu, older, newer in successions(all_beliefs):
        who = f"{gpu}: {older}; {newer}"
        if newer.token <= older.token:
            found.append(f"the token did not grow: {who}")
        if newer.begin <= older.end:
            found.append(f"two at once: {who}")
        # Who did not give the GPU back has stopped a part of the time to live before it was granted
        elif not older.gave and newer.begin < older.end + ttl * STOP_MARGIN - CLOCK_ERROR:
            found.append(f"the margin is {newer.begin - older.end:.4f} s: {who}")
    by_client = defaultdict(list)
    for belief in all_beliefs:
        by_client[belief.client].append(belief)
    for stop in stops:
        for belief in by_client[stop.client]:
            if belief.looks and belief.begin < stop.begin and belief.looks[-1] > stop.end:
                found.append(f"it went on after it was stopped at {stop.begin:.4f}: {belief}")
    return found


def late_acts(all_beliefs: list[Belief]) -> int:
    """How often a client was stopped between its look and its act, until somebody else had begun.

    No look can prevent that; the token does, if what is acted on refuses older ones.
    """
    return sum(
        1 for _, older, newer in successions(all_beliefs) for at in older.done if at >= newer.begin
    )
