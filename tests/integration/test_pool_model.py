"""The pool beside a model of it: the same is done to both, at random, and both must do the same.

`python -m tests.integration.test_pool_model 1000000 7` makes a million steps from the seed 7 on.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from gpupool import connect
from tests.integration.pool_model import Request
from tests.integration.pool_world import NODES, UUIDS, World
from tests.integration.redis_server import running_redis

pytestmark = pytest.mark.stress  # 20,000 steps take a minute

STEPS = 20_000
STEPS_EACH = 100  # in one life of a pool
HOLDERS = [f"h{number}" for number in range(8)]
GROUPS = [("", 0), ("", 0), ("g", 1), ("g", 2), ("k", 1), ("k", 0)]
NARROW = [(1, 0, 0), (1, 0, 0), (1, 30_000, 40)]
WIDE = [(2, 0, 0), (2, 0, 40), (3, 0, 0), (4, 0, 0)]

holders = st.sampled_from(HOLDERS)
nodes = st.sampled_from(list(NODES))
some = st.integers(0, 7)
terms: dict[str, Any] = {
    "holder": holders,
    "group": st.sampled_from(GROUPS),
    "priority": st.integers(0, 1),
    "expected": st.sampled_from([0, 0, 20_000, 900_000]),
    "waited": st.sampled_from([0, 0, 0, 7_001]),
}


class PoolMachine(RuleBasedStateMachine):
    """What may happen to a pool, in any order."""

    client: redis.Redis
    steps = scripts = done = 0
    world: Any = None  # Until it has begun

    @initialize(loses_nothing=st.booleans())
    def begin(self, loses_nothing: bool) -> None:
        self.world = World(self.client, loses_nothing)
        self.kept: tuple[Any, Any] | None = None
        self.runs = 0
        for name in NODES:
            self.world.publish(name)
        self.done = self.world.done

    def check_invariants(self, *_: Any, **__: Any) -> None:
        """After each rule, which has looked itself; counted are those that did something."""
        if self.world and self.done < self.world.done:
            type(self).steps += 1
            type(self).scripts += self.world.done - self.done
            self.done = self.world.done

    # Requests

    def ask(
        self, holder: str, shape: Any, group: Any, priority: int, expected: int, waited: int
    ) -> None:
        request = Request(holder, *shape, *group, priority, expected)
        self.world.ask(request, (self.world.wall - waited) / 1000 if waited else None)

    # A third of all steps are requests, else hardly anybody would wait
    ask_for_much = rule(shape=st.sampled_from(WIDE), **terms)(ask)
    ask_for_little = rule(shape=st.sampled_from(NARROW), **terms)(ask)
    ask_for_any = rule(shape=st.sampled_from(WIDE + NARROW), **terms)(ask)

    @precondition(lambda self: self.world.asked)
    @rule(number=some)
    def ask_again(self, number: int) -> None:
        asked = list(self.world.asked.values())
        self.world.ask(*asked[number % len(asked)])

    @rule(holder=holders)
    def stop_waiting(self, holder: str) -> None:
        self.world.stop_waiting(holder)

    # Leases

    def believer(self, number: int) -> Any:
        who = [name for name in sorted(self.world.beliefs) if self.world.believes(name)]
        return self.world.beliefs[who[number % len(who)]] if who else None

    @precondition(lambda self: self.world.beliefs)
    @rule(number=some)
    def renew(self, number: int) -> None:
        if belief := self.believer(number):
            self.world.renew(belief)

    @precondition(lambda self: self.world.beliefs)
    @rule(number=some)
    def release(self, number: int) -> None:
        if belief := self.believer(number):
            self.world.release(self.world.forget(belief.lease.holder).lease)

    @precondition(lambda self: self.world.beliefs)
    @rule(number=some, gpu=some, ms=st.sampled_from([3_000, 40_000]))
    def refuse(self, number: int, gpu: int, ms: int) -> None:
        if belief := self.believer(number):
            self.world.refuse(belief, belief.lease.gpus[gpu % len(belief.lease.gpus)], ms)

    @precondition(lambda self: self.world.beliefs)
    @rule(number=some)
    def revoke(self, number: int) -> None:
        if belief := self.believer(number):
            self.world.revoke(belief.lease.id)

    @precondition(lambda self: self.world.old)
    @rule(number=some, renews=st.booleans())
    def come_late(self, number: int, renews: bool) -> None:
        """A message about a lease that its holder does not use any more."""
        belief = self.world.old[number % len(self.world.old)]
        if renews:
            self.world.renew(belief)
        else:
            self.world.release(belief.lease)

    @rule(group=st.sampled_from(["g", "k"]), limit=st.integers(0, 2))
    def set_limit(self, group: str, limit: int) -> None:
        self.world.set_limit(group, limit)

    # Time

    @rule(ms=st.sampled_from([1, 15, 300, 4_000, 9_000, 11_000, 61_000]), looks=st.booleans())
    def pass_time(self, ms: int, looks: bool) -> None:
        self.world.pass_time(ms)
        if looks:
            self.world.look()

    @rule(seconds=st.sampled_from([9, 9, 16, 64]), renew=st.booleans())
    def live(self, seconds: int, renew: bool) -> None:
        """Time passes as it should: nodes are heard, requests repeated, leases perhaps renewed."""
        for second in range(0, seconds, 4):
            self.world.pass_time(4_000)
            self.world.reap()
            if second % 8 == 0:
                for name in NODES:
                    self.world.publish(name)
            if second % 16 == 8:
                if renew:
                    self.world.renew_all()
                for holder in list(self.world.model.waiting):
                    self.world.ask(*self.world.asked[holder])

    @rule(ms=st.sampled_from([-7_200_000, -3_000, -10, 3_000, 45_000, 7_200_000]))
    def step_the_clock(self, ms: int) -> None:
        self.world.wall += ms
        self.world.look()

    # Lost data

    @rule()
    def lose_everything(self) -> None:
        self.world.lose_everything()

    @precondition(lambda self: not self.world.pool.loses_nothing)
    @rule()
    def remember(self) -> None:
        self.kept = (self.world.pool.books(), deepcopy(self.world.model))

    @precondition(lambda self: self.kept)
    @rule()
    def restart_without_the_last_writes(self) -> None:
        assert self.kept
        self.runs += 1
        self.world.go_back_to(self.kept[0], deepcopy(self.kept[1]), f"run{self.runs}")

    @precondition(lambda self: self.world.beliefs and not self.world.pool.loses_nothing)
    @rule(number=some, holder=holders, renews=st.booleans())
    def restart_right_after_a_release(self, number: int, holder: str, renews: bool) -> None:
        """Its GPUs are another's by then, and Redis has forgotten that."""
        belief = self.believer(number)
        if belief and belief.lease.holder != holder:
            self.remember()
            self.release(number)
            self.world.ask(Request(holder, len(belief.lease.gpus), 0, 0, "", 0, 1, 0))
            self.restart_without_the_last_writes()
            if renews:
                self.world.renew_all()

    # Nodes and operators

    @rule(name=nodes, count=st.sampled_from([9, 9, 9, 1, 0]))
    def publish(self, name: str, count: int) -> None:
        self.world.publish(name, count)

    @rule(name=nodes, how=st.sampled_from(["withdraw", "drain", "undrain", "undrain"]))
    def operate(self, name: str, how: str) -> None:
        if how == "withdraw":
            self.world.withdraw(name)
        else:
            self.world.drain(name, how == "drain")
            self.world.publish(name)

    @rule(gpu=st.sampled_from(UUIDS), ms=st.sampled_from([-1, 5_000, 30_000]))
    def quarantine(self, gpu: tuple[str, str], ms: int) -> None:
        self.world.quarantine(*gpu, ms)

    @rule()
    def restore(self) -> None:
        for uuid in [*self.world.model.quarantined, "none"]:
            self.world.restore(uuid)


def walk(client: redis.Redis, steps: int, number: int | None = None) -> int:
    """At least so many steps, in many short lives; how many it were."""
    PoolMachine.client = client
    PoolMachine.steps = PoolMachine.scripts = 0
    chosen = settings(
        max_examples=-(-steps * 3 // (2 * STEPS_EACH)),  # Some steps find nothing to do
        stateful_step_count=STEPS_EACH,
        derandomize=number is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        print_blob=False,
    )
    run_machine(PoolMachine if number is None else seed(number)(PoolMachine), settings=chosen)
    return PoolMachine.steps


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with (
        tempfile.TemporaryDirectory(prefix="at-") as path,
        running_redis(Path(path)) as server,
        connect(server.url) as client,
    ):
        yield client


def test_the_pool_does_what_its_model_does(client: redis.Redis) -> None:
    steps = walk(client, STEPS)

    print(f"{steps} steps, {PoolMachine.scripts} scripts")
    assert steps >= STEPS


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(prefix="at-") as path,
        running_redis(Path(path)) as server,
        connect(server.url) as client,
    ):
        started, made, scripts, number = time.monotonic(), 0, 0, int(sys.argv[2])
        while made < int(sys.argv[1]):
            made += walk(client, STEPS, number)
            scripts += PoolMachine.scripts
            took = time.monotonic() - started
            print(f"{made} steps, {scripts} scripts in {took:.0f} s, seed {number}", flush=True)
            number += 1
