"""The GPUs of all nodes, and who may use which of them until when, kept in Redis.

Every key begins with the prefix, which is a hash tag, so that all are in one slot of a cluster:

    nodes    hash: node -> JSON list of its GPUs, as last published
    heard    zset: node, scored by the millisecond it was last heard from
    leases   hash: lease id -> JSON of the lease, without its end
    ends     zset: lease id, scored by the millisecond the lease ends
    waiting  hash: holder -> JSON of the request that waits, when it first came and was last seen
    token    the newest lease token, a counter

A lease whose end has passed counts for nothing, whether or not it is still written there. Which
GPUs are held, and how many leases a group has, is read from the leases and kept nowhere else.
All times are of Redis's clock. Each change is one script of lua/.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from gpupool.inventory import Gpu
from gpupool.leases import KeepAlive, Lease
from gpupool.scripts import load

SILENT_AFTER = 30.0  # seconds without a word from a node until nothing is granted on it
FORGOTTEN_AFTER = 24 * 3600.0  # seconds until a silent node is no longer listed
WAITS_FOR = 60.0  # seconds for which a request that is not repeated keeps its place


@dataclass(frozen=True)
class GpuState(Gpu):
    """A GPU, and who has it: `state` is `free`, `leased`, or `silent` (its node is not heard)."""

    state: str = "free"
    lease_id: str | None = None
    holder: str | None = None


@dataclass(frozen=True)
class Waiting:
    """A request that was not granted yet; `since` in seconds of Redis's clock."""

    holder: str
    group: str
    gpus: int
    since: float


@dataclass(frozen=True)
class _Content:
    """What the pool held at one moment; of the leases, those that had not ended."""

    gpus: dict[str, list[Gpu]]
    heard: frozenset[str]
    leases: list[Lease]


class GpuPool:
    """Grants GPUs to holders and keeps the time; safe to use from many threads and machines."""

    def __init__(self, redis: redis.Redis, ttl: float = 60.0, prefix: str = "{gpupool}") -> None:
        """A pool whose leases live for `ttl` seconds after the last renewal.

        Nothing is sent to Redis yet. On a Redis cluster `prefix` must be a hash tag, in braces.
        """
        if ttl <= 0:
            raise ValueError(f"ttl: {ttl} is not above 0")
        self.redis = redis
        self.ttl = ttl
        self.prefix = prefix
        self._acquire = load(redis, "acquire")
        self._renew = load(redis, "renew")
        self._finish = load(redis, "finish")
        self._publish = load(redis, "publish")

    def publish(self, node: str, gpus: Sequence[Gpu]) -> None:
        """Say that the node is alive and has these GPUs now, and no others."""
        self._publish(
            keys=self._keys("nodes", "heard"),
            args=[node, json.dumps([asdict(gpu) for gpu in gpus]), _ms(FORGOTTEN_AFTER)],
        )

    def withdraw_node(self, node: str) -> None:
        """Grant nothing on this node any more; the leases on it go on until they end."""
        nodes, heard = self._keys("nodes", "heard")
        with self.redis.pipeline() as transaction:
            transaction.hdel(nodes, node)
            transaction.zrem(heard, node)
            transaction.execute()

    def acquire(
        self,
        holder: str,
        gpus: int = 1,
        min_memory_mb: int = 0,
        group: str = "",
        group_limit: int = 0,
        priority: int = 0,
    ) -> Lease | None:
        """A lease of that many GPUs of one node, or None: then the request waits for its turn.

        Each GPU has at least `min_memory_mb` MiB free, and a group never has more than
        `group_limit` leases (0: no limit). A higher priority goes first, then the older request.
        A request that waits keeps its place only while it is repeated at least every WAITS_FOR
        seconds. A holder that has a lease gets that same lease, whatever it asks for.
        """
        if gpus < 1:
            raise ValueError(f"gpus: {gpus} is not 1 or more")
        request = {
            "holder": holder,
            "gpus": gpus,
            "min_memory_mb": min_memory_mb,
            "group": group,
            "group_limit": group_limit,
            "priority": priority,
        }
        granted = self._acquire(
            keys=self._keys("nodes", "heard", "leases", "ends", "waiting", "token"),
            args=[
                json.dumps(request),
                uuid.uuid4().hex,
                _ms(self.ttl),
                _ms(SILENT_AFTER),
                _ms(WAITS_FOR),
            ],
        )
        return None if granted is None else _lease(*granted)

    def stop_waiting(self, holder: str) -> None:
        """Forget the holder's request, if it waits."""
        self.redis.hdel(self._key("waiting"), holder)

    def renew(self, lease_id: str) -> bool:
        """Let the lease end `ttl` seconds from now; False when it had ended."""
        return bool(self._renew(keys=self._keys("ends"), args=[lease_id, _ms(self.ttl)]))

    def release(self, lease_id: str) -> bool:
        """End the lease; False when it had ended."""
        return bool(self._finish(keys=self._keys("leases", "ends"), args=[lease_id]))

    def reap(self) -> list[Lease]:
        """Clear away the leases whose time is over and return them: each is returned once."""
        ended = self._finish(keys=self._keys("leases", "ends"), args=[""])
        return [_lease(*pair) for pair in zip(ended[::2], ended[1::2], strict=True)]

    def keep_alive(self, lease: Lease) -> KeepAlive:
        """A context manager that renews the lease, and knows when it is lost."""
        return KeepAlive(lambda: self.renew(lease.id), self.ttl, name=lease.id)

    def leases(self) -> list[Lease]:
        """The leases that have not ended, oldest first."""
        return self._read().leases

    def lease(self, lease_id: str) -> Lease | None:
        """The lease with this id, or None when it has ended."""
        return next((lease for lease in self.leases() if lease.id == lease_id), None)

    def gpus(self) -> list[GpuState]:
        """Every GPU with its state, by node and index."""
        content = self._read()
        lease_of = {gpu: lease for lease in content.leases for gpu in lease.gpus}
        states = []
        for node, gpus in sorted(content.gpus.items()):
            state = "free" if node in content.heard else "silent"
            for gpu in sorted(gpus, key=lambda gpu: gpu.index):
                lease = lease_of.get(gpu.uuid)
                fields = {**vars(gpu), "state": "leased" if lease else state}
                if lease:
                    fields |= {"lease_id": lease.id, "holder": lease.holder}
                states.append(GpuState(**fields))
        return states

    def waiting(self) -> list[Waiting]:
        """The requests that wait, in the order in which their turn comes."""
        now = self.time()
        texts: list[str] = self.redis.hvals(self._key("waiting"))  # type: ignore[assignment]
        requests = [json.loads(text) for text in texts]
        requests.sort(key=lambda one: (-one["priority"], one["since"], one["holder"]))
        return [
            Waiting(one["holder"], one["group"], one["gpus"], one["since"] / 1000)
            for one in requests
            if one["seen"] / 1000 >= now - WAITS_FOR
        ]

    def size(self) -> int:
        """How many GPUs the nodes that are heard from have, leased or not."""
        return sum(self._sizes())

    def largest_node(self) -> int:
        """How many GPUs a lease may have at most: those of the largest node heard from."""
        return max(self._sizes(), default=0)

    def time(self) -> float:
        """Redis's clock, in seconds."""
        return _seconds(self.redis.time())

    def _sizes(self) -> list[int]:
        content = self._read()
        return [len(content.gpus[node]) for node in content.heard & content.gpus.keys()]

    def _read(self) -> _Content:
        """Everything but the queue, of one moment."""
        nodes, heard, leases, ends = self._keys("nodes", "heard", "leases", "ends")
        with self.redis.pipeline() as transaction:
            transaction.time()
            transaction.hgetall(nodes)
            transaction.zrange(heard, 0, -1, withscores=True)
            transaction.hgetall(leases)
            transaction.zrange(ends, 0, -1, withscores=True)
            time, gpus_of, heard_at, lease_of, ends_at = transaction.execute()
        now = _seconds(time)
        return _Content(
            gpus={node: _gpus(text) for node, text in gpus_of.items()},
            heard=frozenset(node for node, at in heard_at if at / 1000 >= now - SILENT_AFTER),
            leases=sorted(
                (
                    _lease(lease_of[lease_id], at)
                    for lease_id, at in ends_at
                    if at / 1000 > now and lease_id in lease_of
                ),
                key=lambda lease: lease.token,
            ),
        )

    def _key(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    def _keys(self, *names: str) -> list[str]:
        return [self._key(name) for name in names]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(time: Any) -> float:
    """What TIME answers: seconds and microseconds."""
    seconds, microseconds = time
    return int(seconds) + int(microseconds) / 1_000_000


def _lease(text: str, ends_ms: str | float) -> Lease:
    return Lease.from_json(text, ends_at=float(ends_ms) / 1000)


def _gpus(text: str) -> list[Gpu]:
    return [Gpu(**{**fields, "cores": tuple(fields["cores"])}) for fields in json.loads(text)]
