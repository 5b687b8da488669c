"""A pool and its model side by side, and the holders, who believe what they were told."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import redis

from gpupool import HELD, Gpu, GpuPool, Lease
from tests.integration.pool_model import Lease as Known
from tests.integration.pool_model import Model, Request
from tests.integration.virtual_pool import VirtualPool, audit, decoded, in_book

TTL = 60_000  # All times are milliseconds
MARGIN = TTL // 6  # Before a lease ends, its holder has stopped
BEGIN = 1_700_000_000_123

# Its GPUs, their memory and its own
NODES = {"n1": (4, 80_000, 100), "n2": (2, 80_000, 0), "n3": (3, 24_000, 64)}
UUIDS = [(f"{name}-{index}", name) for name, (count, *_) in NODES.items() for index in range(count)]


@dataclass
class Belief:
    """What a holder knows: it may use its GPUs until a while after its last renewal."""

    lease: Lease
    known: Known
    renewed: int
    gained: int


class World:
    """A pool, its model, and the holders, each of which believes what it was told."""

    def __init__(self, client: redis.Redis, loses_nothing: bool) -> None:
        client.flushdb()
        self.pool = VirtualPool(client, TTL / 1000, "{model}", loses_nothing=loses_nothing)
        self.model = Model(TTL)
        self.real, self.wall, self.last = 0, BEGIN, 0
        self.gained = 0  # By how much the pool's clock was faster than time, in all
        self.highest = 0
        self.beliefs: dict[str, Belief] = {}
        self.asked: dict[str, tuple[Request, float | None]] = {}  # And since when
        self.old: deque[Belief] = deque(maxlen=6)
        self.shown = 0
        self.done = 0  # How often something was done to both
        self.run(GpuPool.initialise, lambda model: setattr(model, "opens", model.now))

    # Time

    def pass_time(self, ms: int) -> None:
        self.real += ms
        self.wall += ms

    def run(self, on_pool: Callable[[Any], Any], on_model: Callable[[Model], Any]) -> Any:
        """Do the same to both. Returns what the pool answered, and the model."""
        if self.shown != self.wall:
            self.pool.set_time(self.wall)
            self.shown = self.wall
        self.done += 1
        fresh = self.model.is_new or self.model.is_restarted
        step = self.model.begin(self.wall)
        if fresh and self.wall * 10 <= self.highest:
            self.highest = 0  # The clock was put back and data is lost: nobody knows the tokens
        if not fresh:
            self.gained += max(0, step - (self.real - self.last))
        self.last = self.real
        expected = on_model(self.model)
        granted = self.model.schedule()
        answer = on_pool(self.pool)
        self.compare(granted)
        return answer, expected

    # What must be true

    def compare(self, granted: list[tuple[str, str]]) -> None:
        model, books = self.model, self.pool.books()
        known = {lease.id for lease in model.leases.values()}
        found = {name: decoded(text) for name, text in in_book(books, "lease").items()}
        new = sorted((one for name, one in found.items() if name not in known), key=by_token)
        assert [(one["holder"], one["node"]) for one in new] == granted
        leases = [Lease(**{**one, "gpus": tuple(one["gpus"]), "ends_at": 0.0}) for one in new]
        model.adopt(leases)
        for lease in leases:
            self.believe(lease, model.leases[lease.holder])
        assert {name: float(books["due"][f"lease {name}"]) for name in found} == {
            lease.id: lease.ends for lease in model.leases.values()
        }
        waiting = sorted(
            map(decoded, in_book(books, "request").values()), key=lambda one: one["order"]
        )
        mine = sorted(model.waiting.values(), key=lambda one: one.order)
        assert [(one["holder"], one["since"]) for one in waiting] == [
            (one.holder, one.since) for one in mine
        ]
        assert {
            name.split("\0")[2] for name in books["queue"] if not name.startswith("group ")
        } == {one.holder for one in model.eligible()}
        assert in_book(books, "reserved") == {
            name: node for name, node in model.reserved.items() if node
        }
        assert in_book(books, "offer").keys() == model.nodes.keys()
        pool = {name: int(books["book"].get(name, 0)) for name in ("clock", "opens", "token")}
        assert pool == {"clock": model.clock, "opens": model.opens, "token": model.token}
        audit(books)
        self.nobody_shares()

    def nobody_shares(self) -> None:
        """No GPU has two holders that believe to have it."""
        users: dict[str, str] = {}
        for holder, belief in self.beliefs.items():
            # A clock that steps forward counts, each time for LONGEST_STEP at most: what is
            # promised is that as many steps do no harm as the margin has room for.
            if self.believes(holder) and self.gained - belief.gained <= MARGIN:
                for uuid in belief.lease.gpus:
                    assert uuid not in users, f"{users[uuid]} and {holder} use {uuid}"
                    users[uuid] = holder

    def believes(self, holder: str) -> bool:
        belief = self.beliefs.get(holder)
        return belief is not None and self.real < belief.renewed + TTL - MARGIN

    # What holders do

    def believe(self, lease: Lease, known: Known) -> None:
        assert lease.token > self.highest
        self.highest = lease.token
        self.beliefs[lease.holder] = Belief(lease, replace(known), self.real, self.gained)

    def forget(self, holder: str) -> Belief:
        self.old.append(self.beliefs.pop(holder))
        return self.old[-1]

    def ask(self, request: Request, since: float | None = None) -> None:
        self.asked[request.holder] = (request, since)
        words = (request.gpus, request.memory, request.group, request.limit, request.priority)
        answer, _ = self.run(
            lambda pool: pool.ask(
                request.holder, *words, request.host, request.expected / 1000, since
            ),
            lambda model: model.ask(replace(request, since=round((since or 0) * 1000))),
        )
        lease = self.model.lease_of(request.holder)
        assert isinstance(answer, Lease) == (lease is not None)
        if isinstance(answer, Lease):
            assert lease and (answer.id, answer.gpus) == (lease.id, lease.gpus)
            self.begin_to_use(answer, lease)
        else:
            self.asked[request.holder] = (request, answer)

    def begin_to_use(self, lease: Lease, known: Known) -> None:
        """Nobody knows how much time is left of a lease that was there; renewed, all of it."""
        if lease.holder not in self.beliefs or self.beliefs[lease.holder].lease.id != lease.id:
            self.beliefs[lease.holder] = Belief(lease, replace(known), -TTL, self.gained)
        self.renew(self.beliefs[lease.holder])

    def renew(self, belief: Belief) -> None:
        answer, held = self.run(
            lambda pool: pool.renew(belief.lease), lambda model: model.renew(belief.known)
        )
        assert (answer == HELD) == held
        current = self.beliefs.get(belief.lease.holder)
        if current is belief and held:
            belief.renewed, belief.gained = self.real, self.gained
        elif current is belief:
            self.forget(belief.lease.holder)

    def renew_all(self) -> None:
        """Whoever does not use its GPUs any more has stopped for good, and renews nothing."""
        for belief in list(self.beliefs.values()):
            if self.believes(belief.lease.holder):
                self.renew(belief)

    def release(self, lease: Lease) -> None:
        answer, expected = self.run(
            lambda pool: pool.release(lease.id), lambda model: model.release(lease.id)
        )
        assert answer == (expected is not None)

    def publish(self, name: str, count: int | None = None) -> None:
        most, memory, host = NODES[name]
        gpus = [
            Gpu(f"{name}-{index}", name, index, "Test GPU", memory, memory, 0.0)
            for index in range(most if count is None else min(count, most))
        ]
        self.run(
            lambda pool: pool.publish(name, gpus, host),
            lambda model: model.publish(name, [gpu.uuid for gpu in gpus], memory, host),
        )

    def look(self) -> None:
        """What people are shown agrees with the model."""
        seen, _ = self.run(GpuPool.snapshot, lambda model: None)
        leases = {lease.id: lease for lease in self.model.leases.values()}
        assert {one.id: one.gpus for one in seen.leases} == {
            name: one.gpus for name, one in leases.items()
        }
        assert seen.now == self.wall / 1000
        for gpu in seen.gpus:
            assert (gpu.state == "leased") == (gpu.lease_id in leases)

    def stop_waiting(self, holder: str) -> None:
        answer, _ = self.run(
            lambda pool: pool.stop_waiting(holder), lambda model: model.leave(holder)
        )
        lease = self.model.lease_of(holder)
        assert (answer and answer.id) == (lease and lease.id)
        if answer and not self.believes(holder):
            self.release(answer)

    def refuse(self, belief: Belief, uuid: str, ms: int) -> None:
        self.forget(belief.lease.holder)
        answer, expected = self.run(
            lambda pool: pool.refuse(belief.lease, {uuid: "busy"}, ms / 1000),
            lambda model: model.refuse(belief.lease.id, uuid, ms),
        )
        assert answer == expected
        if answer:
            known = belief.known.request
            self.asked[known.holder] = (known, known.since / 1000)

    # Operators, and Redis

    def revoke(self, lease_id: str) -> None:
        answer, expected = self.run(
            lambda pool: pool.revoke(lease_id, "somebody"), lambda model: model.revoke(lease_id)
        )
        assert answer == expected

    def reap(self) -> None:
        self.run(GpuPool.reap, lambda model: None)

    def set_limit(self, group: str, limit: int) -> None:
        self.run(
            lambda pool: pool.set_limit(group, limit),
            lambda model: model.limits.update({group: limit}),
        )

    def withdraw(self, name: str) -> None:
        self.run(lambda pool: pool.withdraw_node(name), lambda model: model.withdraw(name))

    def drain(self, name: str, is_drained: bool) -> None:
        if is_drained:
            self.run(lambda pool: pool.drain(name, "why"), lambda model: model.drain(name))
        else:
            self.run(lambda pool: pool.undrain(name), lambda model: model.undrain(name))

    def quarantine(self, uuid: str, node: str, ms: int) -> None:
        self.run(
            lambda pool: pool.call("quarantine", uuid, node, "why", ms),
            lambda model: model.quarantine(uuid, ms),
        )

    def restore(self, uuid: str) -> None:
        answer, had = self.run(
            lambda pool: pool.restore(uuid), lambda model: model.quarantined.pop(uuid, None)
        )
        assert answer == (had is not None)

    def lose_everything(self) -> None:
        self._restart(Model(TTL))
        self.pool.redis.flushdb()
        self.shown = 0

    def go_back_to(self, books: Any, model: Model, run: str) -> None:
        """Redis comes back with older books: without its last writes."""
        self._restart(model)
        model.is_restarted = True
        self.pool.go_back_to(books, run)

    def _restart(self, model: Model) -> None:
        """Redis is away for a second."""
        self.pass_time(1_000)
        self.model = model


def by_token(lease: dict[str, Any]) -> int:
    return int(lease["token"])
