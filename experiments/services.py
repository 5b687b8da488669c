"""The long-running programs that `up` and `worker` start, watch and stop."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from experiments.log_files import rotate, tail
from experiments.processes import Process, listens

log = logging.getLogger(__name__)

QUICK_DEATH = 5.0  # seconds: a service that ends sooner has a fault of its own
FAULTS_ALLOWED = 3  # in a row, of a service that has never stayed up
LONGEST_PAUSE = 5.0  # seconds, before a service that died quickly again and again is started


class ServiceFailed(RuntimeError):
    """A service ended again and again right after its start."""


@dataclass
class Service:
    """One program, started again when it dies."""

    name: str
    argv: Sequence[str]
    grace: float = 10.0  # seconds that it may take to end politely
    variables: Mapping[str, str] = field(default_factory=dict)  # Of its environment, besides ours
    process: Process | None = None
    started: float = 0.0
    quick_deaths: int = field(default=0)  # One after the other, however they came
    faults: int = field(default=0)  # Those of them by an exit code of its own
    has_stayed_up: bool = False  # Once: then what fails now may pass
    start_at: float = field(default=0.0)  # When it has died

    @property
    def log(self) -> Path:
        return settings.LOG_DIR / f"{self.name}.log"

    def start(self) -> None:
        # SIGTERM must end a Celery worker now, experiments handed back, not when they are done.
        environment = {**settings.ENVIRONMENT, "REMAP_SIGTERM": "SIGQUIT", **self.variables}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = Process.start(
            list(self.argv), log=self.log, env=environment, cwd=settings.BASE_DIR
        )
        self.started = time.monotonic()
        self.start_at = 0.0

    def keep_running(self) -> None:
        """Start it again if it died. Raises ServiceFailed when it has never stayed up.

        One that was killed by a signal (`kill -9`, the kernel's OOM killer) is not at fault, nor is
        one that has worked before, whose database or Redis is away: it is started again for ever,
        with a pause that grows while it dies at once.
        """
        with contextlib.suppress(OSError):  # A full disk ends no service
            rotate(self.log)
        if self.process is None or self.process.poll() is None:
            return
        if not self.start_at:
            self._note_death(self.process.poll() or 0)
        if time.monotonic() >= self.start_at:
            self.start()

    def _note_death(self, exit_code: int) -> None:
        now = time.monotonic()
        quick, killed = now - self.started < QUICK_DEATH, exit_code < 0
        self.has_stayed_up = self.has_stayed_up or not quick
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self.faults = self.faults + (not killed) if quick else 0
        if self.faults >= FAULTS_ALLOWED and not self.has_stayed_up:
            last = "\n".join(tail(self.log).strip().splitlines()[-5:])
            raise ServiceFailed(f"{self.name} does not stay up; the end of {self.log}:\n{last}")
        pause = min(LONGEST_PAUSE, 2.0 ** (self.quick_deaths - 2)) if self.quick_deaths else 0.0
        log.warning("%s ended with %s; it is started again", self.name, exit_code)
        self.start_at = now + pause

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the program itself, if it lives."""
        if self.process is not None:
            self.process.signal(number)

    def descendants(self) -> set[int]:
        """The pids of all that it has started."""
        return set() if self.process is None else self.process.descendants()

    def listens_on(self, port: int) -> bool:
        """It runs, and it is the one that listens there."""
        return self.process is not None and listens(port, self.descendants())

    def stop(self) -> None:
        if self.process is not None:
            # A service ends its own children in order: an engine that dies before its worker
            # knows of the stop would look like one that crashed.
            self.process.stop(self.grace, only_main=True)
            self.process = None


def celery_worker(name: str, queue: str, concurrency: int) -> list[str]:
    """The command line of a Celery worker that reads one queue."""
    return [
        *(settings.PYTHON, "-m", "celery", "-A", "autotuner_site", "worker"),
        *("--queues", queue, "--hostname", f"{name}@{settings.NODE}"),
        *("--concurrency", str(concurrency), "--pool", "prefork", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
