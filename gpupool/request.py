"""GPUs for any Python program: waited for in turn, held within a block, given back at its end."""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from gpupool.leases import KeepAlive, Lease, LeaseLost, LeaseTimeout, granted, steady

if TYPE_CHECKING:
    from gpupool.pool import GpuPool

# A third of the time for which a request keeps its place; at most that of a lease's time
# to live: when Redis has lost its data, all wait in their turn again before anything is granted.
REPEAT_EVERY = 20.0  # seconds
RETRY_EVERY = 0.5  # seconds, while Redis does not answer


class HeldLease:
    """A lease within its `with` block."""

    def __init__(self, lease: Lease, keep_alive: KeepAlive) -> None:
        self.lease = lease
        self._keep_alive = keep_alive

    @property
    def gpus(self) -> tuple[str, ...]:
        """The UUIDs of the GPUs, in the order of their index."""
        return self.lease.gpus

    @property
    def node(self) -> str:
        return self.lease.node

    @property
    def token(self) -> int:
        """Only grows: what an older holder writes can be refused by it."""
        return self.lease.token

    @property
    def environment(self) -> dict[str, str]:
        """What a child process needs to see these GPUs and no others."""
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}

    @property
    def lost(self) -> bool:
        """Whether the GPUs may belong to somebody else."""
        return self._keep_alive.lost

    def check(self) -> None:
        """Raise LeaseLost when the GPUs may belong to somebody else."""
        if self.lost:
            raise LeaseLost(f"lease {self.lease.id}: {self._keep_alive.why}")

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the lease to be lost; whether it is."""
        return self._keep_alive.wait(timeout)


class LeaseRequest:
    """What `pool.lease` returns: `with` and `async with` wait, hold and give back. Used once."""

    def __init__(
        self, pool: "GpuPool", holder: str, timeout: float | None, request: dict[str, Any]
    ) -> None:
        # Two blocks with one name must not share a lease
        self.holder = f"{holder or f'pid {os.getpid()}'} {uuid.uuid4().hex[:8]}"
        self._pool = pool
        self._timeout = timeout
        self._request = request
        self._repeat_every = min(REPEAT_EVERY, pool.ttl / 3)
        self._notices = pool.notices(self.holder)
        self._given_up = threading.Event()
        self._entered = threading.Event()  # Or failed to
        self._granted_after = 0.0  # A moment at which it waited still
        self._held: HeldLease | None = None
        self._keep_alive: KeepAlive | None = None
        self._task: _LostTask | None = None

    # ── threads and processes ───────────────────────────────────────────────────────────────

    def __enter__(self) -> HeldLease:
        return self._enter(lambda: None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held = self._give_back()
        if error is None:
            held.check()

    def _enter(self, on_loss: Callable[[], None]) -> HeldLease:
        try:
            lease = self._wait()
        except BaseException:
            with suppress(RedisError):  # Then it ends by itself
                if late := self._pool.stop_waiting(self.holder):
                    self._pool.release(late.id)
            raise
        finally:
            self._notices.close()
        self._keep_alive = self._pool.keep_alive(
            lease, on_loss=on_loss, granted_after=self._granted_after
        ).__enter__()
        self._held = HeldLease(lease, self._keep_alive)
        return self._held

    def _give_back(self) -> HeldLease:
        assert self._held and self._keep_alive, "it was not entered"
        self._keep_alive.stop()
        with suppress(RedisError):  # Then it ends by itself
            self._pool.release(self._held.lease.id)  # First: the next one waits
        self._keep_alive.__exit__(None, None, None)
        return self._held

    def _wait(self) -> Lease:
        """Ask, then listen; asked again only to keep the place, or when something was missed."""
        give_up = float("inf") if self._timeout is None else steady() + self._timeout
        since: float | None = None
        self._granted_after = steady()
        while not self._given_up.is_set():
            left = give_up - steady()
            if left <= 0 and since is not None:
                return self._last_look()
            try:
                self._notices.listen()  # First: a grant right after the question is heard too
                asked = steady()
                answer = self._pool.ask(self.holder, since=since, **self._request)
                if isinstance(answer, Lease):
                    return answer
                since, self._granted_after = answer, asked
                if self._given_up.is_set():  # It may have been rung before we listened
                    break
                if text := self._notices.wait(max(0.0, min(left, self._repeat_every))):
                    return granted(text)
            except RedisError:
                if left <= 0:
                    raise
                self._given_up.wait(min(left, RETRY_EVERY))
        raise LeaseTimeout("given up")

    def _last_look(self) -> Lease:
        lease = self._pool.stop_waiting(self.holder)
        if lease:
            return lease
        wanted = self._request["gpus"]
        raise LeaseTimeout(f"{wanted} GPUs were not granted within {self._timeout} s")

    # ── asyncio ─────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> HeldLease:
        self._task = task = _LostTask()
        try:
            return await asyncio.shield(_in_thread(lambda: self._enter_for(task)))
        except asyncio.CancelledError:
            self._given_up.set()
            # Goes on also when this task is cancelled once more
            await asyncio.shield(_in_thread(self._give_up))
            raise

    def _enter_for(self, task: "_LostTask") -> HeldLease:
        try:
            return self._enter(task.tell)
        finally:
            self._entered.set()

    def _give_up(self) -> None:
        """Leave the queue; give back what was granted at the same moment."""
        self._notices.ring()
        self._entered.wait()
        if self._held:
            self._give_back()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None, "it was not entered"
        cancelled = self._task.leave()
        held = await _in_thread(self._give_back)
        if error is None or (cancelled and isinstance(error, asyncio.CancelledError)):
            held.check()


class _LostTask:
    """The task in an `async with` block, to be cancelled when its lease is lost."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "async with needs a task"
        self._task: asyncio.Task[Any] = task
        self._loop = asyncio.get_running_loop()
        self._has_left = False
        self._cancelled = False

    def tell(self) -> None:
        """From another thread: the lease is lost."""
        with suppress(RuntimeError):  # The loop has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._has_left:
            self._cancelled = self._task.cancel()

    def leave(self) -> bool:
        """The block has ended; whether it was ended by us, and by nobody else."""
        self._has_left = True
        return self._cancelled and self._task.uncancel() == 0


def _in_thread(work: Callable[[], Any]) -> "asyncio.Future[Any]":
    """The result of `work`, done in a thread of its own.

    Not in the loop's few shared threads: who waits for GPUs would keep them from all others.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)
            future.exception()  # Seen: nobody is left to see it when the task was cancelled

    def run() -> None:
        try:
            outcome = (work(), None)
        except BaseException as error:
            outcome = (None, error)  # type: ignore[assignment]
        with suppress(RuntimeError):  # The loop has ended
            loop.call_soon_threadsafe(finish, *outcome)

    threading.Thread(target=run, daemon=True, name="lease request").start()
    return future
