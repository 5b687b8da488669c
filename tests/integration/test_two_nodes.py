"""One search on two nodes, each with its own network and folder; one of them is lost midway."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.faults import (
    WITHIN,
    attempts,
    begun,
    diary_job,
    ended_right,
    entries,
)
from tests.integration.postgres_server import PostgresServer, postgres_server
from tests.integration.product import MANAGE, Product, free_port, until
from tests.integration.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.stress

TTL = 6
VALUES = list(range(1, 11))


class Network:
    """A network namespace, with one cable to ours. Without the right to make one: ours."""

    def __init__(self, number: int) -> None:
        self.name = f"at{os.getpid() % 100000}n{number}"
        self.cable = f"at{os.getpid() % 100000}v{number}"  # At most 15 characters
        self.here = f"10.213.{number}.1"
        self.prefix: list[str] = []

    def lay(self) -> bool:
        """Lay the cable; whether that is possible here."""
        there = self.here[:-1] + "2"
        made = [
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", self.cable, "type", "veth", "peer", "eth0", "netns", self.name],
            ["ip", "addr", "add", f"{self.here}/24", "dev", self.cable],
            ["ip", "link", "set", self.cable, "up"],
            ["ip", "-n", self.name, "addr", "add", f"{there}/24", "dev", "eth0"],
            ["ip", "-n", self.name, "link", "set", "eth0", "up"],
            ["ip", "-n", self.name, "link", "set", "lo", "up"],
        ]
        try:
            for words in made:
                subprocess.run(words, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.take_away()
            self.here = "127.0.0.1"
            return False
        self.prefix = ["ip", "netns", "exec", self.name]
        return True

    def cut(self, is_cut: bool) -> None:
        state = "down" if is_cut else "up"
        subprocess.run(["ip", "link", "set", self.cable, state], check=True)

    def take_away(self) -> None:
        for words in (["link", "del", self.cable], ["netns", "del", self.name]):
            with contextlib.suppress(OSError):
                subprocess.run(["ip", *words], capture_output=True, check=False)


@contextlib.contextmanager
def network(number: int) -> Iterator[Network]:
    made = Network(number)
    made.lay()
    try:
        yield made
    finally:
        made.take_away()


@dataclass
class Node:
    """`manage.py worker` on a node of its own, or `up` on the first."""

    product: Product
    network: Network

    def run(self, *words: str) -> None:
        with (self.product.folder / "up.txt").open("a") as log:
            self.product.up = subprocess.Popen(
                [*self.network.prefix, *MANAGE, *words],
                env=self.product.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def kill(self) -> None:
        """All of it at once, as a power cut would."""
        for process in self.product.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)  # So that nobody sees another die
        for process in self.product.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert self.product.up is not None
        self.product.up.wait(20)
        until(lambda: not self.product.processes(), 20)


@dataclass
class Site:
    """Two nodes, and what they share."""

    first: Node
    second: Node

    def nodes_in_the_pool(self) -> set[str]:
        gpus = self.first.product.json("gpus")["gpus"]
        return {gpu["node"] for gpu in gpus if gpu["state"] not in ("silent", "faulty")}


def node(
    name: str, folder: Path, net: Network, redis: RedisServer, postgres: PostgresServer
) -> Node:
    environment = {
        **os.environ,
        "AUTOTUNER_DATA_DIR": str(folder),
        "AUTOTUNER_NODE": name,
        "GPUPOOL_INVENTORY": "simulated:2",
        "GPUPOOL_LEASE_TTL": str(TTL),
        "REDIS_URL": f"redis://:{redis.password}@{net.here}:{redis.port}",
        "DATABASE_URL": postgres.url_at(net.here),
    }
    return Node(Product(folder, free_port(), environment), net)


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at-"))) for _ in range(3)
        ]
        options = {"bind": "0.0.0.0"}
        redis = stack.enter_context(running_redis(folders[0], free_port(), options=options))
        postgres = stack.enter_context(postgres_server(free_port()))
        networks = [stack.enter_context(network(number)) for number in (1, 2)]
        made = Site(
            node("first", folders[1], networks[0], redis, postgres),
            node("second", folders[2], networks[1], redis, postgres),
        )
        # The commands of the test are given on our side, where both servers are as well
        here = {
            "REDIS_URL": f"redis://:{redis.password}@127.0.0.1:{redis.port}",
            "DATABASE_URL": postgres.url,
        }
        first = made.first.product
        try:
            made.first.run("up", "--no-demo", "--port", str(first.port))
            first.environment = {**first.environment, **here}
            until(first.has_gpus, 90, first.said)
            made.second.run("worker")
            until(lambda: made.nodes_in_the_pool() == {"first", "second"}, 60, first.said)
            yield made
        finally:
            for one in (made.second, made.first):
                one.product.stop(signal.SIGTERM)
                assert not one.product.processes()


def start(site: Site, name: str, seconds: str) -> None:
    """A search of ten; returns when both nodes run some of its second round."""
    first = site.first.product
    first.tune(diary_job(first, name, VALUES, seconds, max_parallel_experiments=4))
    until(lambda: ends(site, name) >= 4, WITHIN, first.said)
    until(lambda: {one["node"] for one in running(site, name)} == {"first", "second"}, WITHIN)


def ends(site: Site, name: str) -> int:
    return [entry[2] for entry in entries(site.first.product, name)].count("end")


def running(site: Site, name: str) -> list[Any]:
    experiments = site.first.product.json("show", name)["experiments"]
    return [one for one in experiments if one["status"] in ("DEPLOYING", "BENCHMARKING")]


def test_a_search_ends_right_though_one_of_its_nodes_is_lost(site: Site) -> None:
    start(site, "lost-node", "5")
    site.second.kill()
    killed = time.monotonic()
    lost = {one["parameters"]["x"] for one in running(site, "lost-node") if one["node"] == "second"}
    task = ended_right(site.first.product, "lost-node", VALUES)
    again = {x for x, attempt in attempts(task).items() if attempt > 1}
    assert again == lost and lost
    for one in task["experiments"]:
        assert one["attempt"] == 1 or one["node"] == "first"
    print(f"ended {time.monotonic() - killed:.1f} s after the kill, again: {again}")
    assert site.nodes_in_the_pool() == {"first"}
    # It comes back, and is used again
    site.second.run("worker")
    until(lambda: site.nodes_in_the_pool() == {"first", "second"}, 60)
    start(site, "after", "4")
    ended_right(site.first.product, "after", VALUES)


def test_a_node_that_is_cut_off_stops_what_it_runs_and_comes_back(site: Site) -> None:
    net = site.second.network
    if not net.prefix:
        pytest.skip("no right to make a network namespace")
    name, first = "cut-off", site.first.product
    first.tune(diary_job(first, name, VALUES, "4", max_parallel_experiments=4))
    begun(first, name, 4)
    net.cut(True)
    cut = time.monotonic()

    def own_programs() -> list[psutil.Process]:
        return [p for p in site.second.product.processes() if p.cmdline()[:1] == ["sleep"]]

    task = ended_right(first, name, VALUES)
    print(f"ended {time.monotonic() - cut:.1f} s after the cut")
    assert not own_programs()
    assert {one["node"] for one in task["experiments"] if one["attempt"] > 1} <= {"first"}
    net.cut(False)
    until(lambda: site.nodes_in_the_pool() == {"first", "second"}, 60)
    assert ends(site, name) >= len(VALUES)
    start(site, "after-the-cut", "4")
    ended_right(first, "after-the-cut", VALUES)
