"""A lease: the right to use some GPUs of one node until it ends, unless its holder renews it."""

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# Parts of a lease's time to live.
RENEW_EVERY = 1 / 3
RETRY_EVERY = 1 / 20  # after Redis did not answer
STOP_MARGIN = 1 / 6  # left to a holder that must stop before somebody else begins

TAKEN_AWAY = "its lease was taken away by "
HELD = "held"  # What a renewal answers; anything else says why the lease is lost


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseLost(Exception):
    """The lease ended while it was used: its GPUs may belong to somebody else."""


class LeaseTimeout(Exception):
    """The GPUs were not granted in time."""


@dataclass(frozen=True)
class Lease:
    """All the GPUs that one holder was granted, on one node.

    `token` only grows from lease to lease, so that what an older holder writes can be refused.
    Times are seconds of the pool's clock; `since` is when it was first asked for. What follows
    is the request as it was made, but for `revoked`.
    """

    id: str
    token: int
    holder: str
    group: str
    node: str
    gpus: tuple[str, ...]
    granted_at: float
    ends_at: float
    since: float = 0.0
    min_memory_mb: int = 0
    min_host_memory_mb: int = 0
    group_limit: int = 0
    priority: int = 0
    expected: float = 0.0
    revoked: str = ""  # By whom it was taken away, while its holder has not given it back

    def to_json(self) -> str:
        """This lease as a JSON object with the names of its fields."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, **fields: Any) -> Self:
        """The lease that `to_json` wrote, with these fields added or replaced.

        Raises KeyError or TypeError when a field is missing or unknown.
        """
        known = {**json.loads(text), **fields}
        known["gpus"] = tuple(known["gpus"])
        return cls(**known)


def granted(told: str) -> Lease:
    """A lease as the scripts tell it: the millisecond it ends, and its JSON."""
    ends, _, text = told.partition(" ")
    return Lease.from_json(text, ends_at=float(ends) / 1000)


class Bell(Protocol):
    """Wakes a thread that waits on it, from this process or from another."""

    def wait(self, timeout: float) -> str | None:
        """What was said, "" when something may have been missed, None after `timeout` seconds."""
        ...

    def ring(self) -> None:
        """Wake whoever waits. It may fail silently: who waits wakes by itself before long."""
        ...

    def close(self) -> None: ...


class KeepAlive:
    """Renews a lease from a thread of its own for as long as the `with` block runs.

    `lost` turns true, for good, when a renewal is told that the lease has ended, or when Redis was
    out of reach for so long that it may have. An outage shorter than that changes nothing.
    It does not release the lease: that is for the one who took it.
    """

    def __init__(
        self,
        renew: Callable[[], str],
        ttl: float,
        bell: Bell,
        name: str = "",
        on_loss: Callable[[], None] = lambda: None,
        granted_after: float | None = None,
        first_renew: Callable[[], str] | None = None,
    ) -> None:
        """`renew` extends the lease to `ttl` seconds from now and says HELD, or why it is lost.

        A sound of the bell means that the lease may be lost. `on_loss` is called once, from
        another thread. `granted_after` is a moment of the steady clock before the grant. When
        that is so long ago that the lease may have ended, `first_renew` is called first, which
        must not bring back one that has.
        """
        self._renew = renew
        self._first_renew = first_renew or renew
        self._ttl = ttl
        self._bell = bell
        self._name = name
        self._on_loss = on_loss
        self._lock = threading.Lock()
        self._deadline = -math.inf if granted_after is None else self._good_until(granted_after)
        self._why = "its lease was not renewed in time"
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keep-alive {name}", daemon=True)

    def __enter__(self) -> Self:
        """Starts to renew; waits for the first answer where it is not known how long it is good."""
        if steady() < self._deadline:
            self._first_renew = self._renew
            self._thread.start()
            return self
        self._deadline = self._good_until(steady())
        self._thread.start()
        self._answered.wait(self._ttl * (1 - STOP_MARGIN))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._bell.ring()
        # A call that hangs must not hold up the holder; its late renewal does no harm.
        self._thread.join(timeout=1)

    def stop(self) -> None:
        """Renew no more, and hear of no later loss: the lease is about to be given back."""
        with self._lock:
            if steady() >= self._deadline:
                self._ended.set()
            self._stop.set()

    @property
    def lost(self) -> bool:
        """Whether the GPUs may belong to somebody else."""
        # Looked up on the clock, not by the thread: that one may hang in a call to Redis.
        with self._lock:
            if steady() >= self._deadline and not self._stop.is_set():
                self._ended.set()
            return self._ended.is_set()

    @property
    def revoked(self) -> bool:
        """Whether it was lost because somebody took it away."""
        return self._why.startswith(TAKEN_AWAY)

    @property
    def why(self) -> str:
        """Why it is lost, for people; says nothing while it is not."""
        return self._why

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the lease to be lost; whether it is."""
        end = steady() + timeout
        while not self.lost and (left := end - steady()) > 0:
            self._ended.wait(max(0.0, min(left, self._deadline - steady())))
        return self.lost

    def _good_until(self, renewed: float) -> float:
        return renewed + self._ttl * (1 - STOP_MARGIN)

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self.lost:
                self._pause(self._ttl * (RENEW_EVERY if self._try() else RETRY_EVERY))
        finally:
            self._bell.close()
        if self.lost and not self._stop.is_set():
            log.warning("Lease %s is lost: %s", self._name, self.why)
            self._on_loss()

    def _pause(self, seconds: float) -> None:
        """Wait for the next renewal, or for a word that it must come now."""
        seconds = min(seconds, max(0.0, self._deadline - steady()))
        try:
            # It listens from here on: a ring after the look is heard
            nothing = self._bell.wait(0) is None
            if nothing and not self._ended.is_set() and not self._stop.is_set():
                self._bell.wait(seconds)
        except (RedisError, OSError):
            self._stop.wait(min(seconds, self._ttl * RETRY_EVERY))

    def _try(self) -> bool:
        """One renewal; whether Redis answered."""
        # Redis counts the time to live from when it answers, so counting from before the call is
        # on the safe side.
        sent = steady()
        try:
            answer = self._first_renew()
        except (RedisError, OSError) as error:
            log.warning("Lease %s: could not be renewed: %s", self._name, error)
            return False
        with self._lock:
            if answer == HELD:
                self._deadline = self._good_until(sent)
                self._first_renew = self._renew
            elif not self._stop.is_set():
                self._why = answer
                self._ended.set()
        self._answered.set()
        return True
