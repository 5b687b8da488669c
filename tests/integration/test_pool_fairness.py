"""Thousands of random streams of requests: nobody is passed over, or waits for somebody younger.

Most of it is looked at after each event of a stream: see `Stream.learn`.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gpupool import connect
from tests.integration.pool_streams import BEGIN, Stream, Wish, serve
from tests.integration.redis_server import running_redis
from tests.integration.virtual_pool import VirtualPool

pytestmark = pytest.mark.stress  # Thousands of streams take a minute

STREAMS = 800  # of each of the first two kinds
PAIRS = 200  # of streams, of the third
AT_ONCE = 50  # So many side by side: one round trip for an event of each


def wishes(chance: random.Random, nodes: dict[str, int], is_mixed: bool) -> list[Wish]:
    largest = max(nodes.values())
    at, found = BEGIN, []
    crowd = chance.choice([15, 40, 90])  # From many at once to few
    for number in range(chance.randint(30, 50)):
        at += chance.randint(1, crowd)
        gpus = min(largest, chance.choice([1, 1, 1, 1, 2, 2, 4, 8]))
        group, limit = chance.choice([("", 0), ("", 0), ("g", 1), ("k", 3)])
        terms = (chance.randint(0, 2), group, limit) if is_mixed else ()
        found.append(Wish(f"w{number:02}", at, gpus, chance.randint(10, 300), *terms))
    return found


def stream(client: redis.Redis, nodes: dict[str, int], some: list[Wish], name: str) -> Stream:
    pool = VirtualPool(client, 1_000, f"{{{name}}}", loses_nothing=True)
    return Stream(pool, nodes, sorted(some, key=lambda wish: (wish.at, wish.holder)))


def random_nodes(chance: random.Random) -> dict[str, int]:
    return {f"n{number}": chance.choice([4, 8]) for number in range(chance.randint(1, 3))}


def served(client: redis.Redis, is_mixed: bool, first: int) -> list[Stream]:
    """A batch of random streams, from their beginning to their end."""
    client.flushdb()
    batch = []
    for number in range(first, first + AT_ONCE):
        chance = random.Random(number)
        nodes = random_nodes(chance)
        batch.append(stream(client, nodes, wishes(chance, nodes, is_mixed), f"s{number}"))
    serve(batch)
    return batch


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with (
        tempfile.TemporaryDirectory(prefix="at-") as path,
        running_redis(Path(path)) as server,
        connect(server.url) as client,
    ):
        yield client


def test_of_equal_priority_nobody_waits_for_anybody_younger(client: redis.Redis) -> None:
    places = 0
    for first in range(0, STREAMS, AT_ONCE):
        for one in served(client, False, first):
            assert one.moved == 0, "a reservation stays where it is"
            latest = 0
            for run in sorted(one.done, key=lambda run: run.wish.turn):
                assert run.start <= max(run.wish.at, latest)
                latest = max(latest, run.end)
            places += one.reservations
    assert places > STREAMS  # Wide ones did wait


def test_with_priorities_and_limits_the_order_is_priority_then_age(client: redis.Redis) -> None:
    places = sum(
        one.reservations
        for first in range(0, STREAMS, AT_ONCE)
        for one in served(client, True, STREAMS + first)
    )

    assert places > STREAMS


def pair(client: redis.Redis, number: int) -> tuple[Stream, Stream]:
    """The same requests twice; the second time with some more, which their group's limit blocks."""
    chance = random.Random(number)
    nodes = random_nodes(chance)
    some = wishes(chance, nodes, True)
    # One of them has a GPU that nobody else could have, until all others have ended
    some.append(Wish("b", BEGIN, 1, 60_000, 9, "blocked", 1))
    nodes["n9"] = 1
    more = [
        Wish(f"b{index}", one.at, chance.randint(1, 4), 50, chance.randint(0, 3), "blocked", 1)
        for index, one in enumerate(chance.sample(some, 15))
    ]
    alone = stream(client, nodes, some, f"alone{number}")
    return alone, stream(client, nodes, some + more, f"more{number}")


def test_who_is_blocked_by_its_own_group_changes_nothing_for_anybody_else(
    client: redis.Redis,
) -> None:
    for first in range(0, PAIRS, AT_ONCE // 2):
        client.flushdb()
        pairs = [pair(client, number) for number in range(first, first + AT_ONCE // 2)]
        serve([one for both in pairs for one in both])
        for alone, with_more in pairs:
            assert starts(alone) == starts(with_more)


def starts(stream: Stream) -> dict[str, tuple[int, str, tuple[str, ...]]]:
    runs = [run for run in stream.done if run.wish.group != "blocked"]
    assert max(run.end for run in runs) < BEGIN + 60_000
    return {run.wish.holder: (run.start, run.node, run.gpus) for run in runs}
