"""What the GPU pool promises, as a short model in Python: it decides by the same rules, plainly."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpupool import Lease as PoolLease

# All times here are milliseconds, as in state.lua
LONGEST_STEP, WRITE_EVERY = 5_000, 20
SILENT_AFTER, WAITS_FOR, USUAL_DURATION = 10_000, 60_000, 300_000


@dataclass
class Request:
    """Somebody who wants GPUs. `number` counts requests, for those with one age."""

    holder: str
    gpus: int
    memory: int
    host: int
    group: str
    limit: int
    priority: int
    expected: int
    since: int = 0
    number: int = 0
    until: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        return -self.priority, self.since, self.number

    def is_like(self, other: "Request") -> bool:
        """Whether it asks for the same."""
        mine, others = ((*vars(one).values(),)[:7] for one in (self, other))
        return mine == others


@dataclass
class Lease:
    """`id`, `token` and `gpus` are for the pool to choose: see `Model.adopt`."""

    request: Request
    node: str
    ends: int
    frees: int
    id: str = ""
    token: int = 0
    gpus: tuple[str, ...] = ()
    revoked: bool = False


@dataclass
class Node:
    """What a node offers: all its GPUs have the same memory."""

    gpus: tuple[str, ...]
    memory: int
    host: int
    silent_at: int


class Model:
    """Everything in the pool; one method for each thing that is done to it."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.lose_everything()

    def lose_everything(self) -> None:
        self.clock = self.wall = self.now = self.opens = self.token = self.number = 0
        self.is_new = self.is_restarted = True
        self.nodes: dict[str, Node] = {}
        self.draining: set[str] = set()
        self.quarantined: dict[str, int] = {}  # Until when; below 0: until it is restored
        self.leases: dict[str, Lease] = {}  # By holder
        self.waiting: dict[str, Request] = {}  # By holder
        self.limits: dict[str, int] = {}
        self.reserved: dict[str, str] = {}  # The node that a holder waits for

    # Time

    def begin(self, wall: int) -> int:
        """The clock, lost data, and what time has ended. Returns how far the clock went."""
        passed = 0 if self.is_new else wall - self.wall
        step = max(0, passed)
        if self.leases or self.opens > self.clock:
            step = min(step, LONGEST_STEP)
        self.now = wall if self.is_new else self.clock + step
        is_first = self.is_new or not 0 <= passed < WRITE_EVERY
        if is_first:
            self.clock, self.wall = self.now, wall
        if self.is_new or self.is_restarted:
            self.opens = self.now + self.ttl
            self.token = max(self.token, wall * 10)
            self.is_new = self.is_restarted = False
        self.leases = {name: one for name, one in self.leases.items() if one.ends > self.now}
        for holder in [one.holder for one in self.waiting.values() if one.until <= self.now]:
            self.leave(holder)
        for uuid in [uuid for uuid, at in self.quarantined.items() if 0 <= at <= self.now]:
            del self.quarantined[uuid]
        self.nodes = {name: one for name, one in self.nodes.items() if one.silent_at > self.now}
        return step

    # Nodes

    def publish(self, name: str, gpus: Sequence[str], memory: int, host: int) -> None:
        if name not in self.draining:
            self.nodes[name] = Node(tuple(gpus), memory, host, self.now + SILENT_AFTER)

    def withdraw(self, name: str) -> None:
        self.nodes.pop(name, None)

    def drain(self, name: str) -> None:
        self.draining.add(name)
        self.withdraw(name)

    def undrain(self, name: str) -> None:
        self.draining.discard(name)

    def quarantine(self, uuid: str, ms: int) -> None:
        self.quarantined[uuid] = -1 if ms < 0 else self.now + ms

    # Holders

    def ask(self, request: Request) -> None:
        old = self.waiting.get(request.holder)
        if request.holder in self.leases:
            return
        if old and old.is_like(request):
            old.until = self.now + WAITS_FOR
            return
        request.since = old.since if old else min(self.now, request.since or self.now)
        self.leave(request.holder)
        self.wait(request)

    def wait(self, request: Request) -> None:
        self.number += 1
        request.number, request.until = self.number, self.now + WAITS_FOR
        self.waiting[request.holder] = request
        self.limits[request.group] = request.limit

    def leave(self, holder: str) -> None:
        self.waiting.pop(holder, None)
        self.reserved.pop(holder, None)

    def lease_of(self, holder: str) -> Lease | None:
        """Its lease; after lost data, not before all holders could say what they hold."""
        return self.leases.get(holder) if self.now >= self.opens else None

    def find(self, lease_id: str) -> Lease | None:
        return next((one for one in self.leases.values() if one.id == lease_id), None)

    def renew(self, lease: Lease) -> bool:
        known = self.find(lease.id)
        if known and known.revoked:
            return False
        if not known:
            rivals = [
                one
                for holder, one in self.leases.items()
                if holder == lease.request.holder or set(one.gpus) & set(lease.gpus)
            ]
            if self.now >= self.opens or any(one.token > lease.token for one in rivals):
                return False
            for one in rivals:
                del self.leases[one.request.holder]
            self.token = max(self.token, lease.token)
            known = self.leases[lease.request.holder] = replace(lease)
            self.leave(lease.request.holder)
        known.ends = self.now + self.ttl
        return True

    def release(self, lease_id: str) -> Lease | None:
        lease = self.find(lease_id)
        return lease and self.leases.pop(lease.request.holder)

    def refuse(self, lease_id: str, uuid: str, ms: int) -> bool:
        lease = self.release(lease_id)
        if lease:
            self.quarantine(uuid, ms)
            self.wait(replace(lease.request))
        return lease is not None

    def revoke(self, lease_id: str) -> bool:
        lease = self.find(lease_id)
        if lease:
            lease.revoked = True
        return lease is not None

    # The order

    def eligible(self) -> list[Request]:
        """Who waits within the limit of its group, in the order of their turn."""
        count = Counter(lease.request.group for lease in self.leases.values())
        turn = []
        for request in sorted(self.waiting.values(), key=lambda one: one.order):
            limit = self.limits[request.group] if request.group else 0
            if not limit or count[request.group] < limit:
                count[request.group] += 1
                turn.append(request)
        return turn

    def schedule(self) -> list[tuple[str, str]]:
        """Grant what can be granted. Returns who got something on which node, in order."""
        turn = self.eligible()
        waits = {one.holder for one in turn}
        self.reserved = {name: node for name, node in self.reserved.items() if name in waits}
        left = {name: len(self.free(node)) for name, node in self.nodes.items()}
        granted, taken, host_kept, idle = [], set(), set(), set()
        for request in turn if self.now >= self.opens else ():
            shape = request.gpus, request.memory, request.host
            if not any(left.values()):
                break
            if shape in idle:
                continue
            fitting = [
                (left[name], name)
                for name, node in self.nodes.items()
                if left[name] >= request.gpus and node.memory >= request.memory
                if not request.host or (name not in host_kept and self.host_fits(name, request))
            ]
            if fitting:
                name = min(fitting)[1]  # So that whole nodes stay whole
                left[name] -= request.gpus
                self.grant(request, name)
                granted.append((request.holder, name))
                continue
            name = ""
            if request.gpus > 1 or request.host:
                name = self.reservation(request, taken)
            if not name:  # Nothing for anybody who asks for the same
                idle.add(shape)
                continue
            taken.add(name)
            host_kept |= {name} if request.host else set()
            left[name] -= min(left[name], request.gpus)
        return granted

    def free(self, node: Node) -> set[str]:
        held = {uuid for lease in self.leases.values() for uuid in lease.gpus}
        return set(node.gpus) - held - set(self.quarantined)

    def host_fits(self, name: str, request: Request) -> bool:
        reserved = sum(one.request.host for one in self.leases.values() if one.node == name)
        return reserved + request.host <= self.nodes[name].host

    def grant(self, request: Request, name: str) -> None:
        self.leave(request.holder)
        frees = self.now + (request.expected or USUAL_DURATION)
        some = tuple(sorted(self.free(self.nodes[name]))[: request.gpus])
        self.leases[request.holder] = Lease(request, name, self.now + self.ttl, frees, gpus=some)

    def free_at(self, name: str, request: Request) -> int | None:
        """When the node will be free for the request; None when it is too small for it."""
        node = self.nodes.get(name)
        if not node or node.memory < request.memory or node.host < request.host:
            return None
        frees = {uuid: one.frees for one in self.leases.values() for uuid in one.gpus}
        times = sorted(
            max(self.now, frees.get(uuid, 0), self.quarantined.get(uuid, 0))
            for uuid in node.gpus
            if self.quarantined.get(uuid, 0) >= 0
        )
        return times[request.gpus - 1] if len(times) >= request.gpus else None

    def reservation(self, request: Request, taken: set[str]) -> str:
        """The node that it has reserved, else the one that is free soonest; "": none."""
        own = self.reserved.get(request.holder, "")
        if own not in taken and self.free_at(own, request) is not None:
            return own
        times = {name: self.free_at(name, request) for name in set(self.nodes) - taken}
        chosen = min(((at, name) for name, at in times.items() if at is not None), default=(0, ""))
        self.reserved[request.holder] = chosen[1]
        return chosen[1]

    def adopt(self, chosen: Sequence[PoolLease]) -> None:
        """Take over what was the pool's choice, after a look at it."""
        for lease in chosen:
            self.leases[lease.holder].gpus = ()
        for lease in chosen:
            mine = self.leases[lease.holder]
            self.token += 1
            assert lease.token == self.token
            assert len(set(lease.gpus)) == mine.request.gpus == len(lease.gpus)
            assert set(lease.gpus) <= self.free(self.nodes[lease.node])
            mine.id, mine.token, mine.gpus = lease.id, lease.token, lease.gpus
