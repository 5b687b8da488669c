"""Many clients of one pool, as processes, and everything that can happen to them."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import redis

from gpupool import GpuPool, connect
from tests.integration.product import until
from tests.integration.redis_server import RedisServer, publish
from tests.programs import pool_client
from tests.stress.diaries import Stop

PREFIX = "{gpupool}"
WIDEST, LONGEST = 4, 1.0  # GPUs and seconds of one use
STOPPED_AT_ONCE = 1 / 8
WITHIN = 60.0  # seconds: for what takes little on an idle machine

# Started from one that has imported everything: a Python of its own for each takes too long
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([__name__])


def speak_for(url: str, ttl: float, node: str, count: int) -> None:
    """The process that publishes a node."""
    with connect(url) as client:
        pool = GpuPool(client, ttl, PREFIX)
        while True:
            with suppress(redis.RedisError):
                publish(pool, node, count)
            time.sleep(0.5)


@dataclass
class Crowd:
    """The clients, and what was done to them."""

    server: RedisServer
    folder: Path
    ttl: float
    chance: random.Random
    clients: dict[str, BaseProcess] = field(default_factory=dict)
    stopped: dict[str, tuple[float, float]] = field(default_factory=dict)  # Since when, until when
    stops: list[Stop] = field(default_factory=list)
    kills: int = 0
    restarts: list[str] = field(default_factory=list)

    def add(self) -> None:
        name = f"client-{len(list(self.folder.iterdir()))}"
        diary = self.folder / name
        diary.touch()
        arguments = (name, str(diary), self.chance.randrange(10**9), WIDEST, LONGEST)
        process = forks.Process(
            target=pool_client.main, args=(self.server.url, PREFIX, self.ttl, *arguments)
        )
        process.start()
        self.clients[name] = process

    def victim(self) -> str:
        """One that is not stopped; every second time one that seems to have GPUs."""
        names = [name for name in self.clients if name not in self.stopped]
        holders = [name for name in names if self._holds(name)]
        return self.chance.choice(holders if holders and self.chance.random() < 0.5 else names)

    def _holds(self, name: str) -> bool:
        with (self.folder / name).open("rb") as diary:
            diary.seek(max(0, os.fstat(diary.fileno()).st_size - 200))
            lines = diary.read().splitlines()
        return bool(lines) and lines[-1].startswith((b"has", b"acts"))

    def kill(self) -> None:
        """Kill one, and let another come for it."""
        name = self.victim()
        process = self.clients.pop(name)
        process.kill()
        process.join()
        self.kills += 1
        self.add()

    def stop(self) -> None:
        """Stop one for longer than its lease lives without it."""
        if len(self.stopped) < len(self.clients) * STOPPED_AT_ONCE:
            name = self.victim()
            process = psutil.Process(self.clients[name].pid)
            process.suspend()
            until(lambda: process.status() == psutil.STATUS_STOPPED, WITHIN)
            now = time.monotonic()
            self.stopped[name] = (now, now + self.ttl * self.chance.uniform(1.1, 1.6))

    def wake(self, everybody: bool = False) -> None:
        """Let those go on whose time has come."""
        for name, (since, end) in list(self.stopped.items()):
            if everybody or end <= time.monotonic():
                del self.stopped[name]
                if time.monotonic() > since + self.ttl:
                    self.stops.append(Stop(name, since, time.monotonic()))
                os.kill(self.clients[name].pid or 0, signal.SIGCONT)

    def restart(self, is_forgotten: bool) -> None:
        """Kill Redis and start it again, with or without what it has written down."""
        self.server.kill()
        if is_forgotten:
            self.server.forget()
        time.sleep(self.chance.uniform(0, 0.3))
        self.server.start()
        self.restarts.append("without its file" if is_forgotten else "with its file")

    def live(self, seconds: float, restarts: int) -> None:
        """Let everything happen at random; Redis restarts at equal distances."""
        begin = time.monotonic()
        while (lived := time.monotonic() - begin) < seconds:
            if len(self.restarts) < restarts * lived / seconds - 0.5:
                self.restart(is_forgotten=len(self.restarts) % 2 == 1)
            self.chance.choice([self.kill, self.stop, self.stop])()
            self.wake()
            time.sleep(self.chance.uniform(0.1, 0.5))
        while len(self.restarts) < restarts:  # On a machine that is too slow
            self.restart(is_forgotten=False)
        self.wake(everybody=True)

    def ended_by_themselves(self) -> list[str]:
        return [name for name, process in self.clients.items() if process.exitcode is not None]

    def end(self) -> None:
        """All leave in order. Returns when the last has gone."""
        for process in self.clients.values():
            process.terminate()
        for process in self.clients.values():
            process.join(WITHIN)


@contextmanager
def nodes(url: str, ttl: float, sizes: dict[str, int]) -> Iterator[None]:
    """Processes that publish nodes of so many GPUs inside the block."""
    speakers = [forks.Process(target=speak_for, args=(url, ttl, *node)) for node in sizes.items()]
    for speaker in speakers:
        speaker.start()
    try:
        yield
    finally:
        for speaker in speakers:
            speaker.kill()
            speaker.join()


@contextmanager
def crowd(server: RedisServer, folder: Path, ttl: float, count: int, seed: int) -> Iterator[Crowd]:
    """So many clients inside the block; none is left after it."""
    people = Crowd(server, folder, ttl, random.Random(seed))
    try:
        for _ in range(count):
            people.add()
        yield people
    finally:
        for process in people.clients.values():
            process.kill()
            process.join()


def forget_the_dead(pool: GpuPool) -> None:
    """Take all who wait from the queue: killed clients would keep their place for a minute."""
    for one in pool.waiting():
        lease = pool.stop_waiting(one.holder)
        if lease:
            pool.release(lease.id)
