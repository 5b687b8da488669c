"""Everything that can happen to a running Autotuner, one real fault after the other."""

import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from experiments.marks import mark_of
from gpupool import GpuPool, connect
from tests.integration.postgres_server import PostgresServer
from tests.integration.product import Product
from tests.integration.redis_server import RedisServer

LOOK_EVERY = 0.2  # seconds between looks at what is back
SHORT_OUTAGE = 0.5  # seconds that a Redis or a PostgreSQL of ours stays away


@dataclass
class Fault:
    """What was killed, when, and when it was back."""

    kind: str
    at: float
    is_back: Callable[[], bool]
    back: float | None = None

    @property
    def downtime(self) -> float:
        return 0.0 if self.back is None else self.back - self.at


@dataclass
class Chaos:
    """Kills parts of a product at random. `redis` and `postgres` are those that are not its own."""

    product: Product
    parallel: int
    ttl: float
    chance: random.Random
    redis: RedisServer | None = None
    postgres: PostgresServer | None = None
    faults: list[Fault] = field(default_factory=list)
    killed_jobs: set[tuple[int, int]] = field(default_factory=set)  # Its x and attempt

    def __post_init__(self) -> None:
        self.kinds: dict[str, Callable[[], Fault | None]] = {
            "Celery of the node": lambda: self.celery_main("node.testnode", self.parallel),
            "a worker process": lambda: self.celery_child("node.testnode", self.parallel),
            "Celery of control": lambda: self.celery_main("control", 2),
            "a control process": lambda: self.celery_child("control", 2),
            "a job": self.job,
            "scheduler": lambda: self.service(" beat "),
            "web": lambda: self.service("uvicorn", self.product.port),
            "manage.py worker": self.worker,
            "node": self.node,
        }
        if self.redis is None:
            self.kinds["Redis"] = lambda: self.service("redis-server", also=self.redis_grants)
        else:
            self.kinds["Redis"] = self.restart_redis
        if self.postgres is not None:
            self.kinds["PostgreSQL"] = self.restart_postgres

    def strike(self) -> None:
        """One fault, of a kind that has a victim now."""
        for kind in self.chance.sample(sorted(self.kinds), len(self.kinds)):
            with suppress(psutil.NoSuchProcess):  # It ended by itself just now
                fault = self.kinds[kind]()
                if fault is not None:
                    fault.kind = fault.kind or kind
                    self.faults.append(fault)
                    return

    def look(self) -> None:
        """Note what is back."""
        for fault in self.missing():
            if fault.is_back():
                fault.back = time.monotonic()

    def missing(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.back is None]

    # ── what there is ───────────────────────────────────────────────────────────────────────

    def family(self) -> list[psutil.Process]:
        """The product's processes; also those that hide their environment, as Redis does."""
        assert self.product.up is not None
        return psutil.Process(self.product.up.pid).children(recursive=True)

    def found(self, *words: str) -> list[psutil.Process]:
        """Those whose command line has all these words, keepers left out; the oldest first."""
        found = []
        for process in self.family():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline()) + " "
                if all(word in line for word in words) and "import keeper" not in line:
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def celery(self, queue: str) -> tuple[psutil.Process | None, list[psutil.Process]]:
        """The main process of the worker that reads a queue, and its children."""
        everybody = self.found("celery", f"--queues {queue} ")
        pids = {process.pid for process in everybody}
        mains = []
        for process in everybody:
            with suppress(psutil.Error):
                if process.ppid() not in pids:
                    mains.append(process)
        main = mains[-1] if mains else None
        return main, [process for process in everybody if process not in mains]

    def jobs(self) -> list[tuple[tuple[int, int], psutil.Process]]:
        """The jobs that run, each with its x and its attempt."""
        shells = self.found("sh -c ")
        pids = {process.pid for process in shells}
        found = []
        for process in shells:
            with suppress(psutil.Error):
                # What a shell has just forked looks like the shell
                if process.ppid() not in pids and (mark := mark_of(process.pid)):
                    x, attempt = process.environ()["AUTOTUNER_X"], mark.holder.split(":")[-1]
                    found.append(((int(x), int(attempt)), process))
        return found

    # ── faults ──────────────────────────────────────────────────────────────────────────────

    def celery_main(self, queue: str, size: int) -> Fault | None:
        main, _ = self.celery(queue)
        if main is None:
            return None
        main.kill()
        return Fault("", time.monotonic(), lambda: self.is_whole(queue, size, main.pid))

    def celery_child(self, queue: str, size: int) -> Fault | None:
        _, children = self.celery(queue)
        if not children:
            return None
        child = self.chance.choice(children)
        child.kill()
        return Fault("", time.monotonic(), lambda: self.is_whole(queue, size, child.pid))

    def is_whole(self, queue: str, size: int, without: int) -> bool:
        """The worker has all its processes, and the dead one is none of them."""
        main, children = self.celery(queue)
        pids = {process.pid for process in children} | {main.pid if main else without}
        return len(children) >= size and without not in pids

    def job(self) -> Fault | None:
        """The engine crashes: that is the configuration's fault, and nothing is away."""
        jobs = self.jobs()
        if not jobs:
            return None
        which, process = self.chance.choice(jobs)
        process.kill()
        self.killed_jobs.add(which)
        return Fault("", time.monotonic(), lambda: True)

    def service(
        self, word: str, port: int = 0, also: Callable[[], bool] = lambda: True
    ) -> Fault | None:
        victims = self.found(word)
        if not victims:
            return None
        pid = victims[-1].pid
        victims[-1].kill()

        def is_back() -> bool:
            others = [process for process in self.found(word) if process.pid != pid]
            return bool(others) and (not port or listens(port)) and also()

        return Fault("", time.monotonic(), is_back)

    def worker(self) -> Fault | None:
        victims = self.found("manage.py worker")
        if not victims:
            return None
        victims[0].kill()
        return self.node_fault(victims[0].pid)

    def node(self) -> Fault | None:
        """The machine of the worker loses its power: all at once, nobody sees another die."""
        victims = self.found("manage.py worker")
        if not victims:
            return None
        family = [victims[0], *victims[0].children(recursive=True)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in family:
                with suppress(psutil.Error):
                    process.send_signal(number)
        return self.node_fault(victims[0].pid)

    def node_fault(self, dead: int) -> Fault:
        def is_back() -> bool:
            workers = [process for process in self.found("manage.py worker") if process.pid != dead]
            return bool(workers) and self.is_whole("node.testnode", self.parallel, dead)

        return Fault("", time.monotonic(), is_back)

    def restart_redis(self) -> Fault:
        """With or without its file; after either, nobody is granted anything for a while."""
        assert self.redis is not None
        at, is_forgotten = time.monotonic(), self.chance.random() < 0.5
        self.redis.kill()
        if is_forgotten:
            self.redis.forget()
        time.sleep(SHORT_OUTAGE)
        self.redis.start()
        how = "without" if is_forgotten else "with"
        return Fault(f"Redis, {how} its file", at, self.redis_grants)

    def redis_grants(self) -> bool:
        """It answers, and the pool on it waits for nobody to say what he holds."""
        if self.redis is not None:
            url = self.redis.url
        else:
            password = (self.product.folder / "redis-password").read_text().strip()
            url = f"unix://:{password}@{self.product.folder}/redis/redis.sock"
        with connect(url) as client, suppress(Exception):
            pool = GpuPool(client, self.ttl, loses_nothing=self.redis is None)
            return pool.snapshot().opens_in == 0
        return False

    def restart_postgres(self) -> Fault:
        assert self.postgres is not None
        at = time.monotonic()
        self.postgres.stop(signal.SIGQUIT)
        time.sleep(SHORT_OUTAGE)
        self.postgres.start()
        return Fault("", at, self.postgres.answers)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
