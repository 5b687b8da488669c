"""Nothing is lost, and nothing is done twice, whatever dies while 200 experiments run.

By hand, with more faults; the second argument is a seed:

    python -m tests.stress.test_chaos 1000 7 [sqlite] [postgresql]
"""

import contextlib
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.marks import mark_of
from tests.integration.postgres_server import postgres_server
from tests.integration.product import Product, job, running_product, until
from tests.integration.redis_server import running_redis
from tests.stress.chaos import LOOK_EVERY, Chaos, Fault
from tests.stress.chaos_diary import Diary, script, violations

EXPERIMENTS, SECONDS, PARALLEL = 200, 1.0, 8
TTL = 6
STRIKE_EVERY = 2.0  # seconds
AWAY_AT_ONCE = 3  # Parts; on a machine that is busy the next strike waits until one is back
FAULTS = 50  # for each database; a task that is struck so often has about 40
AT_MOST = 1.5  # × the makespan without faults, and the downtime
ENDS_WITHIN = 300.0  # seconds after the last strike, also where ten others work
SEED = int(os.environ.get("STRESS_SEED", "1"))


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_experiment_ends_once_whatever_is_killed(database: str) -> None:
    figures = chaos_run(database, FAULTS, SEED)
    print(json.dumps(figures))
    assert figures["violations"] == []
    assert figures["makespan"] <= figures["allowed"]


def chaos_run(database: str, faults: int, seed: int) -> dict[str, Any]:
    """Tasks of 200 experiments, until there were so many faults; and one before, without any."""
    print(f"STRESS_SEED={seed} on {database}", flush=True)
    with running_chaos(database, random.Random(seed)) as chaos:
        reference = run_task(chaos, "reference", until_faults=0)
        makespan = allowed = 0.0
        wrong, rounds = list(reference["violations"]), 0
        statuses: Counter[str] = Counter()
        while len(chaos.faults) < faults:
            before, rounds = len(chaos.faults), rounds + 1
            done = run_task(chaos, f"round-{rounds}", until_faults=faults)
            downtime = time_away(chaos.faults[before:])
            makespan += done["makespan"]
            allowed += AT_MOST * reference["makespan"] + downtime
            wrong += done["violations"]
            statuses += done["statuses"]
            print(json.dumps({**done, "downtime": round(downtime, 1)}), flush=True)
            if wrong:
                print(last_words(chaos))
                break
    return {
        "database": database,
        "seed": seed,
        "experiments": rounds * EXPERIMENTS,
        "results": dict(statuses),
        "faults": len(chaos.faults),
        "by_kind": downtimes(chaos),
        "fault_free": round(reference["makespan"], 1),
        "downtime": round(time_away(chaos.faults), 1),
        "downtime_summed": round(sum(fault.downtime for fault in chaos.faults), 1),
        "makespan": round(makespan, 1),
        "allowed": round(allowed, 1),
        "violations": wrong,
    }


def time_away(faults: list[Fault]) -> float:
    """For how many seconds at least one part was away: two at once count once."""
    away, until_now = 0.0, 0.0
    for fault in sorted(faults, key=lambda fault: fault.at):
        end = fault.at + fault.downtime
        away += max(0.0, end - max(until_now, fault.at))
        until_now = max(until_now, end)
    return away


def downtimes(chaos: Chaos) -> dict[str, str]:
    """How often each was killed, and how long it took to come back."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for fault in chaos.faults:
        by_kind[fault.kind].append(fault.downtime)
    return {
        kind: f"{len(times)} × {sum(times) / len(times):.1f} s, at most {max(times):.1f} s"
        for kind, times in sorted(by_kind.items())
    }


@contextlib.contextmanager
def running_chaos(database: str, chance: random.Random) -> Iterator[Chaos]:
    """SQLite and the product's own Redis; or a PostgreSQL and a Redis that are not its own."""
    with contextlib.ExitStack() as stack:
        settings = {"GPUPOOL_LEASE_TTL": str(TTL)}
        servers: dict[str, Any] = {}
        if database == "postgresql":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at-")))
            servers["redis"] = stack.enter_context(running_redis(folder))
            servers["postgres"] = stack.enter_context(postgres_server())
            settings["REDIS_URL"] = servers["redis"].url
            settings["DATABASE_URL"] = servers["postgres"].url
        product = stack.enter_context(running_product(f"simulated:{PARALLEL}", **settings))
        yield Chaos(product, PARALLEL, TTL, chance, **servers)


def run_task(chaos: Chaos, name: str, until_faults: int) -> dict[str, Any]:
    """One task to its end, and what was wrong with it."""
    product = chaos.product
    folder = product.folder / name
    folder.mkdir()
    chaos.killed_jobs.clear()  # Of the task before
    values = list(range(1, EXPERIMENTS + 1))
    product.tune(job(name, script(folder, SECONDS), values, max_parallel_experiments=PARALLEL))
    try:
        strike_until_done(chaos, folder / "diary", name, until_faults)
        task = product.json("show", name)
        left = leftovers(product)
    except AssertionError:
        print(last_words(chaos))
        raise
    diary = Diary.read(folder / "diary")
    return {
        "makespan": moment(task["finished_at"]) - moment(task["started_at"]),
        "statuses": Counter(
            (one["error"] and one["error"]["kind"]) or one["status"] for one in task["experiments"]
        ),
        "runs": len(diary.runs),
        "done_again": diary.done_again,
        "violations": violations(task, EXPERIMENTS, diary, chaos.killed_jobs) + left,
    }


def strike_until_done(chaos: Chaos, diary: Path, name: str, until_faults: int) -> None:
    """Kill something every two seconds, until there were so many faults; returns when the task
    has ended and all is back."""
    next_strike = time.monotonic() + STRIKE_EVERY
    give_up = time.monotonic() + ENDS_WITHIN
    while (seen := begun(chaos, diary)) < EXPERIMENTS or not has_ended(chaos.product, name):
        assert time.monotonic() < give_up, f"{name} does not end"
        assert chaos.product.up is not None and chaos.product.up.poll() is None, "it gave up"
        chaos.look()
        goes_on = len(chaos.faults) < until_faults and len(chaos.missing()) < AWAY_AT_ONCE
        if goes_on and time.monotonic() >= next_strike:
            chaos.strike()
            give_up = time.monotonic() + ENDS_WITHIN  # While it is struck it may take its time
            away = ", ".join(fault.kind for fault in chaos.missing())
            print(f"{seen} begun; now away: {away}", file=sys.stderr, flush=True)
            next_strike = max(next_strike + STRIKE_EVERY, time.monotonic() + STRIKE_EVERY / 2)
        time.sleep(LOOK_EVERY)

    def all_back() -> bool:
        chaos.look()
        return not chaos.missing()

    until(all_back, 60, lambda: str([fault.kind for fault in chaos.missing()]))


def begun(chaos: Chaos, diary: Path) -> int:
    """How many experiments have begun at least once, also those killed before they could say so."""
    said = {run.number for run in Diary.read(diary).runs} if diary.exists() else set()
    return len(said | {x for x, _ in chaos.killed_jobs})


def has_ended(product: Product, name: str) -> bool:
    """Whether the task has ended; to ask costs a second of CPU."""
    shown = product.manage("show", name, "--json", check=False)
    return shown.returncode == 0 and json.loads(shown.stdout)["status"] != "RUNNING"


def leftovers(product: Product) -> list[str]:
    """What should be gone when a task has ended, and within a lease's time to live is not."""

    def pool() -> dict[str, Any]:
        shown: dict[str, Any] = product.json("gpus")
        return shown

    give_up = time.monotonic() + TTL + 4
    while True:
        shown = pool()
        jobs = [one.cmdline() for one in product.processes() if mark_of(one.pid)]
        found = [f"{what}: {shown[what]}" for what in ("leases", "waiting") if shown[what]]
        found += [f"processes: {jobs}"] if jobs else []
        found += [
            f"{gpu['uuid']} is {gpu['state']}" for gpu in shown["gpus"] if gpu["state"] != "free"
        ]
        if len(shown["gpus"]) != PARALLEL:
            found.append(f"{len(shown['gpus'])} GPUs in the pool")
        if not found or time.monotonic() > give_up:
            return found
        time.sleep(0.5)


def last_words(chaos: Chaos) -> str:
    """What was killed when, and the ends of the product's logs."""
    folder = chaos.product.folder
    now = time.monotonic() - time.time()
    story = [f"{fault.at - now:.3f} {fault.kind}, {fault.downtime:.1f} s" for fault in chaos.faults]
    logs = [folder / "up.txt", *sorted((folder / "logs").glob("*.log"))]
    ends = [
        "\n".join([f"── {log.name}", *log.read_text(errors="replace").splitlines()[-60:]])
        for log in logs
    ]
    return "\n".join([*story, *ends])


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    import tests.environment  # noqa: F401  Nobody else's database or Redis

    asked = int(sys.argv[1]) if len(sys.argv) > 1 else FAULTS
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    kinds = sys.argv[3:] or ["sqlite", "postgresql"]
    results = [chaos_run(kind, math.ceil(asked / len(kinds)), chosen) for kind in kinds]
    for result in results:
        print(json.dumps(result))
    good = all(not one["violations"] and one["makespan"] <= one["allowed"] for one in results)
    sys.exit(0 if good else 1)
