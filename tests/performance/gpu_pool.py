"""How fast and how fair is the pool? Ours beside redis-py's Lock and an asyncio pool that polls.

Everything runs on a Redis of its own, with an append-only file, and the pool is told so: as
`manage.py up` does. Prints one JSON document; exit code 1: a bar is missed.

    gpu_pool.py [--seconds 5] [--only rates,jobs,handover,idle,scripts]
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from threading import Event
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import redis

from gpupool import Gpu, GpuPool, connect
from tests.integration.redis_server import running_redis
from tests.performance.idle_share import idle_shares

GPUS = 8
JOB_SECONDS = 0.1
POLL_SECONDS = 1.0  # of the asyncio pool, and of many a shell loop
Take = Callable[[], Callable[[], None]]  # Waits for a GPU; what it returns gives the GPU back


def node(name: str, gpus: int) -> list[Gpu]:
    """A node's GPUs, all alike and idle."""
    return [Gpu(f"{name}-{i}", name, i, "GPU", 80_000, 80_000, 0.0) for i in range(gpus)]


@contextmanager
def new_pool(url: str, nodes: int = 1, gpus: int = GPUS) -> Iterator[GpuPool]:
    """A pool of so many nodes, each of which says every two seconds that it is alive."""
    with connect(url) as client, ThreadPoolExecutor(1) as publisher:
        client.flushall()
        pool, stop = GpuPool(client, prefix="{bench}", loses_nothing=True), Event()
        pool.initialise()

        def publish() -> None:
            for number in range(nodes):
                pool.publish(f"n{number:03}", node(f"n{number:03}", gpus))

        def keep_publishing() -> None:
            while not stop.wait(2.0):
                publish()

        publish()
        publisher.submit(keep_publishing)
        try:
            yield pool
        finally:
            stop.set()


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


# ── what is compared ────────────────────────────────────────────────────────────────────────


def ours_at_once(client: redis.Redis, name: str, **request: Any) -> Take:
    """Acquire and release, without waiting: there is a GPU for everybody."""
    pool, turn = GpuPool(client, prefix="{bench}", loses_nothing=True), itertools.count()

    def take() -> Callable[[], None]:
        lease = pool.acquire(f"{name} {next(turn)}", **request)
        assert lease is not None
        return lambda: assert_true(pool.release(lease.id))

    return take


def ours_for_a_task(client: redis.Redis, name: str) -> Take:
    """The same as a tuning task asks: with a minimum of memory, in a group with a limit."""
    return ours_at_once(client, name, min_memory_mb=8000, group="task", group_limit=64)


def ours(client: redis.Redis, name: str) -> Take:
    """`with pool.lease()`, as any program would."""
    pool = GpuPool(client, prefix="{bench}", loses_nothing=True)

    def take() -> Callable[[], None]:
        request = pool.lease(holder=name, timeout=120)
        request.__enter__()
        return lambda: request.__exit__(None, None, None)

    return take


def redis_py_lock(client: redis.Redis, name: str) -> Take:
    """One Lock for each GPU, tried in turn, polled as the library does: each 0.1 s."""

    def take() -> Callable[[], None]:
        while True:
            for gpu in range(GPUS):
                lock = client.lock(f"gpu {gpu}", timeout=60)
                if lock.acquire(blocking=False):
                    return lock.release
            time.sleep(0.1)

    return take


def two_empty_scripts(client: redis.Redis, name: str) -> Take:
    script = client.register_script("return 1")

    def take() -> Callable[[], None]:
        script()
        return lambda: assert_true(script())

    return take


def assert_true(value: Any) -> None:
    assert value


# ── many clients ────────────────────────────────────────────────────────────────────────────


def client_process(
    url: str, make: Callable[[redis.Redis, str], Take], number: int, job: float, seconds: float
) -> list[tuple[float, float, float]]:
    """When it asked, was granted, and gave back; until the time is over."""
    with connect(url) as connection:
        take, turns = make(connection, f"client {number}"), []
        BARRIER.wait(60)
        end = time.monotonic() + seconds
        while (asked := time.monotonic()) < end:
            give_back = take()
            granted = time.monotonic()
            if job:
                time.sleep(job)
            released = time.monotonic()
            give_back()
            turns.append((asked, granted, released))
    return turns


def run_clients(
    url: str, make: Any, clients: int, job: float, seconds: float
) -> list[tuple[float, float, float]]:
    """All turns of so many processes that begin at once."""
    global BARRIER
    context = multiprocessing.get_context("fork")
    BARRIER = context.Barrier(clients)
    with context.Pool(clients) as workers:
        work = [(url, make, number, job, seconds) for number in range(clients)]
        return sorted(itertools.chain(*workers.starmap(client_process, work, chunksize=1)))


async def asyncio_pool(
    clients: int, job: float, seconds: float
) -> list[tuple[float, float, float]]:
    """The pool that is often written: a set of free GPUs, looked at each second."""
    free, turns = set(range(GPUS)), []
    end = time.monotonic() + seconds

    async def client() -> None:
        while (asked := time.monotonic()) < end:
            while not free:
                await asyncio.sleep(POLL_SECONDS)
            gpu = free.pop()
            granted = time.monotonic()
            await asyncio.sleep(job)
            free.add(gpu)
            turns.append((asked, granted, time.monotonic()))

    await asyncio.gather(*(client() for _ in range(clients)))
    return turns


# ── what is measured ────────────────────────────────────────────────────────────────────────


def per_second(turns: list[tuple[float, float, float]]) -> float:
    first, last = min(turn[0] for turn in turns), max(turn[2] for turn in turns)
    return len(turns) / (last - first)


def rates(url: str, seconds: float) -> dict[str, Any]:
    """Pairs of acquire and release per second, a GPU for every client."""
    result: dict[str, Any] = {}
    for clients in (1, 8, 64):
        row = {}
        for kind in (two_empty_scripts, ours_at_once, ours_for_a_task, redis_py_lock):
            with new_pool(url, nodes=max(1, clients // GPUS)):
                if kind is redis_py_lock and clients > GPUS:
                    continue  # It would wait for a GPU
                row[kind.__name__] = per_second(run_clients(url, kind, clients, 0, seconds))
        row["asyncio_pool"] = per_second(asyncio.run(asyncio_pool(min(clients, GPUS), 0, 0.5)))
        row["share_of_empty_scripts"] = row["ours_at_once"] / row["two_empty_scripts"]
        row["share_for_a_task"] = row["ours_for_a_task"] / row["two_empty_scripts"]
        result[f"{clients} clients"] = row
    result["bar"] = {"share_of_empty_scripts, 8 clients": 0.7}
    result["met"] = result["8 clients"]["share_of_empty_scripts"] >= 0.7
    return result


def steady(turns: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """The turns of those who asked while all waited: not the first round, nor the last."""
    first, last = turns[0][0], turns[-1][0]
    return [turn for turn in turns if first + 1 <= turn[0] <= last - 1]


def describe_jobs(turns: list[tuple[float, float, float]]) -> dict[str, float]:
    middle = steady(turns)
    waits = [granted - asked for asked, granted, _ in middle]
    grants = sorted(granted for _, granted, _ in middle)
    rate = (len(grants) - 1) / (grants[-1] - grants[0])
    return {
        "jobs_per_second": rate,
        "share_of_ideal": rate * JOB_SECONDS / GPUS,
        "wait_mean": mean(waits),
        "wait_p99": percentile(waits, 99),
        "wait_longest": max(waits),
        "longest_by_mean": max(waits) / mean(waits),
    }


def jobs(url: str, seconds: float) -> dict[str, Any]:
    """64 clients want 8 GPUs for 0.1 s each, again and again: at best 80 jobs a second."""
    result: dict[str, Any] = {}
    for kind in (ours, redis_py_lock):
        with new_pool(url):
            turns = run_clients(url, kind, 64, JOB_SECONDS, seconds + 3)
        result[kind.__name__] = describe_jobs(turns)
    result["asyncio_pool"] = describe_jobs(
        sorted(asyncio.run(asyncio_pool(64, JOB_SECONDS, 4 * seconds)))
    )
    mine = result["ours"]
    result["bar"] = {"share_of_ideal": 0.97, "longest_by_mean": 1.2}
    result["met"] = mine["share_of_ideal"] >= 0.97 and mine["longest_by_mean"] <= 1.2
    return result


def handover(url: str, seconds: float) -> dict[str, Any]:
    """From a release to the moment at which the next holder is in its block."""
    result: dict[str, Any] = {}
    for kind in (ours, redis_py_lock):
        with new_pool(url, gpus=1):
            turns = run_clients(url, kind, 4, 0.02, seconds)
        if kind is redis_py_lock:
            continue
        latencies = [
            later[1] - earlier[2]
            for earlier, later in itertools.pairwise(sorted(turns, key=lambda turn: turn[1]))
            if later[0] < earlier[2]  # It waited
        ]
        result[kind.__name__] = {
            "handovers": len(latencies),
            "p50_ms": 1000 * percentile(latencies, 50),
            "p99_ms": 1000 * percentile(latencies, 99),
        }
    result["bar"] = {"p99_ms": 20}
    result["met"] = result["ours"]["p99_ms"] <= 20
    return result


def scripts(url: str, seconds: float) -> dict[str, Any]:
    """One call on a pool of 512 GPUs, with more and more waiting requests of eight kinds."""
    result: dict[str, Any] = {}
    for waiting in (100, 1000, 10_000):
        with new_pool(url, nodes=64) as pool:
            leases = [pool.acquire(f"first {number}", gpus=4) for number in range(128)]
            for number in range(waiting):
                request = {"gpus": (1, 2, 4, 8)[number % 4], "group": f"task {number % 50}"}
                pool.acquire(f"w {number}", **request, min_memory_mb=1000 * (number % 2))
            took: dict[str, list[float]] = {"renew": [], "release": [], "acquire": []}
            for turn in range(1500):
                lease = leases[turn % len(leases)]
                if lease is None:
                    break
                timed(took["renew"], lambda held=lease: pool.renew(held))
                timed(took["release"], lambda held=lease: pool.release(held.id))
                timed(took["acquire"], lambda number=turn: pool.acquire(f"n {number}", gpus=2))
                if turn % len(leases) == len(leases) - 1:
                    leases = pool.leases()[: len(leases)]
            every = list(itertools.chain(*took.values()))
            result[f"{waiting} waiting"] = {
                "p50_ms": 1000 * percentile(every, 50),
                "p99_ms": 1000 * percentile(every, 99),
                **{f"{name}_mean_ms": 1000 * mean(values) for name, values in took.items()},
            }
    ten_times = result["10000 waiting"]["p50_ms"] / result["1000 waiting"]["p50_ms"]
    result["ten_times_the_requests"] = ten_times
    result["bar"] = {"p99_ms at 1000": 2.0, "ten_times_the_requests": 2.0}
    result["met"] = result["1000 waiting"]["p99_ms"] <= 2.0 and ten_times < 2.0
    return result


def timed(into: list[float], call: Callable[[], Any]) -> None:
    before = time.perf_counter()
    call()
    into.append(time.perf_counter() - before)


def idle(url: str, seconds: float) -> dict[str, Any]:
    """GPUs without work under a stream of 1-, 2-, 4- and 8-GPU requests: see idle_share.py."""
    shares = idle_shares(url)
    shares["bar"] = {"ours above clairvoyant, points": 5}
    shares["met"] = shares["ours_above_clairvoyant_points"] <= 5
    return shares


PARTS = {"rates": rates, "jobs": jobs, "handover": handover, "idle": idle, "scripts": scripts}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    arguments = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as server:
        for name in arguments.only.split(","):
            result[name] = PARTS[name](server.url, arguments.seconds)
            print(f"{name}: {'met' if result[name]['met'] else 'MISSED'}", file=sys.stderr)
    print(json.dumps(result, indent=2))
    return 0 if all(part["met"] for part in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
