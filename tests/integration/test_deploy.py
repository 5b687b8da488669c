"""Stops, restarts, migrations and new versions, under a task that runs."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.integration.faults import attempts, begun, diary_job, ended_right, entries
from tests.integration.postgres_server import postgres_server
from tests.integration.product import Product, running_product, until

pytestmark = pytest.mark.stress

OLDER = "0003"  # The schema before this one


def wait_for_the_end(product: Product, within: float) -> None:
    assert product.up is not None
    product.up.wait(within)
    assert product.processes() == []


# Stopping ----------------------------------------------------------------------------------


def test_a_node_that_drains_takes_nothing_new_and_lets_end_what_runs() -> None:
    values = [1, 2, 3, 4]
    with running_product("simulated:2", words=("--drain",), GPUPOOL_LEASE_TTL="6") as product:
        assert product.up is not None
        product.tune(diary_job(product, "drained", values, "8", max_parallel_experiments=2))
        begun(product, "drained", 2)
        product.up.send_signal(signal.SIGTERM)
        wait_for_the_end(product, 40)  # Longer than a lease lives: they were renewed
        assert [entry[1:] for entry in sorted(entries(product, "drained"))] == [
            *((1, "begin"), (1, "end")),
            *((1, "begin"), (1, "end")),
        ]
        product.start()
        task = ended_right(product, "drained", values)
    assert set(attempts(task).values()) == {1}
    assert sum(len(one["moves"]) for one in task["experiments"]) == 4 * 4  # No way back


def handed_back(task: Any) -> list[str]:
    return [
        m["reason"] for one in task["experiments"] for m in one["moves"] if m["to"] == "PENDING"
    ]


# The first time too long to be waited for
LONG_AT_FIRST = "$(mkdir FOLDER/slow-$AUTOTUNER_X 2>/dev/null && echo 300 || echo 1)"


def test_what_does_not_end_is_handed_back_uncharged() -> None:
    with running_product("simulated:2") as product:  # Leases live for a minute
        for how, words in {
            "no-drain": (),
            "time": ("--drain", "3s"),
            "again": ("--drain",),
        }.items():
            product.stop()
            product.words = words
            product.start()
            sleep = LONG_AT_FIRST.replace("FOLDER", str(product.folder / how))
            (product.folder / how).mkdir()
            product.tune(
                diary_job(product, f"{how}-diary", [1, 2], sleep, max_parallel_experiments=2)
            )
            begun(product, f"{how}-diary", 2)
            assert product.up is not None
            product.up.send_signal(signal.SIGINT)
            if how == "again":
                time.sleep(4)
                assert product.up.poll() is None  # It waits, until the second signal
                product.up.send_signal(signal.SIGINT)
            wait_for_the_end(product, 20)
            (product.folder / f"{how}-diary").unlink()  # Of the first, which has no end
            product.start()
            started = time.monotonic()
            task = ended_right(product, f"{how}-diary", [1, 2])
            assert set(attempts(task).values()) == {1} and len(handed_back(task)) == 2
            assert time.monotonic() - started < 30  # And waited for no lease to end


# A database that changes, restarts or is of before -------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def product(request: pytest.FixtureRequest) -> Iterator[Product]:
    """On each database."""
    with contextlib.ExitStack() as stack:
        settings = {}
        if request.param == "postgresql":
            settings = {"DATABASE_URL": stack.enter_context(postgres_server()).url}
        yield stack.enter_context(running_product("simulated:2", GPUPOOL_LEASE_TTL="8", **settings))


def test_the_schema_may_change_under_a_running_task(product: Product) -> None:
    values = [1, 2, 3, 4, 5, 6]
    product.tune(diary_job(product, "migrated", values, "3", max_parallel_experiments=2))
    begun(product, "migrated", 2)
    product.manage("migrate", "experiments", OLDER)
    time.sleep(4)  # What ran has ended meanwhile, and its result cannot be written
    ends = [entry[2] for entry in entries(product, "migrated")].count("end")
    product.manage("migrate")
    assert ends >= 2
    task = ended_right(product, "migrated", values)
    assert set(attempts(task).values()) == {1}


def test_a_task_that_an_older_version_left_running_is_taken_over(product: Product) -> None:
    values = [1, 2, 3, 4]
    product.tune(diary_job(product, "taken-over", values, "3", max_parallel_experiments=2))
    begun(product, "taken-over", 2)
    assert product.up is not None
    for process in product.processes():  # Without a word: its rows say that it runs
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(process.pid, signal.SIGKILL)
    product.up.wait(20)
    until(lambda: not product.processes(), 30)
    product.manage("migrate", "experiments", OLDER)
    product.start()
    task = ended_right(product, "taken-over", values)
    assert sorted(attempts(task).values()) == [1, 1, 2, 2]


def test_a_task_outlives_restarts_of_postgresql() -> None:
    values = [1, 2, 3, 4, 5, 6]
    with (
        postgres_server() as server,
        running_product("simulated:2", DATABASE_URL=server.url) as product,
    ):
        product.tune(diary_job(product, "restarted", values, "3", max_parallel_experiments=2))
        for ended, number in ((0, signal.SIGINT), (2, signal.SIGQUIT)):  # In order; as a crash
            begun(product, "restarted", 2 * ended + 2)
            server.stop(number)
            time.sleep(4)  # Results are there before the database
            server.start()
            server.wait()
        task = ended_right(product, "restarted", values)
        assert set(attempts(task).values()) == {1}
