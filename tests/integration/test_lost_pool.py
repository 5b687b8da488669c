"""The whole product when its Redis, a server of its own, loses what it knew."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool import connect
from tests.integration.product import Product, job, running_product, until
from tests.integration.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.stress

TTL = 6


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="at-") as path, running_redis(Path(path)) as running:
        yield running


@pytest.fixture(scope="module")
def product(server: RedisServer) -> Iterator[Product]:
    with running_product(
        "simulated:1", GPUPOOL_LEASE_TTL=str(TTL), REDIS_URL=server.url
    ) as running:
        yield running


def started(product: Product, name: str) -> None:
    until((product.folder / name).exists, 60, product.said)


def slow(product: Product, name: str) -> None:
    """A task of two: the first runs for a while, the second waits for the only GPU."""
    script = f"""touch {product.folder}/{name}; sleep 12; echo '{{"speed": 1}}'"""
    task = job(name, script, [1, 2], max_parallel_experiments=1)
    product.tune(task)
    started(product, name)


def completed(product: Product, name: str) -> None:
    task = until(lambda: (t := product.json("show", name))["status"] == "COMPLETED" and t, 120)
    # What ran went on, as its first attempt, and each has one result
    assert [one["attempt"] for one in task["experiments"]] == [1, 1]
    for one in task["experiments"]:
        assert [move["to"] for move in one["moves"]] == [
            *("PLACED", "DEPLOYING", "BENCHMARKING", "SUCCESS")
        ]
    assert not product.json("gpus")["leases"]


def test_a_running_experiment_goes_on_when_redis_is_emptied(
    server: RedisServer, product: Product
) -> None:
    slow(product, "emptied")
    with connect(server.url) as client:
        client.flushall()

    completed(product, "emptied")


def test_a_running_experiment_goes_on_when_redis_is_killed_and_its_file_is_gone(
    server: RedisServer, product: Product
) -> None:
    slow(product, "without-file")
    server.kill()
    for file in server.folder.glob("appendonly*"):
        file.unlink()
    server.start()

    completed(product, "without-file")
