"""Every way in which an attempt can go wrong, on the whole product, and what becomes of it."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.postgres_server import postgres_server
from tests.integration.product import PROGRAMS, Product, job, running_product, until

SPEED = """echo '{"speed": '$AUTOTUNER_X'}'"""
SERVER = [sys.executable, str(PROGRAMS / "fake_openai_server.py"), "--port", "{port}"]


def server(name: str, command: list[str], **optimization: Any) -> dict[str, Any]:
    """A task with one experiment on an engine: two load levels of at most three seconds each."""
    return {
        "task_name": name,
        "base_runtime": "custom",
        "model": {"id_or_path": "fake"},
        "command": command,
        "parameters": {"env.X": [1]},
        "optimization": {
            "strategy": "grid_search",
            "objective": "maximize_throughput",
            "max_iterations": 1,
            **optimization,
        },
        "benchmark": {
            "num_concurrency": [1, 2],
            "traffic_scenarios": ["D(10,5)"],
            "max_requests_per_iteration": 10,
            "max_time_per_iteration": 0.05,
        },
    }


def only(task: dict[str, Any]) -> dict[str, Any]:
    [experiment] = task["experiments"]
    return dict(experiment)


# ── failures that may pass ──────────────────────────────────────────────────────────────────


def test_a_failure_that_may_pass_is_tried_again_and_the_others_are_not(product: Product) -> None:
    tries = product.folder / "tries"
    script = (
        f"echo $AUTOTUNER_X >> {tries}; n=$(grep -c ^$AUTOTUNER_X {tries}); "
        f"case $AUTOTUNER_X in 1) test $n = 2 || exit 75;; 2) exit 1;; esac; {SPEED}"
    )
    task = product.finished(job("passing", script, [1, 2, 3], max_parallel_experiments=3))
    assert task["status"] == "COMPLETED"
    ended = [(one["status"], one["attempt"]) for one in task["experiments"]]
    assert ended == [("SUCCESS", 2), ("FAILED", 1), ("SUCCESS", 1)]
    assert not task["experiments"][1]["error"]["may_pass"]
    [reason] = [move["reason"] for move in task["experiments"][0]["moves"] if move["reason"]]
    assert reason.startswith("engine_crashed: ended with exit code 75")
    assert reason.endswith("it may pass, tried again after 5 s")


def test_a_failure_says_where_it_was_and_shows_the_decisive_lines(product: Product) -> None:
    crash = "echo loading; echo 'ValueError: no such layer 7'; echo bye; exit 3"
    failed = only(product.finished(server("decisive", ["sh", "-c", crash]), check=False))
    assert failed["error"] == {
        "kind": "engine_crashed",
        "message": "ValueError: no such layer 7",
        "lines": ["loading", "ValueError: no such layer 7", "bye"],
        "where": "start",
        "may_pass": False,
    }


def test_an_engine_that_dies_at_a_later_level_says_at_which(product: Product) -> None:
    command = [*SERVER, "--hang-after", "12"]
    failed = only(product.finished(server("later", command), check=False))
    assert failed["error"]["where"].startswith("level 2 of 2: ")


# ── what takes too long, says nothing, or too much ──────────────────────────────────────────


def test_a_silent_engine_ends_at_its_start_limit(product: Product) -> None:
    task = server("silent", ["sleep", "600"], timeout_start=2)
    failed = only(product.finished(task, check=False))
    assert failed["error"]["kind"] == "start_timeout"
    assert failed["error"]["message"] == "not healthy after 2 s (timeout_start)"
    assert failed["phases"]["starting"] < 10


def test_a_flooded_log_is_capped_and_its_last_words_are_still_found(product: Product) -> None:
    flood = "head -c 90000000 /dev/zero | tr '\\0' x; echo; sleep 1; " + SPEED
    task = product.finished(job("flood", flood, [7]))
    assert only(task)["objective_score"] == 7
    logs = (product.folder / "logs" / str(task["id"])).rglob("engine.log*")
    sizes = {log.name: log.stat().st_size for log in logs}
    assert sizes["engine.log"] < 2**25 and sizes["engine.log.1"] <= 2**25


# ── a disk that is full, or read-only ───────────────────────────────────────────────────────


@pytest.fixture
def small_disk() -> Iterator[tuple[Product, Path]]:
    """A product whose logs are on a disk of 120 MiB; skips where one may not be mounted."""
    with running_product("simulated:1", GPUPOOL_LEASE_TTL="6") as product:
        logs = product.folder / "logs"
        mount = ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(logs)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        try:
            yield product, logs
        finally:
            subprocess.run(["umount", "--lazy", str(logs)], check=True)


def fill(logs: Path) -> Callable[[], None]:
    (logs / "other").write_bytes(bytes(60 * 2**20))
    return (logs / "other").unlink


def make_read_only(logs: Path) -> Callable[[], None]:
    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(logs)], check=True)

    remount("ro")
    return lambda: remount("rw")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(fill, "MiB are free for logs"), (make_read_only, "Read-only file system")],
)
def test_an_experiment_waits_until_its_logs_can_be_written(
    small_disk: tuple[Product, Path], spoil: Callable[[Path], Callable[[], None]], why: str
) -> None:
    product, logs = small_disk
    repair = spoil(logs)
    product.tune(job("disk", SPEED, [1, 2]))
    [gpu] = until(
        lambda: (g := product.json("gpus")["gpus"])[0]["state"] == "quarantined" and g, 30
    )
    assert why in gpu["why"]
    repair()
    product.manage("gpus", "return", gpu["uuid"])
    task = until(lambda: (t := product.json("show", "disk"))["status"] == "COMPLETED" and t, 30)
    assert [(one["status"], one["attempt"]) for one in task["experiments"]] == [("SUCCESS", 1)] * 2


# ── a database that is away ─────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def locked_sqlite(product: Product) -> Iterator[None]:
    """Nobody else can write for longer than any of our transactions waits."""
    with contextlib.closing(sqlite3.connect(product.folder / "autotuner.sqlite3")) as database:
        database.isolation_level = None
        database.execute("BEGIN EXCLUSIVE")
        yield
        time.sleep(35)
        database.execute("ROLLBACK")


@contextlib.contextmanager
def sqlite() -> Iterator[tuple[dict[str, str], Any]]:
    yield {}, locked_sqlite


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[dict[str, str], Any]]:
    with postgres_server() as server:

        @contextlib.contextmanager
        def stopped(product: Product) -> Iterator[None]:
            server.stop(signal.SIGINT)  # At once, whoever is connected
            yield
            time.sleep(20)
            server.start()
            server.wait()

        yield {"DATABASE_URL": server.url}, stopped


@pytest.mark.stress
@pytest.mark.parametrize("database", [sqlite, postgresql])
def test_a_result_is_kept_while_the_database_is_away(database: Any) -> None:
    with (
        database() as (environment, away),
        running_product("simulated:2", GPUPOOL_LEASE_TTL="6", **environment) as product,
    ):
        began, go = product.folder / "began", product.folder / "go"
        script = f"echo $AUTOTUNER_X >> {began}; until test -e {go}; do sleep 0.1; done; {SPEED}"
        with ThreadPoolExecutor() as threads:
            away_job = job("away", script, [1, 2, 3, 4], max_parallel_experiments=2)
            waits = threads.submit(product.finished, away_job)  # `tune --wait`
            until(lambda: began.exists() and len(began.read_text().split()) == 2, 30)
            with away(product):
                go.touch()  # Both end while nothing can be written
            task = waits.result(90)
        assert task["status"] == "COMPLETED"
        assert [one["status"] for one in task["experiments"]] == ["SUCCESS"] * 4
        assert [one["attempt"] for one in task["experiments"]] == [1] * 4
        assert sorted(began.read_text().split()) == ["1", "2", "3", "4"]
