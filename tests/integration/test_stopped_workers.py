"""Who was stopped for longer than its lease lives finds it lost on waking, and does no more."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.product import PROGRAMS, ROOT, Product, job, running_product, until
from tests.integration.redis_server import Publisher, new_pool, running_redis
from tests.stress.diaries import Stop, beliefs, violations

pytestmark = pytest.mark.stress

TTL = 3.0
WITHIN = 60.0  # seconds: for what takes some on an idle machine


@contextmanager
def suspended(*processes: psutil.Process) -> Iterator[None]:
    """They do nothing inside the block."""
    for process in processes:
        process.suspend()
        until(lambda process=process: process.status() == psutil.STATUS_STOPPED, WITHIN)
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_stopped_program_knows_at_its_first_look_that_it_has_lost() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="at-") as folder,
        running_redis(Path(folder)) as server,
        new_pool(server.url, TTL) as pool,
        Publisher(pool, "n1", 1),
    ):
        diary = Path(folder) / "stopped"
        words = [server.url, pool.prefix, str(TTL), "stopped", str(diary), "1", "1", "600"]
        program = [sys.executable, str(PROGRAMS / "pool_client.py"), *words]
        client = subprocess.Popen(program, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            until(lambda: diary.exists() and "acts" in diary.read_text(), WITHIN)
            with suspended(psutil.Process(client.pid)):
                since = time.monotonic()
                with pool.lease() as other:  # It is granted to the next one meanwhile
                    assert time.monotonic() > since + TTL / 2
            stop = Stop("stopped", since, time.monotonic())
            until(lambda: diary.read_text().count("has") == 2, WITHIN)
        finally:
            client.kill()
            client.wait()
        first, second = beliefs([diary])
        assert first.lost and first.looks[-1] < stop.end
        assert first.token < other.token < second.token
        assert violations([first, second], [stop], TTL) == []


def worker_of(process: psutil.Process) -> psutil.Process:
    """The Celery process that runs the experiment to which a process belongs."""
    return next(parent for parent in process.parents() if "celery" in " ".join(parent.cmdline()))


def first_attempts(product: Product) -> list[psutil.Process]:
    """The programs that the test's script runs at its first time, by their own arguments."""
    own = [
        p for p in product.processes() if p.cmdline()[:2] in (["sleep", "301"], ["sleep", "302"])
    ]
    return sorted(own, key=lambda process: process.cmdline()[1])


def experiments(product: Product) -> list[Any]:
    found: list[Any] = product.json("show", "stopped")["experiments"]
    return found


def are_tried_again(product: Product) -> bool:
    return all(one["attempt"] == 2 for one in experiments(product))


def have_lost_their_leases(product: Product) -> bool:
    """Which the rows may not show yet."""
    return not product.json("gpus")["leases"]


@pytest.mark.parametrize("wake_when", [are_tried_again, have_lost_their_leases])
def test_a_stopped_worker_ends_its_engine_on_waking_and_its_result_is_refused(
    wake_when: Callable[[Product], bool],
) -> None:
    # The first attempt of 1 runs on; that of 2 has a result while its worker is stopped
    script = (
        "if mkdir FOLDER/began-$AUTOTUNER_X 2>/dev/null; then sleep 30$AUTOTUNER_X; "
        """echo '{"speed": 999}'; else echo '{"speed": '$AUTOTUNER_X'}'; fi"""
    )
    with running_product("simulated:4", GPUPOOL_LEASE_TTL="4") as product:
        task = job("stopped", script.replace("FOLDER", str(product.folder)), [1, 2])
        task["optimization"]["max_parallel_experiments"] = 2
        product.tune(task)
        asleep = until(lambda: len(found := first_attempts(product)) == 2 and found, WITHIN)
        workers = [worker_of(process) for process in asleep]
        assert workers[0] != workers[1]
        with suspended(*workers):
            asleep[1].terminate()
            until(lambda: wake_when(product), WITHIN)
            assert asleep[0].is_running()
        until(lambda: not asleep[0].is_running(), WITHIN)
        shown = until(
            lambda: (t := product.json("show", "stopped"))["status"] == "COMPLETED" and t, WITHIN
        )
        assert not product.json("gpus")["leases"]
    for one in shown["experiments"]:
        moves = [move["to"] for move in one["moves"]]
        assert moves.count("SUCCESS") == moves.count("PENDING") == 1, one
        assert one["attempt"] == 2 and one["objective_score"] == one["parameters"]["x"]
