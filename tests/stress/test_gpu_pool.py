"""No two ever believe to have one GPU, whatever happens to them and to Redis."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.product import until
from tests.integration.redis_server import new_pool, running_redis
from tests.stress.crowd import PREFIX, crowd, forget_the_dead, nodes
from tests.stress.diaries import beliefs, late_acts, successions, violations

NODES = {"n1": 6, "n2": 6, "n3": 4}
TTL = 3.0
SEED = int(os.environ.get("STRESS_SEED", "1"))


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="at-") as path:
        yield Path(path)


@pytest.mark.parametrize(
    ("clients", "seconds", "restarts"),
    [
        pytest.param(24, 12.0, 2, id="short"),
        pytest.param(64, 60.0, 5, id="long", marks=pytest.mark.stress),
    ],
)
def test_no_gpu_is_ever_believed_to_be_held_by_two(
    folder: Path, clients: int, seconds: float, restarts: int
) -> None:
    print(f"STRESS_SEED={SEED}")
    diaries = folder / "diaries"
    diaries.mkdir()
    with (
        running_redis(folder / "redis") as server,
        new_pool(server.url, TTL, prefix=PREFIX) as pool,
        nodes(server.url, TTL, NODES),
    ):
        with crowd(server, diaries, TTL, clients, SEED) as people:
            until(lambda: any(path.stat().st_size for path in diaries.iterdir()), 60)
            people.live(seconds, restarts)
            ended = people.ended_by_themselves()
            people.end()
        # Nothing is left: within its time to live what the killed had, the rest at once
        forget_the_dead(pool)
        last = time.monotonic()
        until(lambda: not pool.leases(), 60)
        took = time.monotonic() - last
        shown = pool.snapshot()

    known = beliefs(diaries.iterdir())
    held = [one for one in known if one.looks]
    margins = [b.begin - a.end for _, a, b in successions(known) if not a.gave]
    print(
        f"{len(held)} leases, {sum(len(one.looks) for one in held)} looks, "
        f"{sum(one.lost is not None for one in known)} lost, {people.kills} kills, "
        f"{len(people.stops)} stops, Redis restarted {', '.join(people.restarts)}; "
        f"{late_acts(known)} acts came late, after a stop between look and act; "
        f"smallest margin {min(margins, default=0):.3f} s; all over after {took:.2f} s"
    )
    assert violations(known, people.stops, TTL) == []
    assert ended == []
    assert took <= TTL + 2
    assert [gpu.state for gpu in shown.gpus] == ["free"] * sum(NODES.values())
    assert len(people.restarts) == restarts
    assert len(held) > seconds / 2
