"""kill -9 of each process of a running product: the task ends as it was planned."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.integration.faults import (
    all_of,
    asleep,
    attempts,
    begun,
    completed,
    diary_job,
    ended_right,
    is_keeper,
    main_of,
    worker_of,
)
from tests.integration.product import PROGRAMS, Product, running_product, until

pytestmark = pytest.mark.stress

TTL = 20.0  # seconds: longer than what is shown to be done without waiting for a lease's end


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with running_product("simulated:2", GPUPOOL_LEASE_TTL=f"{TTL:g}") as running:
        yield running


def celery_child(product: Product) -> list[psutil.Process]:
    return [worker_of(asleep(product)[0])]


def celery_main(product: Product) -> list[psutil.Process]:
    return [main_of(product, "celery", "node.testnode")]


def keeper_of_celery(product: Product) -> list[psutil.Process]:
    return [main_of(product, "celery", "node.testnode").parent()]


def keeper_of_an_experiment(product: Product) -> list[psutil.Process]:
    return [asleep(product)[0].parent()]


def worker(product: Product) -> list[psutil.Process]:
    return [main_of(product, "manage.py", "worker")]


def whole_node(product: Product) -> list[psutil.Process]:
    main = main_of(product, "manage.py", "worker")
    return [main.parent(), main, *main.children(recursive=True)]


def control_main(product: Product) -> list[psutil.Process]:
    return [main_of(product, "celery", "control")]


def control_children(product: Product) -> list[psutil.Process]:
    return main_of(product, "celery", "control").children()


def scheduler(product: Product) -> list[psutil.Process]:
    return [main_of(product, "celery", "beat")]


def web(product: Product) -> list[psutil.Process]:
    return [main_of(product, "uvicorn")]


def redis_server(product: Product) -> list[psutil.Process]:
    assert product.up is not None
    family = psutil.Process(product.up.pid).children(recursive=True)
    # It writes a title over its environment, by which the others are found
    return [process for process in family if process.name() == "redis-server"]


def everything_but_up(product: Product) -> list[psutil.Process]:
    assert product.up is not None
    return [process for process in product.processes() if process.pid != product.up.pid]


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # It went with one before


# Whom, and whether experiments that ran are lost with it
KILLS: list[tuple[Callable[[Product], list[psutil.Process]], bool]] = [
    (celery_child, True),
    (celery_main, True),
    (keeper_of_celery, True),
    (worker, True),
    (whole_node, True),
    (control_main, False),
    (control_children, False),
    (scheduler, False),
    (web, False),
    (redis_server, False),
    (everything_but_up, True),
]


@pytest.mark.parametrize(
    ("whom", "is_lost"), KILLS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_task_ends_as_planned_though_one_is_killed(
    product: Product, whom: Callable[[Product], list[psutil.Process]], is_lost: bool
) -> None:
    name, values = whom.__name__, [1, 2, 3, 4]
    product.tune(diary_job(product, name, values, "3", max_parallel_experiments=2))
    begun(product, name, 2)
    victims = whom(product)
    assert victims
    killed = time.monotonic()
    kill_all(victims)
    task = ended_right(product, name, values)
    took = time.monotonic() - killed
    print(f"{name}: {took:.1f} s, attempts {attempts(task)}")
    again = [x for x, attempt in attempts(task).items() if attempt > 1]
    assert bool(again) <= is_lost, task
    assert took < TTL + 10
    # All that was killed is there again
    until(lambda: product.manage("doctor", check=False).returncode in (0, 1), 30)
    until(lambda: main_of(product, "manage.py", "worker") and main_of(product, "uvicorn"), 30)
    until(lambda: main_of(product, "celery", "node.testnode"), 30)


def test_a_lost_workers_experiment_is_charged_to_nobody_but_its_attempts(product: Product) -> None:
    name = "reasons"
    product.tune(diary_job(product, name, [1], "3"))
    begun(product, name, 1)
    freed = time.monotonic()
    kill_all(celery_child(product))
    until(lambda: not asleep(product), 10)
    begun(product, name, 2)
    print(f"run again {time.monotonic() - freed:.1f} s after the kill")
    assert time.monotonic() - freed < TTL / 2  # Its GPUs were free before the lease's end
    task = ended_right(product, name, [1])
    [experiment] = task["experiments"]
    assert experiment["attempt"] == 2 and experiment["error"] is None
    [waits_again] = [move for move in experiment["moves"] if move["to"] == "PENDING"]
    assert waits_again["reason"] == "its worker process died"


def test_a_service_that_is_killed_again_and_again_is_started_again(product: Product) -> None:
    for _ in range(5):  # Of those that end by themselves, three are enough to give up
        main = until(lambda: web_or_none(product), 60)
        os.kill(main.pid, signal.SIGKILL)
        until(lambda main=main: not main.is_running(), 10)
    until(lambda: web_or_none(product), 60)
    assert product.up is not None and product.up.poll() is None


def web_or_none(product: Product) -> psutil.Process | None:
    return next((p for p in all_of(product, "uvicorn") if is_keeper(p.parent())), None)


# An engine and its load generator ----------------------------------------------------------


def served(product: Product, name: str) -> dict[str, Any]:
    """A search over a server of ours that takes a few seconds for each experiment."""
    server = str(PROGRAMS / "fake_openai_server.py")
    return {
        "task_name": name,
        "base_runtime": "custom",
        "model": {"id_or_path": "fake"},
        "command": [sys.executable, server, "--port", "{port}", "--tpot", "{tpot}"],
        "parameters": {"tpot": [0.02, 0.03]},
        "optimization": {
            "strategy": "grid_search",
            "objective": "maximize_throughput",
            "max_iterations": 3,
            "max_parallel_experiments": 1,
        },
        "benchmark": {
            "traffic_scenarios": ["D(16,8)"],
            "num_concurrency": [1],
            "max_requests_per_iteration": 20,
        },
    }


@pytest.mark.parametrize("word", ["fake_openai_server", "loadgen"])
def test_an_engine_or_a_load_generator_that_is_killed_fails_its_experiment_alone(
    product: Product, word: str
) -> None:
    name = f"killed-{word}"
    product.tune(served(product, name))
    victim = until(lambda: all_of(product, word), 60, product.said)[0]
    until(lambda: all_of(product, "loadgen"), 60)  # It is measured now
    os.kill(victim.pid, signal.SIGKILL)
    task = completed(product, name)
    assert len(task["experiments"]) == 3
    for one in task["experiments"]:
        ends = [m["to"] for m in one["moves"] if m["to"] in ("SUCCESS", "FAILED")]
        assert ends[-1] == one["status"], one
    assert [one["status"] for one in task["experiments"]].count("SUCCESS") >= 2
    until(lambda: not product.json("gpus")["leases"], 20)
    assert not all_of(product, "fake_openai_server")
