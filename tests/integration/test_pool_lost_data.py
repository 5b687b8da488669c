"""A Redis that comes back with less than it had confirmed: killed, emptied, or failed over."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpupool import HELD, GpuPool, Lease, LeaseLost, connect
from gpupool.leases import steady
from tests.integration.product import free_port, until
from tests.integration.redis_server import (
    Publisher,
    granted,
    new_pool,
    publish,
    running_redis,
)

TTL = 2.5
WITHIN = 30.0  # seconds: for what takes little more than TTL on an idle machine


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="at-") as path:
        yield Path(path)


@dataclass(frozen=True)
class Fault:
    """A Redis at an address that stays, and how it is struck; what comes after `part` may go."""

    url: str
    strike: Callable[[], None]
    part: Callable[[], None] = lambda: None


@contextmanager
def killed(folder: Path) -> Iterator[Fault]:
    with running_redis(folder) as server:

        def strike() -> None:
            server.kill()
            server.start()

        yield Fault(server.url, strike)


@contextmanager
def killed_and_its_file_lost(folder: Path) -> Iterator[Fault]:
    with running_redis(folder) as server:

        def strike() -> None:
            server.kill()
            server.forget()
            server.start()

        yield Fault(server.url, strike)


@contextmanager
def flushed(folder: Path) -> Iterator[Fault]:
    with running_redis(folder) as server, connect(server.url) as client:
        yield Fault(server.url, client.flushall)


@contextmanager
def failed_over(folder: Path) -> Iterator[Fault]:
    """A replica takes over that was cut off from its master a while before."""
    port = free_port()
    with ExitStack() as stack:
        master = stack.enter_context(running_redis(folder / "one", port))
        replica = stack.enter_context(running_redis(folder / "two", password=master.password))
        client = stack.enter_context(connect(replica.url))
        client.replicaof("127.0.0.1", str(port))
        until(lambda: client.info("replication")["master_link_status"] == "up", WITHIN)
        address = folder / "redis.sock"
        address.symlink_to(master.socket)

        def part() -> None:
            with connect(master.url) as before:
                assert before.wait(1, 5000) == 1  # It has all until now
            client.replicaof("NO", "ONE")

        def strike() -> None:
            master.kill()
            address.unlink()
            address.symlink_to(replica.socket)

        yield Fault(master.url.replace(str(master.socket), str(address)), strike, part)


FAULTS = [killed, killed_and_its_file_lost, flushed, failed_over]


@dataclass
class Waiter:
    """A thread that waits for GPUs, and keeps what it was granted until told to give it back."""

    pool: GpuPool
    name: str
    gpus: int = 1
    at: float = 0.0  # When it was granted
    lease: Lease | None = None
    is_done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Waiter":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_done.set()
        self.thread.join(WITHIN)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        with self.pool.lease(gpus=self.gpus, holder=self.name) as held:
            self.at, self.lease = time.monotonic(), held.lease
            self.is_done.wait()


def since(pool: GpuPool, name: str) -> float | None:
    """Since when the waiter of that name waits, as far as Redis knows."""
    found = [one.since for one in pool.waiting() if one.holder.startswith(f"{name} ")]
    return found[0] if found else None


@pytest.mark.parametrize("fault", FAULTS)
def test_holders_go_on_waiters_wait_on_and_nothing_is_granted_twice(
    folder: Path, fault: Callable[[Path], AbstractContextManager[Fault]]
) -> None:
    with (
        fault(folder) as redis,
        new_pool(redis.url, TTL) as pool,
        Publisher(pool, "n1", 2),
        ExitStack() as holders,
    ):
        early = holders.enter_context(pool.lease(holder="early"))
        redis.part()
        late = holders.enter_context(pool.lease(holder="late"))
        with Waiter(pool, "wide", gpus=2) as wide, Publisher(pool, "n2", 1):
            asked = until(lambda: since(pool, "wide"), WITHIN)
            struck = time.monotonic()
            redis.strike()
            with Waiter(pool, "young") as young:
                # The GPU of n2 is free all the time, but nobody knows that before
                until(lambda: young.lease, WITHIN)
                assert young.at >= struck + TTL - 0.01
                assert granted(young.lease).gpus == ("n2-0",)
                until(lambda: since(pool, "wide") == asked, WITHIN)
                assert wide.lease is None
                early.check()
                late.check()
                holds = {early.lease.id, late.lease.id, granted(young.lease).id}
                assert {lease.id for lease in pool.leases()} == holds
            holders.close()
            until(lambda: wide.lease, WITHIN)
        tokens = [early.token, late.token, granted(young.lease).token, granted(wide.lease).token]
        assert tokens == sorted(set(tokens))
        assert granted(wide.lease).since == asked


def test_a_redis_that_loses_nothing_grants_at_once_after_a_restart(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, loses_nothing=True) as pool:
        publish(pool, "n1", 2)
        held = granted(pool.acquire("a"))
        assert pool.acquire("b", gpus=2) is None
        before = pool.waiting()

        server.kill()
        server.start()

        assert pool.waiting() == before  # Without a word of theirs
        assert pool.leases() == [held]
        pool.release(held.id)
        assert granted(pool.acquire("b", gpus=2)).token == held.token + 1


def two_turns(pool: GpuPool) -> tuple[Lease, Lease]:
    """A GPU's lease that its holder has given back, and that of the next holder."""
    publish(pool, "n1", 1)
    first = granted(pool.acquire("first"))
    pool.release(first.id)
    return first, granted(pool.acquire("second"))


def test_of_two_that_claim_a_gpu_the_one_granted_last_is_right(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, TTL) as pool:
        first, second = two_turns(pool)
        pool.redis.flushall()
        assert pool.renew(first) == HELD  # Nobody knows better
        assert pool.renew(second) == HELD
        assert pool.renew(first) != HELD
        assert [lease.id for lease in pool.leases()] == [second.id]

        pool.redis.flushall()
        assert pool.renew(second) == HELD
        assert pool.renew(first) != HELD
        assert [lease.id for lease in pool.leases()] == [second.id]


def test_a_lease_that_may_have_ended_is_not_taken_up_again(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, TTL) as pool:
        first, second = two_turns(pool)
        pool.redis.flushall()
        # Its holder was stopped for so long between the grant and the block
        with pool.keep_alive(first, granted_after=steady() - TTL) as stopped:
            assert stopped.lost
        assert pool.leases() == []
        with pool.keep_alive(second, granted_after=time.monotonic()) as running:
            until(pool.leases, WITHIN)
            assert not running.lost


def test_who_says_nothing_within_the_window_has_lost_its_lease(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, TTL) as pool:
        first, second = two_turns(pool)
        pool.redis.flushall()
        with Publisher(pool, "n1", 1), pool.lease() as other:
            assert other.gpus == second.gpus
            assert other.token > second.token
            assert pool.renew(second) != HELD
            assert pool.renew(first) != HELD
            other.check()


def test_a_late_renewal_gives_nobody_a_lease_back_that_he_had_given_up(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, TTL) as pool:
        first, second = two_turns(pool)
        pool.redis.flushall()
        pool.reap()
        time.sleep(0.01)
        assert pool.renew(first) == HELD  # Sent before it was given back
        assert pool.acquire("first") is None  # The second has yet to say that it holds the GPU
        assert pool.renew(second) == HELD
        assert [lease.id for lease in pool.leases()] == [second.id]


def test_each_loss_begins_the_window_anew(folder: Path) -> None:
    with (
        running_redis(folder) as server,
        new_pool(server.url, TTL) as pool,
        Publisher(pool, "n1", 2),
        pool.lease() as held,
        ExitStack() as stack,
    ):
        for turn in range(3):
            server.kill()
            server.forget()
            server.start()
            struck = time.monotonic()
            if turn == 0:
                waiter = stack.enter_context(Waiter(pool, "waiter"))
            time.sleep(TTL * 0.4)
            assert waiter.lease is None
        until(lambda: waiter.lease, WITHIN)
        assert waiter.at >= struck + TTL - 0.01
        assert set(granted(waiter.lease).gpus).isdisjoint(held.gpus)
        held.check()


def test_a_group_is_counted_again_by_those_who_hold_its_leases(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url, TTL) as pool:
        publish(pool, "n1", 3)
        leases = [granted(pool.acquire(name, group="g", group_limit=2)) for name in "ab"]
        pool.redis.flushall()
        assert [pool.renew(lease) for lease in leases] == [HELD, HELD]
        with Publisher(pool, "n1", 3), pool.keep_alive(leases[0]), pool.keep_alive(leases[1]):
            assert pool.acquire("c", group="g", group_limit=2) is None
            with pool.lease(holder="of no group", timeout=WITHIN):  # The window is over
                assert pool.acquire("c", group="g", group_limit=2) is None
                pool.release(leases[0].id)
                assert pool.acquire("c", group="g", group_limit=2)


def test_an_outage_longer_than_a_lease_ends_leases_and_no_waiting(folder: Path) -> None:
    with (
        running_redis(folder) as server,
        new_pool(server.url, TTL) as pool,
        Publisher(pool, "n1", 1),
    ):
        with (
            pytest.raises(LeaseLost),
            pool.lease() as held,
            Waiter(pool, "waiter") as waiter,
        ):
            until(lambda: since(pool, "waiter"), WITHIN)
            server.kill()
            assert held.wait(WITHIN)
            server.start()
            until(lambda: waiter.lease, WITHIN)
        assert granted(waiter.lease).token > held.token


def test_books_in_the_form_of_another_version_count_as_lost(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url) as pool:
        publish(pool, "n1", 2)
        lease = granted(pool.acquire("a"))
        pool.acquire("wide", gpus=2)
        book = f"{pool.prefix}:book"
        pool.redis.hdel(book, "epoch 2")
        pool.redis.hset(book, mapping={"epoch": 1, "lease x": "of a form that nobody knows"})
        pool.redis.hset(f"{pool.prefix}:free", "n1", "1 100 1 [1]")

        assert pool.waiting() == [] and pool.leases() == []
        publish(pool, "n1", 2)
        assert pool.acquire("b") is None
        assert pool.renew(lease) == HELD
        assert [gpu.lease_id for gpu in pool.gpus()] == [lease.id, None]
