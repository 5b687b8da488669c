"""The whole product on a machine whose NVML says what the test wants: proof before a launch, and
readings while it runs."""

import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.product import Product, job, running_product, until
from tests.programs.nvml_machine import Board, Machine, machine

SPEED = """echo '{"speed": '$AUTOTUNER_X'}'"""


@pytest.fixture(scope="module")
def node() -> Iterator[Machine]:
    with machine() as here:
        here.boards = [Board("GPU-a"), Board("GPU-b")]
        here.write()
        yield here


@pytest.fixture(scope="module")
def product(node: Machine) -> Iterator[Product]:
    theirs = node.environment()
    stub = {name: theirs[name] for name in ("LD_LIBRARY_PATH", "NVML_STUB_STATE")}
    with running_product("nvml", GPUPOOL_LEASE_TTL="10", **stub) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(node: Machine, product: Product) -> None:
    """Two idle GPUs, whatever the test before has left."""
    node.boards, node.processes = [Board("GPU-a"), Board("GPU-b")], []
    node.write()
    until(lambda: all(one["state"] != "faulty" for one in product.json("gpus")["gpus"]), 20)
    for one in product.json("gpus")["gpus"]:
        if one["state"] == "quarantined":
            product.manage("gpus", "return", one["uuid"])


def gpu(product: Product, uuid: str) -> dict[str, Any]:
    return next(one for one in product.json("gpus")["gpus"] if one["uuid"] == uuid)


def test_a_gpu_with_a_foreign_process_is_quarantined_and_the_experiment_runs_on_another(
    node: Machine, product: Product
) -> None:
    with subprocess.Popen(["sleep", "300"]) as foreign:
        # Its memory does not show, so that only the process tells
        node.processes = [("GPU-a", foreign.pid, 30_000, "c")]
        node.write()
        task = product.finished(job("foreign", SPEED, [7]))
        foreign.kill()

    [experiment] = task["experiments"]
    assert experiment["status"] == "SUCCESS" and experiment["gpus"] == ["GPU-b"]
    assert experiment["attempt"] == 1  # Not charged
    state = gpu(product, "GPU-a")
    assert state["state"] == "quarantined"
    assert f"process {foreign.pid} (sleep) uses it, 30000 MiB" in state["why"]


def test_an_experiment_waits_until_the_memory_of_the_last_engine_is_back(
    node: Machine, product: Product
) -> None:
    for board in node.boards:
        board.used = 70_000
    node.write()
    product.tune(job("memory", SPEED, [8]))
    until(lambda: product.json("show", "memory")["experiments"][0]["status"] == "DEPLOYING", 30)
    time.sleep(1)
    for board in node.boards:
        board.used = 600
    node.write()

    task = until(lambda: (t := product.json("show", "memory"))["status"] == "COMPLETED" and t, 60)

    [experiment] = task["experiments"]
    assert [move["to"] for move in experiment["moves"]] == [
        *("PLACED", "DEPLOYING", "BENCHMARKING", "SUCCESS")
    ]


def test_a_gpu_that_was_added_runs_experiments_beside_the_others(
    node: Machine, product: Product
) -> None:
    node.boards.append(Board("GPU-c"))
    node.write()
    until(lambda: len(product.json("gpus")["gpus"]) == 3, 20)
    # Each waits until all three are there
    meet = f"touch {product.folder}/met-$AUTOTUNER_X; "
    meet += f"while test $(ls {product.folder}/met-* | wc -l) -lt 3; do sleep 0.1; done; "

    task = product.finished(job("three", meet + SPEED, [1, 2, 3], max_parallel_experiments=3))

    assert [one["status"] for one in task["experiments"]] == ["SUCCESS"] * 3
    assert len({one["gpus"][0] for one in task["experiments"]}) == 3


def test_a_gpu_that_the_driver_has_lost_is_shown_and_not_granted(
    node: Machine, product: Product
) -> None:
    node.boards[0].lost = 1
    node.write()
    state = until(
        lambda: (found := gpu(product, "GPU-a"))["state"] == "faulty" and found, 20, product.said
    )
    assert "lost" in state["why"]

    task = product.finished(job("lost", SPEED, [1, 2, 3]))

    assert {uuid for one in task["experiments"] for uuid in one["gpus"]} == {"GPU-b"}


def logged_in(product: Product) -> urllib.request.OpenerDirector:
    """The administrator's browser, as far as pages without scripts need one."""
    password = re.search(r"admin / (\S+)", product.said())
    assert password
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    login = f"http://127.0.0.1:{product.port}/admin/login/"
    form = browser.open(login).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token
    typed = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": token[1]}
    browser.open(login, urllib.parse.urlencode(typed).encode())
    return browser


def runs(product: Product, task: str) -> bool:
    experiments = product.json("show", task)["experiments"]
    return any(one["status"] == "BENCHMARKING" for one in experiments)


def test_how_its_gpu_is_used_is_on_the_page_of_an_experiment_while_it_runs(
    node: Machine, product: Product
) -> None:
    goes_on = product.folder / "goes-on"
    wait = f"while test ! -e {goes_on}; do sleep 0.1; done; "
    product.tune(job("readings", wait + SPEED, [9]))
    until(lambda: runs(product, "readings"), 30)
    for board in node.boards:  # Once the GPU was proved to be free
        board.utilization, board.used, board.milliwatts, board.temperature = 87, 40_960, 412_400, 61
    node.write()
    browser = logged_in(product)
    listed = f"http://127.0.0.1:{product.port}/admin/experiments/experiment/"
    found = re.search(
        r'/experiment/(\d+)/change/"[^>]*>readings #1<', browser.open(listed).read().decode()
    )
    assert found
    page = f"{listed}{found[1]}/gpus/"
    shown = until(lambda: "412 W" in (text := browser.open(page).read().decode()) and text, 30)
    assert all(text in shown for text in ("87 %", "40 GiB", "61 °C", "every 2s"))
    goes_on.touch()

    task = until(lambda: (t := product.json("show", "readings"))["status"] == "COMPLETED" and t, 60)

    [experiment] = task["experiments"]
    [readings] = experiment["gpu_readings"]
    used = readings["gpus"][experiment["gpus"][0]]
    assert used["power_w"]["max"] == 412.4 and used["utilization"]["max"] == 0.87
    assert used["memory_total_mb"] == 81920 and used["memory_used_mb"]["max"] == 40960
