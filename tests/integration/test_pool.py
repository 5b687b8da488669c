"""The promises of the pool, on a real Redis."""

import itertools
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
import redis

from gpupool import HELD, Gpu, GpuPool, Lease, Waiting, connect
from tests.integration.redis_server import RedisServer, running_redis

PREFIXES = (f"{{pool{number}}}" for number in itertools.count())


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="at-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="at-") as path,
        running_redis(Path(path)) as running,
    ):
        yield running


@pytest.fixture
def pool(server: RedisServer) -> Iterator[GpuPool]:
    """An empty pool, new and so open at once."""
    with connect(server.url) as client:
        empty = GpuPool(client, prefix=next(PREFIXES))
        assert empty.initialise()
        yield empty


def gpu(index: int, node: str = "n1", free: int = 80_000, used: float = 0.0) -> Gpu:
    """A GPU of 80,000 MiB called <node>-<index>."""
    return Gpu(f"{node}-{index}", node, index, "Test GPU", 80_000, free, used)


def publish(pool: GpuPool, node: str, count: int) -> None:
    """A node with that many GPUs, all free and idle."""
    pool.publish(node, [gpu(index, node) for index in range(count)])


def same_pool(pool: GpuPool, ttl: float) -> GpuPool:
    return GpuPool(pool.redis, ttl=ttl, prefix=pool.prefix)


def granted(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 20 s"
        time.sleep(0.01)


# What is granted


def test_a_lease_is_whole_or_not_given(pool: GpuPool) -> None:
    publish(pool, "n1", 3)

    first = granted(pool.acquire("a", gpus=2))

    assert len(first.gpus) == 2
    assert pool.acquire("b", gpus=2) is None
    assert [state.state for state in pool.gpus()] == ["leased", "leased", "free"]


def test_the_gpus_of_a_lease_are_on_one_node(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    publish(pool, "n2", 2)

    lease = granted(pool.acquire("a", gpus=2))

    assert (lease.node, lease.gpus) == ("n2", ("n2-0", "n2-1"))
    assert pool.acquire("b", gpus=3) is None


def test_the_gpus_of_a_lease_are_in_the_order_of_their_index(pool: GpuPool) -> None:
    pool.publish("n1", [gpu(10), gpu(2, used=0.5)])

    assert granted(pool.acquire("a", gpus=2)).gpus == ("n1-2", "n1-10")


def test_a_lease_says_who_has_what_until_when(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    before = pool.time()

    lease = granted(pool.acquire("a/\u00e9", gpus=2, group="task 1"))

    assert (lease.holder, lease.group, lease.node) == ("a/\u00e9", "task 1", "n1")
    assert before - 0.001 <= lease.granted_at <= pool.time()
    assert lease.ends_at == pytest.approx(lease.granted_at + 60)
    assert pool.leases() == [lease]
    assert pool.find(lease.id) == lease
    assert Lease.from_json(lease.to_json()) == lease


def test_an_empty_pool_grants_nothing(pool: GpuPool) -> None:
    assert pool.acquire("a") is None
    assert (pool.size(), pool.largest_node()) == (0, 0)
    assert (pool.gpus(), pool.leases(), pool.reap()) == ([], [], [])
    assert not pool.release("nobody's")


@pytest.mark.parametrize("gpus", [0, -1])
def test_a_request_for_no_gpu_is_refused(pool: GpuPool, gpus: int) -> None:
    with pytest.raises(ValueError, match="gpus"):
        pool.acquire("a", gpus=gpus)


def test_a_gpu_without_the_memory_is_not_granted(pool: GpuPool) -> None:
    pool.publish("n1", [gpu(0, free=7_999), gpu(1, free=8_000)])

    assert granted(pool.acquire("a", min_memory_mb=8_000)).gpus == ("n1-1",)
    assert pool.acquire("b", min_memory_mb=8_000) is None


def test_the_best_gpu_has_free_memory_and_little_to_do(pool: GpuPool) -> None:
    pool.publish(
        "n1",
        [
            gpu(0, free=80_000, used=1.0),  # 0.60
            gpu(1, free=40_000, used=0.0),  # 0.70
            gpu(2, free=60_000, used=0.5),  # 0.65
            gpu(3, free=64_000, used=0.4),  # 0.72
        ],
    )

    order = [granted(pool.acquire(holder)).gpus[0] for holder in "abcd"]

    assert order == ["n1-3", "n1-1", "n1-2", "n1-0"]


def test_of_equal_gpus_those_are_granted_whose_node_has_the_fewest_left(pool: GpuPool) -> None:
    publish(pool, "n2", 1)
    pool.publish("n1", [gpu(10), gpu(2), gpu(3, free=79_990)])  # As good as the same
    publish(pool, "n3", 4)

    order = [granted(pool.acquire(holder)).gpus[0] for holder in "abcde"]

    # So that whole nodes stay whole for wide requests
    assert order == ["n2-0", "n1-2", "n1-3", "n1-10", "n3-0"]


def test_the_node_with_the_best_gpus_on_average_is_chosen(pool: GpuPool) -> None:
    pool.publish("n1", [gpu(0, "n1"), gpu(1, "n1", used=0.9)])
    pool.publish("n2", [gpu(0, "n2", used=0.3), gpu(1, "n2", used=0.3)])

    assert granted(pool.acquire("a", gpus=2)).node == "n2"


def test_the_gpus_of_a_lease_are_within_20_percent_of_each_other(pool: GpuPool) -> None:
    pool.publish("n1", [gpu(0, free=80_000), gpu(1, free=63_999), gpu(2, free=51_200)])

    assert granted(pool.acquire("a", gpus=2)).gpus == ("n1-1", "n1-2")
    assert pool.acquire("b", gpus=2) is None


def test_exactly_20_percent_apart_is_alike(pool: GpuPool) -> None:
    pool.publish("n1", [gpu(0, free=80_000), gpu(1, free=64_000)])

    assert granted(pool.acquire("a", gpus=2)).gpus == ("n1-0", "n1-1")


def test_the_best_alike_gpus_need_not_be_neighbours_in_memory(pool: GpuPool) -> None:
    pool.publish(
        "n1",
        [gpu(0, free=80_000), gpu(1, free=79_000, used=0.9), gpu(2, free=78_000)],
    )

    assert granted(pool.acquire("a", gpus=2)).gpus == ("n1-0", "n1-2")


def score(gpus: Sequence[Gpu]) -> float:
    """The sum of what the design says of one GPU."""
    return sum(0.6 * one.memory_free_mb / 80_000 + 0.4 * (1 - one.utilization) for one in gpus)


def alike(gpus: Sequence[Gpu]) -> bool:
    free = [one.memory_free_mb for one in gpus]
    return min(free) >= 0.8 * max(free)


def test_no_other_gpus_would_have_been_better(pool: GpuPool) -> None:
    chance = random.Random(1)
    for turn in range(60):
        gpus = [
            gpu(index, free=chance.randrange(30, 81) * 1000, used=chance.randrange(11) / 10)
            for index in range(6)
        ]
        pool.publish("n1", gpus)
        count = chance.randrange(1, 4)
        scores = [score(some) for some in itertools.combinations(gpus, count) if alike(some)]

        lease = pool.acquire(f"holder {turn}", gpus=count)

        if lease is None:
            assert scores == []
            pool.stop_waiting(f"holder {turn}")
            continue
        pool.release(lease.id)
        chosen = [one for one in gpus if one.uuid in lease.gpus]
        # Less than a hundredth is no difference
        assert score(chosen) >= max(scores) - 0.01 * count


def test_a_holder_never_has_two_leases(pool: GpuPool) -> None:
    publish(pool, "n1", 4)

    first = granted(pool.acquire("a", gpus=2))

    # The same message again; and a request for something else.
    assert pool.acquire("a", gpus=2) == first
    assert pool.acquire("a", gpus=1, group="other") == first
    assert pool.leases() == [first]


def test_a_group_never_has_more_leases_than_its_limit(pool: GpuPool) -> None:
    publish(pool, "n1", 4)
    first = granted(pool.acquire("a", group="g", group_limit=2))
    granted(pool.acquire("b", group="g", group_limit=2))

    assert pool.acquire("c", group="g", group_limit=2) is None

    pool.release(first.id)
    assert pool.acquire("c", group="g", group_limit=2)


# How a lease ends


def test_a_released_gpu_is_free_at_once(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    first = granted(pool.acquire("a"))

    assert pool.release(first.id)

    assert not pool.release(first.id)
    assert pool.renew(first) != HELD
    assert granted(pool.acquire("b")).gpus == first.gpus


def test_an_ended_lease_gives_its_gpus_back_by_itself(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    first = granted(same_pool(pool, ttl=0.1).acquire("a"))
    until(lambda: pool.time() > first.ends_at)

    second = granted(pool.acquire("b"))

    assert second.gpus == first.gpus
    assert pool.leases() == [second]
    assert pool.find(first.id) is None


def test_an_ended_lease_cannot_be_renewed_nor_released(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    lease = granted(same_pool(pool, ttl=0.1).acquire("a"))
    until(lambda: pool.time() > lease.ends_at)

    assert pool.renew(lease) != HELD
    assert not pool.release(lease.id)
    assert pool.gpus()[0].state == "free"


def test_every_lease_whose_time_is_over_is_reaped_once(pool: GpuPool) -> None:
    publish(pool, "n1", 3)
    short = same_pool(pool, ttl=0.1)
    ended = [granted(short.acquire("a")), granted(short.acquire("b"))]
    kept = granted(pool.acquire("c"))
    until(lambda: pool.time() > ended[1].ends_at)

    assert sorted(pool.reap(), key=lambda lease: lease.token) == ended
    assert pool.reap() == []
    assert pool.leases() == [kept]


def test_a_renewal_is_respected_by_the_reaper(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    lease = granted(same_pool(pool, ttl=1).acquire("a"))

    assert pool.renew(lease) == HELD
    until(lambda: pool.time() > lease.ends_at)

    assert pool.reap() == []
    assert [one.id for one in pool.leases()] == [lease.id]
    assert pool.leases()[0].ends_at > lease.ends_at
    assert pool.acquire("b") is None


# Nodes


def test_a_node_has_the_gpus_it_published_last(pool: GpuPool) -> None:
    publish(pool, "n1", 4)
    publish(pool, "n2", 1)
    publish(pool, "n1", 2)

    assert [state.uuid for state in pool.gpus()] == ["n1-0", "n1-1", "n2-0"]
    assert (pool.size(), pool.largest_node()) == (3, 2)

    pool.withdraw_node("n1")
    assert [state.uuid for state in pool.gpus()] == ["n2-0"]
    assert (pool.size(), pool.largest_node()) == (1, 1)


def unheard_for(pool: GpuPool, node: str, seconds: float) -> None:
    """Make it so long since the node was heard from."""
    heard = (pool.time() - seconds) * 1000
    pool.redis.hset(f"{pool.prefix}:book", f"heard {node}", round(heard))
    due = {f"node {node}": heard + 10_000, f"listed {node}": heard + 86_400_000}
    pool.redis.zadd(f"{pool.prefix}:due", due)


def test_nothing_is_granted_on_a_silent_node(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    lease = granted(pool.acquire("a"))
    unheard_for(pool, "n1", 11)

    assert pool.acquire("b") is None
    assert [state.state for state in pool.gpus()] == ["leased", "silent"]
    assert (pool.size(), pool.largest_node()) == (0, 0)

    # Its leases go on, and it is back when it speaks again.
    assert pool.renew(lease) == HELD
    publish(pool, "n1", 2)
    assert granted(pool.acquire("b")).gpus == ("n1-1",)


def test_a_node_that_was_silent_for_a_day_is_forgotten(pool: GpuPool) -> None:
    publish(pool, "old", 1)
    unheard_for(pool, "old", 25 * 3600)

    publish(pool, "n1", 1)

    assert [state.node for state in pool.gpus()] == ["n1"]


# Who is next


def test_a_wide_request_is_not_starved_by_narrow_ones(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    first, second = granted(pool.acquire("a")), granted(pool.acquire("b"))
    assert pool.acquire("1-wide", gpus=2) is None

    pool.release(first.id)
    assert pool.acquire("2-narrow") is None
    assert pool.acquire("1-wide", gpus=2) is None

    pool.release(second.id)
    assert pool.acquire("2-narrow") is None
    assert granted(pool.acquire("1-wide", gpus=2)).gpus == ("n1-0", "n1-1")


def test_a_wide_request_reserves_the_node_that_will_be_free_soonest(pool: GpuPool) -> None:
    publish(pool, "n1", 3)
    publish(pool, "n2", 3)
    # One GPU of n2 is left, two of n1: but what runs on n1 ends long after.
    granted(pool.acquire("a", gpus=2, expected=50))
    granted(pool.acquire("b", gpus=3, expected=900))
    assert [lease.node for lease in pool.leases()] == ["n1", "n2"]
    pool.publish("n2", [gpu(index, "n2") for index in range(4)])  # One more, and it is free
    assert pool.acquire("1-wide", gpus=3) is None

    # Kept is what is free on n1 alone
    assert granted(pool.acquire("2-x")).gpus == ("n2-3",)
    assert pool.acquire("3-y") is None


def test_a_reservation_stays_on_its_node(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    publish(pool, "n2", 2)
    first = granted(pool.acquire("a", expected=50))
    others = [granted(pool.acquire(name, expected=900)) for name in "bcd"]
    on_n2 = [lease for lease in others if lease.node == "n2"]
    assert first.node == "n1" and len(on_n2) == 2
    assert pool.acquire("1-wide", gpus=2) is None

    # Something is free on the other node first: a younger one may have it, for n1 is reserved
    pool.release(on_n2[0].id)
    assert granted(pool.acquire("2-narrow")).node == "n2"
    pool.release(first.id)
    assert pool.acquire("3-narrow") is None


def test_a_wide_request_takes_any_node_that_is_free_for_it(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    publish(pool, "n2", 2)
    leases = [
        granted(pool.acquire(name, expected=seconds))
        for name, seconds in (("a", 50), ("b", 50), ("c", 900), ("d", 900))
    ]
    assert pool.acquire("1-wide", gpus=2) is None
    for lease in leases:
        if lease.node == "n2":
            pool.release(lease.id)

    assert granted(pool.acquire("1-wide", gpus=2)).node == "n2"


def test_what_an_earlier_request_does_not_need_is_granted(pool: GpuPool) -> None:
    publish(pool, "n1", 4)
    lease = granted(pool.acquire("a", gpus=4))
    assert pool.acquire("1-early", gpus=2) is None
    assert pool.acquire("2-late", gpus=2) is None
    assert pool.acquire("3-later") is None
    pool.release(lease.id)

    assert granted(pool.acquire("1-early", gpus=2)).gpus == ("n1-0", "n1-1")
    assert granted(pool.acquire("2-late", gpus=2)).gpus == ("n1-2", "n1-3")
    assert pool.acquire("3-later") is None


def test_a_request_that_fits_no_node_blocks_nobody(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    assert pool.acquire("1-too-wide", gpus=3, priority=9) is None
    assert pool.acquire("2-too-big", min_memory_mb=80_001, priority=9) is None

    assert pool.acquire("3-narrow", gpus=2)


def test_a_request_blocked_by_its_groups_limit_blocks_nobody(pool: GpuPool) -> None:
    publish(pool, "n1", 3)
    granted(pool.acquire("a", group="g", group_limit=1))
    assert pool.acquire("1-b", gpus=2, group="g", group_limit=1, priority=9) is None

    assert pool.acquire("2-other", gpus=2, group="h", group_limit=1)


def test_a_group_reserves_no_more_than_its_limit(pool: GpuPool) -> None:
    publish(pool, "n1", 4)
    everything = granted(pool.acquire("a", gpus=4))
    for holder in ("1-b", "2-c", "3-d", "4-e"):
        assert pool.acquire(holder, group="g", group_limit=1) is None
    pool.release(everything.id)

    # Four wait, but one of them alone may run.
    assert pool.acquire("5-other", gpus=3)
    assert pool.acquire("2-c", group="g", group_limit=1) is None
    assert pool.acquire("1-b", group="g", group_limit=1)


def test_a_wide_request_is_not_starved_by_its_own_group(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    first, other = granted(pool.acquire("a", group="g", group_limit=1)), pool.acquire("other")
    assert pool.acquire("1-wide", gpus=2, group="g", group_limit=1) is None
    pool.release(first.id)

    # Else narrow ones of its group, one after the other, would keep the group at its limit.
    assert pool.acquire("2-narrow", group="g", group_limit=1) is None

    pool.release(granted(other).id)
    assert pool.acquire("1-wide", gpus=2, group="g", group_limit=1)


def test_a_higher_priority_goes_first_then_the_older_request(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    lease = granted(pool.acquire("a"))
    assert pool.acquire("1-old") is None
    assert pool.acquire("2-new") is None
    assert pool.acquire("3-urgent", priority=1) is None
    assert [one.holder for one in pool.waiting()] == ["3-urgent", "1-old", "2-new"]

    pool.release(lease.id)
    assert pool.acquire("2-new") is None
    assert pool.acquire("1-old") is None
    lease = granted(pool.acquire("3-urgent", priority=1))

    pool.release(lease.id)
    assert pool.acquire("2-new") is None
    assert pool.acquire("1-old")


def test_a_request_that_is_repeated_keeps_its_place(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    lease = granted(pool.acquire("a"))
    assert pool.acquire("1-old", group="g", gpus=1) is None
    since = pool.waiting()[0].since
    until(lambda: pool.time() > since + 0.01)
    assert pool.acquire("0-new") is None
    assert pool.acquire("1-old", group="g", gpus=1) is None

    assert pool.waiting()[0] == Waiting("1-old", "g", 1, since)
    assert [one.holder for one in pool.waiting()] == ["1-old", "0-new"]

    pool.release(lease.id)
    assert pool.acquire("1-old", group="g", gpus=1)
    assert [one.holder for one in pool.waiting()] == ["0-new"]


def test_who_stops_waiting_blocks_nobody(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    granted(pool.acquire("a"))
    assert pool.acquire("1-wide", gpus=2) is None
    assert pool.acquire("2-narrow") is None

    pool.stop_waiting("1-wide")

    assert pool.acquire("2-narrow")
    assert pool.waiting() == []


def test_a_request_that_is_not_repeated_loses_its_place(pool: GpuPool) -> None:
    publish(pool, "n1", 2)
    granted(pool.acquire("a"))
    assert pool.acquire("1-wide", gpus=2) is None
    due = f"{pool.prefix}:due"
    assert pool.redis.zscore(due, "request 1-wide") is not None
    pool.redis.zincrby(due, -61_000, "request 1-wide")  # as if it was that long ago

    assert pool.waiting() == []
    assert pool.acquire("2-narrow")
    assert not pool.redis.hexists(f"{pool.prefix}:book", "request 1-wide")


# What the shell prints


def test_a_gpu_says_who_has_it(pool: GpuPool) -> None:
    pool.publish("n1", [Gpu("u0", "n1", 0, "CPU slot", 4096, 2048, 0.25, cores=(0, 1))])
    lease = granted(pool.acquire("a"))

    assert [asdict(state) for state in pool.gpus()] == [
        {
            "uuid": "u0",
            "node": "n1",
            "index": 0,
            "name": "CPU slot",
            "memory_total_mb": 4096,
            "memory_free_mb": 2048,
            "utilization": 0.25,
            "cores": (0, 1),
            "numa_cores": (),
            "numa_node": None,
            "temperature_c": None,
            "power_w": None,
            "links": (),
            "parent": "",
            "fault": "",
            "state": "leased",
            "lease_id": lease.id,
            "holder": "a",
            "why": "",
            "until": None,
        }
    ]


# When things go wrong


def race(
    url: str, prefix: str, number: int, rounds: int, problems: "multiprocessing.Queue[str]"
) -> None:
    """Threads that take GPUs, and note in keys of their own whether anybody else had them."""

    def take(name: str, group: str) -> None:
        with connect(url) as client:
            pool = GpuPool(client, prefix=prefix)
            for turn in range(rounds):
                lease = None
                while lease is None:
                    lease = pool.acquire(name, 1 + turn % 2, group=group, group_limit=2)
                if not all(client.set(f"{prefix}:seen:{one}", name, nx=True) for one in lease.gpus):
                    problems.put(f"{name} shares {lease.gpus}")
                if int(client.incr(f"{prefix}:in:{group}")) > 2:
                    problems.put(f"{group} is above its limit")
                client.decr(f"{prefix}:in:{group}")
                client.delete(*(f"{prefix}:seen:{one}" for one in lease.gpus))
                if not pool.release(lease.id):
                    problems.put(f"{name} lost its lease")

    threads = [
        threading.Thread(target=take, args=(f"{number}-{index}", f"g{index % 3}"))
        for index in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems.put("")


def test_racing_processes_never_share_a_gpu_nor_exceed_the_limit(
    server: RedisServer, pool: GpuPool
) -> None:
    publish(pool, "n1", 3)
    publish(pool, "n2", 2)
    before = int(str(pool.redis.hget(f"{pool.prefix}:book", "token")))
    spawn = multiprocessing.get_context("spawn")
    problems: multiprocessing.Queue[str] = spawn.Queue()
    processes = [
        spawn.Process(target=race, args=(server.url, pool.prefix, number, 15, problems))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert {problems.get(timeout=10) for _ in processes} == {""}
    assert problems.empty()
    # Twelve holders, fifteen leases each, all given back.
    assert granted(pool.acquire("last")).token == before + 12 * 15 + 1
    assert pool.waiting() == []


def test_a_script_that_redis_forgot_is_sent_again(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    pool.redis.script_flush()

    assert pool.acquire("a")


def test_tokens_only_grow_also_when_redis_is_killed(folder: Path) -> None:
    tokens = []
    with running_redis(folder) as server, connect(server.url) as client:
        pool = GpuPool(client, loses_nothing=True)
        pool.initialise()
        for _ in range(3):
            publish(pool, "n1", 1)
            for holder in "ab":
                lease = granted(pool.acquire(holder))
                tokens.append(lease.token)
                pool.release(lease.id)
            kept = granted(pool.acquire("kept"))
            tokens.append(kept.token)

            server.kill()
            server.start()

            # Who had a GPU has it still.
            assert pool.find(kept.id) == kept
            assert pool.release(kept.id)

    assert tokens == sorted(set(tokens))
    assert len(tokens) == 9


def test_a_holder_keeps_its_lease_through_a_short_outage(folder: Path) -> None:
    with running_redis(folder) as server, connect(server.url) as client:
        pool = GpuPool(client, ttl=6, loses_nothing=True)
        pool.initialise()
        publish(pool, "n1", 1)
        lease = granted(pool.acquire("a"))

        with pool.keep_alive(lease) as alive:
            server.kill()
            with pytest.raises(redis.ConnectionError):
                pool.time()
            assert not alive.wait(2.5)  # longer than from one renewal to the next
            server.start()
            before = pool.time()
            until(lambda: granted(pool.find(lease.id)).ends_at > before + 5)
            assert not alive.lost


def test_a_holder_learns_that_its_lease_was_ended_elsewhere(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    short = same_pool(pool, ttl=3)
    lease = granted(short.acquire("a"))

    with short.keep_alive(lease) as alive:
        assert not alive.lost
        pool.release(lease.id)
        assert alive.wait(20)


def test_a_holder_learns_that_redis_was_away_for_too_long(folder: Path) -> None:
    with running_redis(folder) as server, connect(server.url) as client:
        pool = GpuPool(client, ttl=2)
        pool.initialise()
        publish(pool, "n1", 1)
        lease = granted(pool.acquire("a"))

        with pool.keep_alive(lease) as alive:
            server.kill()
            assert alive.wait(20)
            server.start()
            assert alive.lost


def test_a_lease_that_is_kept_alive_outlives_its_time_to_live(pool: GpuPool) -> None:
    publish(pool, "n1", 1)
    short = same_pool(pool, ttl=1.5)
    lease = granted(short.acquire("a"))

    with short.keep_alive(lease) as alive:
        until(lambda: pool.time() > lease.ends_at)
        assert not alive.lost
        assert pool.acquire("b") is None
    # Nobody renews it any more, so it ends by itself.
    until(lambda: pool.acquire("b") is not None)
