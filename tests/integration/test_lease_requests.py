"""`pool.lease`: any program waits for its turn, holds its GPUs in a block, and gives them back."""

import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpupool import GpuPool, LeaseLost, LeaseTimeout
from tests.integration.product import PROGRAMS, ROOT, until
from tests.integration.redis_server import (
    Publisher,
    RedisServer,
    granted,
    new_pool,
    publish,
    running_redis,
)

PREFIXES = (f"{{pool{number}}}" for number in itertools.count())
WITHIN = 30.0  # seconds: for what takes milliseconds on an idle machine


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="at-") as path,
        running_redis(Path(path)) as running,
    ):
        yield running


@pytest.fixture
def pool(server: RedisServer) -> Iterator[GpuPool]:
    with new_pool(server.url, prefix=next(PREFIXES)) as empty:
        yield empty
        left = empty.snapshot()
        assert (left.leases, left.waiting) == ([], []), "a block has left something behind"


@contextmanager
def waiting(pool: GpuPool, *names: str, **request: Any) -> Iterator[list[str]]:
    """Threads that wait in the order of their names; the list is of those that had their turn."""
    served: list[str] = []

    def wait(name: str) -> None:
        with pool.lease(holder=name, **request):
            served.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in names]
    for count, thread in enumerate(threads, 1):
        thread.start()
        waits(pool, count)
    yield served
    for thread in threads:
        thread.join(WITHIN)
        assert not thread.is_alive()


def waits(pool: GpuPool, count: int) -> None:
    """Return when so many requests wait."""
    until(lambda: len(pool.waiting()) == count, WITHIN, lambda: str(pool.waiting()))


def answered(server: RedisServer, pool: GpuPool) -> dict[str, int]:
    """How often the server was asked each command, but for this question."""
    stats: dict[str, Any] = pool.redis.info("commandstats")
    return {name: one["calls"] for name, one in stats.items() if name != "cmdstat_info"}


# Threads


def test_a_block_has_its_gpus_and_gives_them_back(pool: GpuPool) -> None:
    publish(pool, "n1", 4)

    with pool.lease(gpus=2, min_memory_mb=8_000, holder="me") as lease:
        assert (lease.node, lease.gpus) == ("n1", ("n1-0", "n1-1"))
        assert lease.environment["CUDA_VISIBLE_DEVICES"] == "n1-0,n1-1"
        assert not lease.lost and not lease.wait(0)
        [known] = pool.leases()
        assert (known.id, known.token) == (lease.lease.id, lease.token)
        assert known.holder.startswith("me ")

    assert [state.state for state in pool.gpus()] == ["free"] * 4


def test_each_waits_for_its_turn(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    held = granted(pool.acquire("somebody"))
    with waiting(pool, "a", "b", "c", "d") as served:
        assert served == []
        pool.release(held.id)

    assert served == ["a", "b", "c", "d"]


def test_who_waits_asks_nothing(server: RedisServer, pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    held = granted(pool.acquire("somebody"))

    with waiting(pool, "a", "b", "c") as served:
        before = answered(server, pool)
        time.sleep(3)
        after = answered(server, pool)
        pool.release(held.id)

    assert after == before
    assert served == ["a", "b", "c"]


def test_a_block_is_told_at_once_and_not_when_it_would_look(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    took = []
    for _ in range(20):
        held = granted(pool.acquire("somebody"))
        with waiting(pool, "a"):
            start = time.perf_counter()
            pool.release(held.id)
        took.append(time.perf_counter() - start)
    # Not a promise: a loaded machine takes longer
    print(f"from a release until the next block is over: {statistics.median(took) * 1000:.1f} ms")


def test_a_timeout_leaves_nothing_behind(pool: GpuPool) -> None:
    publish(pool, "n1", 2)

    with pool.lease():
        for timeout in (0, 0.3):
            with (
                pytest.raises(LeaseTimeout, match="2 GPUs were not granted"),
                pool.lease(gpus=2, timeout=timeout),
            ):
                pytest.fail("there is only one left")
        assert pool.waiting() == []
        with pool.lease(timeout=0) as other:  # Nothing is kept for who has gone
            assert other.gpus == ("n1-1",)


def test_an_error_in_the_block_is_raised_and_the_gpus_are_free(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    with pytest.raises(ZeroDivisionError), pool.lease() as lease:
        pool.revoke(lease.lease.id, "an operator")  # Lost as well: what went wrong first is told
        assert lease.wait(WITHIN)
        raise ZeroDivisionError

    assert pool.gpus()[0].state == "free"


def test_a_lost_lease_is_told_in_the_block_and_at_its_end(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    with pytest.raises(LeaseLost, match="taken away by an operator"), pool.lease() as lease:
        lease.check()
        pool.revoke(lease.lease.id, "an operator")
        assert lease.wait(WITHIN)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_loss_that_nobody_noticed_in_the_block_is_told_at_its_end(
    server: RedisServer, pool: GpuPool
) -> None:
    publish(pool, "n1", 1)

    with pytest.raises(LeaseLost), GpuPool(pool.redis, 2, pool.prefix).lease():
        server.pause()
        time.sleep(2.5)
        server.resume()


def test_two_blocks_of_one_name_have_two_leases(pool: GpuPool) -> None:
    publish(pool, "n1", 2)

    with pool.lease(holder="x") as one, pool.lease(holder="x") as other:
        assert set(one.gpus).isdisjoint(other.gpus)
        assert other.token > one.token


# Processes


def test_a_killed_process_frees_its_gpus_after_its_time_to_live(
    server: RedisServer, pool: GpuPool, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    program = [sys.executable, str(PROGRAMS / "pool_client.py")]
    words = [server.url, pool.prefix, "3", "doomed", str(diary), "1", "1", "600"]
    with Publisher(pool, "n1", 1):
        client = subprocess.Popen([*program, *words], env={**os.environ, "PYTHONPATH": str(ROOT)})
        until(lambda: diary.exists() and diary.read_text(), WITHIN)
        with waiting(pool, "next") as served:
            client.send_signal(signal.SIGKILL)
            client.wait()
            [lease] = pool.leases()
            assert lease.holder.startswith("doomed ")
    assert served == ["next"]
    assert pool.time() >= lease.ends_at


# asyncio


def test_coroutines_wait_and_hold_and_give_back(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    served = []

    async def work(name: str) -> None:
        async with pool.lease(holder=name) as lease:
            assert lease.gpus == ("n1-0",)
            served.append(name)

    async def main() -> None:
        tasks = []
        async with pool.lease():
            for count, name in enumerate("abc", 1):
                tasks.append(asyncio.create_task(work(name)))
                await asyncio.to_thread(waits, pool, count)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert served == ["a", "b", "c"]


def test_64_coroutines_wait_at_once_in_one_loop(pool: GpuPool) -> None:
    publish(pool, "n1", 4)
    busy: set[str] = set()

    async def work() -> int:
        async with pool.lease(gpus=2) as lease:
            assert busy.isdisjoint(lease.gpus)
            busy.update(lease.gpus)
            await asyncio.to_thread(time.sleep, 0.001)  # The loop's own threads are left to it
            busy.difference_update(lease.gpus)
            return lease.token

    async def main() -> list[int]:
        async with pool.lease(gpus=4):
            tasks = [asyncio.create_task(work()) for _ in range(64)]
            await asyncio.to_thread(waits, pool, 64)
        return await asyncio.gather(*tasks)

    assert len(set(asyncio.run(main()))) == 64


def test_a_cancelled_waiter_leaves_the_queue_at_once(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    async def main() -> None:
        async with pool.lease():
            waiter = asyncio.create_task(pool.lease().__aenter__())
            await asyncio.to_thread(waits, pool, 1)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert pool.waiting() == []
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), pool.lease():
                    pytest.fail("there is none left")
            assert pool.waiting() == []

    asyncio.run(main())


def test_a_waiter_cancelled_twice_keeps_nothing(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    async def main() -> None:
        waiter = asyncio.create_task(pool.lease().__aenter__())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    asyncio.run(main())
    until(lambda: "lease request" not in {one.name for one in threading.enumerate()}, WITHIN)
    assert pool.gpus()[0].state == "free"


def cancelled_body(pool: GpuPool, cancel: Callable[[Any, Any], None]) -> bool:
    """Whether a body that would sleep for long was cancelled, by what `cancel` does."""
    stopped = []

    async def work(entered: "asyncio.Future[Any]") -> None:
        async with pool.lease() as lease:
            entered.set_result(lease)
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                stopped.append(lease)
                raise

    async def main() -> None:
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(work(entered))
        cancel(await entered, task)
        await task

    asyncio.run(main())
    return bool(stopped)


def test_a_body_whose_lease_is_lost_is_cancelled_and_told(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    with pytest.raises(LeaseLost, match="taken away by an operator"):
        cancelled_body(pool, lambda lease, _: pool.revoke(lease.lease.id, "an operator"))

    assert pool.gpus()[0].state == "free"


def test_a_body_cancelled_by_others_is_cancelled(pool: GpuPool) -> None:
    publish(pool, "n1", 1)

    with pytest.raises(asyncio.CancelledError):
        cancelled_body(pool, lambda _, task: task.cancel())

    assert pool.gpus()[0].state == "free"
