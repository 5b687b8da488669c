"""The GPUs of all nodes, and who may use which of them until when, kept in Redis.

What is kept there is listed in scripts.py; each change is one script of lua/, and order.lua has the
whole policy. What the pool promises, and what it does not, is in docs/pool.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from threading import Event
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisClusterException

from gpupool.inventory import Gpu
from gpupool.leases import HELD, TAKEN_AWAY, KeepAlive, Lease, granted
from gpupool.notices import Notices
from gpupool.offers import offer
from gpupool.request import LeaseRequest
from gpupool.scripts import KEYS, command, source
from gpupool.snapshot import GpuState, NodeState, Snapshot, Waiting, parse

WAITS_FOR = 60.0  # seconds for which a request that is not repeated keeps its place: state.lua
LARGEST_PRIORITY = 999_999


class GpuPool:
    """Grants GPUs to holders and keeps the time; safe to use from many threads and machines."""

    def __init__(
        self,
        redis: redis.Redis,
        ttl: float = 60.0,
        prefix: str = "{gpupool}",
        loses_nothing: bool = False,
    ) -> None:
        """A pool whose leases live for `ttl` seconds after the last renewal.

        Nothing is sent to Redis yet. On a Redis cluster `prefix` must be a hash tag, in braces.
        `loses_nothing` says that this Redis, restarted, has all that it had confirmed (an
        append-only file on the one machine that all holders run on): else nothing is granted
        for `ttl` seconds after every restart and failover.
        """
        if ttl <= 0:
            raise ValueError(f"ttl: {ttl} is not above 0")
        self.redis = redis
        self.ttl = ttl
        self.prefix = prefix
        self.loses_nothing = loses_nothing
        self._keys = [f"{prefix}:{name}".encode() for name in KEYS]  # Once, and not at each call
        self._first = (str(_ms(ttl)).encode(), b"" if loses_nothing else b"1")
        self._commands: dict[str, tuple[Any, ...]] = {}

    # ── nodes ───────────────────────────────────────────────────────────────────────────────

    def initialise(self) -> bool:
        """Say that this pool is new, so that it grants at once; whether it is.

        To be called before anything else is done with a Redis that was never used before: then
        nobody can hold a lease that it has lost.
        """
        return bool(self._call("initialise"))

    def publish(self, node: str, gpus: Sequence[Gpu], host_memory_mb: int = 0) -> None:
        """Say that the node is alive and has these GPUs now, and no others.

        `host_memory_mb` is what all leases of the node may have together; 0: not known, and
        requests that name a minimum are not granted there.
        """
        described = {"gpus": [asdict(gpu) for gpu in gpus], "host_memory_mb": host_memory_mb}
        self._call("publish", node, json.dumps(described), offer(gpus, host_memory_mb))

    def withdraw_node(self, node: str) -> None:
        """Grant nothing on this node any more; the leases on it go on until they end."""
        self._call("withdraw", node)

    # ── holders ─────────────────────────────────────────────────────────────────────────────

    def lease(
        self,
        gpus: int = 1,
        min_memory_mb: int = 0,
        holder: str = "",
        timeout: float | None = None,
        **request: Any,
    ) -> LeaseRequest:
        """`with pool.lease(…) as lease:` waits for its turn, holds the GPUs, gives them back.

        Also `async with`. `holder` is for people. What else `acquire` takes may be given. Raises
        LeaseTimeout when nothing was granted in `timeout` seconds (None: waits for ever), and
        LeaseLost at the end when the lease was lost meanwhile: look at `lease.lost`, or call
        `lease.check()`, wherever the work can stop.
        """
        return LeaseRequest(
            self, holder, timeout, {"gpus": gpus, "min_memory_mb": min_memory_mb, **request}
        )

    def acquire(self, holder: str, gpus: int = 1, **request: Any) -> Lease | None:
        """A lease of GPUs of one node, or None: then the request waits for its turn.

        What else `ask` takes may be given.
        """
        answer = self.ask(holder, gpus, **request)
        return answer if isinstance(answer, Lease) else None

    def ask(
        self,
        holder: str,
        gpus: int = 1,
        min_memory_mb: int = 0,
        group: str = "",
        group_limit: int = 0,
        priority: int = 0,
        min_host_memory_mb: int = 0,
        expected: float = 0.0,
        since: float | None = None,
    ) -> Lease | float:
        """A lease of that many GPUs of one node, or since when the request waits.

        Each GPU has at least `min_memory_mb` MiB free, and the node so much host memory that no
        lease has reserved. A group never has more than `group_limit` leases (0: no limit). A higher
        priority goes first, then the older request; `since` is the age of one that waited
        before. `expected` is for how many seconds the GPUs will be used, if that is known: a wide
        request waits for the node that will be free soonest.
        A request that waits keeps its place only while it is repeated at least every WAITS_FOR
        seconds. A holder that has a lease gets that same lease, whatever it asks for.
        """
        if gpus < 1:
            raise ValueError(f"gpus: {gpus} is not 1 or more")
        if abs(priority) > LARGEST_PRIORITY:
            raise ValueError(f"priority: {priority} is not within ±{LARGEST_PRIORITY}")
        for name, text in (("holder", holder), ("group", group)):
            if min(text, default=" ") < " ":
                raise ValueError(f"{name}: {text!r} has control characters")
        age = "" if since is None else _ms(since)
        terms = (gpus, min_memory_mb, min_host_memory_mb, group, group_limit, priority, expected)
        answer = self._call("acquire", "\n".join(map(str, (holder, *terms, age))))
        return answer / 1000 if isinstance(answer, int) else granted(answer)

    def stop_waiting(self, holder: str) -> Lease | None:
        """Forget the holder's request. The lease, if it was granted one meanwhile."""
        answer = self._call("leave", holder)
        return answer and granted(answer)

    def renew(self, lease: Lease, take_up: bool = True) -> str:
        """Let the lease end `ttl` seconds from now: HELD; anything else is why it is lost.

        `take_up` says that it has not ended for sure, as far as time goes: one that Redis has lost
        is written down again.
        """
        answer: str = self._call("renew", lease.id, lease.to_json() if take_up else "")
        if answer == HELD:
            return HELD
        by = answer.removeprefix("revoked ")
        return "its lease has ended" if by == answer else f"{TAKEN_AWAY}{by}"

    def release(self, lease_id: str) -> bool:
        """End the lease, and hand its GPUs on; False when it had ended."""
        return bool(self._call("release", lease_id))

    def refuse(self, lease: Lease, doubts: Mapping[str, str], seconds: float) -> bool:
        """Give the lease back because some GPUs cannot be used, and wait again with the age it had.

        `doubts` is why, by GPU; these are quarantined for so many seconds. False when the lease
        had ended: then nothing is changed.
        """
        return bool(self._call("refuse", lease.id, _ms(seconds), json.dumps(dict(doubts))))

    def reap(self) -> list[Lease]:
        """End the leases whose time is over and return those that no other call has ended."""
        return [granted(told) for told in self._call("tick")]

    def keep_alive(self, lease: Lease, **options: Any) -> KeepAlive:
        """A context manager that renews the lease, and knows when it is lost.

        `options` are those of KeepAlive: `on_loss`, and `granted_after`: with that, a lease which
        may have ended is never taken up again after lost data.
        """
        if "granted_after" in options:
            options["first_renew"] = lambda: self.renew(lease, take_up=False)
        bell = Notices(self.redis, f"{self.prefix}:told:{lease.id}")
        return KeepAlive(lambda: self.renew(lease), self.ttl, bell, lease.id, **options)

    def notices(self, holder: str) -> Notices:
        """The leases that are granted to a holder that waits, or to all that match a pattern."""
        channel = f"{self.prefix}:granted:{holder}"
        return Notices(self.redis, channel, is_pattern="*" in holder)

    def grants(self, holders: str, stop: Event, at_least_every: float) -> Any:
        """The leases granted to holders that match a pattern, as they are granted.

        None when some may have been missed, and at least every so many seconds: look yourself.
        """
        for text in self.notices(holders).each(stop, at_least_every):
            yield granted(text) if text else None

    # ── operators ───────────────────────────────────────────────────────────────────────────

    def quarantine(self, uuid: str, why: str, seconds: float | None = None) -> None:
        """Grant this GPU to nobody for so long, None: until `restore`. A lease on it goes on.

        Raises LookupError when there is no such GPU.
        """
        node = next((gpu.node for gpu in self.gpus() if gpu.uuid == uuid), None)
        if node is None:
            raise LookupError(f"there is no GPU {uuid!r} in the pool")
        self._call("quarantine", uuid, node, why, -1 if seconds is None else _ms(seconds))

    def restore(self, uuid: str) -> bool:
        """End a GPU's quarantine; False when it had none."""
        return bool(self._call("restore", uuid))

    def drain(self, node: str, why: str) -> None:
        """Grant nothing more on this node, until `undrain`; what runs there goes on."""
        self._call("drain", node, why)

    def undrain(self, node: str) -> None:
        """Grant on this node again."""
        self._call("drain", node, "")

    def revoke(self, lease_id: str, by: str) -> bool:
        """Take a lease away: its holder is told, and has the rest of its time to stop.

        Its GPUs are free when the holder gives them back, at the latest when the lease ends.
        False when it had ended.
        """
        return bool(self._call("revoke", lease_id, by))

    def set_limit(self, group: str, limit: int) -> None:
        """Change how many leases a group may have at once (0: any number). Who has one keeps it."""
        if limit < 0:
            raise ValueError(f"limit: {limit} is not 0 or more")
        self._call("limit", group, limit)

    # ── readers ─────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """Everything at one moment."""
        return parse(self._call("read"))

    def leases(self) -> list[Lease]:
        """The leases that have not ended, oldest first."""
        return self.snapshot().leases

    def find(self, lease_id: str) -> Lease | None:
        """The lease with this id, or None when it has ended."""
        answer = self._call("find", lease_id)
        return answer and granted(answer)

    def gpus(self) -> list[GpuState]:
        """Every GPU with its state, by node and index."""
        return self.snapshot().gpus

    def nodes(self) -> list[NodeState]:
        """Every node, by name."""
        return self.snapshot().nodes

    def waiting(self) -> list[Waiting]:
        """The requests that wait, in the order in which their turn comes."""
        return self.snapshot().waiting

    def size(self) -> int:
        """How many GPUs the nodes that are heard from have, leased or not."""
        return sum(self._sizes())

    def largest_node(self) -> int:
        """How many GPUs a lease may have at most: those of the largest node heard from."""
        return max(self._sizes(), default=0)

    def time(self) -> float:
        """Redis's clock, in seconds."""
        seconds, microseconds = self.redis.time()  # type: ignore[misc]
        return int(seconds) + int(microseconds) / 1_000_000

    def _sizes(self) -> list[int]:
        return [node.gpus for node in self.nodes() if node.state != "silent"]

    def _call(self, name: str, *arguments: Any) -> Any:
        """What the script answers; it is sent first to a Redis that does not know it."""
        begin = self._commands.get(name)
        if begin is None:
            begin = self._commands[name] = (*command(source(name), self._keys), *self._first)
        try:
            try:
                return self.redis.evalsha(*begin, *arguments)
            except NoScriptError:
                self.redis.script_load(source(name))
                return self.redis.evalsha(*begin, *arguments)
        except RedisClusterException as error:  # Which is no RedisError
            raise redis.ConnectionError(str(error)) from error


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
