#!/usr/bin/env python3
"""What an experiment costs besides itself, and what a long history does to the next one.

    python tests/performance/overhead.py [--experiments 500] [--only run,advance]

Runs `job` experiments of half a second at eight in parallel on the whole product, with pretend
GPUs, and counts the CPU seconds of each of its parts; then measures `tuning.advance` beside 10,000
experiments that have ended, on SQLite and, where it is installed, on PostgreSQL. Prints one JSON
document; exit code 1: a bar is missed.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from tests.integration.postgres_server import program, running_postgres
from tests.integration.product import Product, job, running_product
from tests.integration.redis_server import running_redis

SECONDS, PARALLEL = 0.5, 8
AT_MOST = 1.25  # × the ideal
HISTORY, SLOWER_BY_AT_MOST_MS = 10_000, 20.0
SCRIPT = f"""sleep {SECONDS}; echo '{{"speed": '$AUTOTUNER_X'}}'"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--only", default="run,advance", help="run, advance")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # advance, in a process of its own
    options = parser.parse_args()
    if options.part:
        print(json.dumps(advance()))
        return
    measured: dict[str, Any] = {"cpus": os.cpu_count(), "load_before": os.getloadavg()[0]}
    if "run" in options.only:
        measured["run"] = run(options.experiments)
    if "advance" in options.only:
        measured["advance"] = {name: advance_on(name) for name in databases()}
    missed = [bar for bar, met in bars(measured) if not met]
    print(json.dumps({**measured, "missed": missed}, indent=2))
    sys.exit(1 if missed else 0)


def bars(measured: dict[str, Any]) -> list[tuple[str, bool]]:
    found = []
    if ran := measured.get("run"):
        found.append((f"at most {AT_MOST} × ideal", ran["ratio_to_ideal"] <= AT_MOST))
        found.append(("all succeeded", ran["succeeded"] == ran["experiments"]))
    for name, advanced in measured.get("advance", {}).items():
        slower = advanced["slower_by_others_ms"] < SLOWER_BY_AT_MOST_MS
        found.append((f"{name}: {HISTORY} others cost less than 20 ms", slower))
    return found


# ── the whole product ───────────────────────────────────────────────────────────────────────


def run(experiments: int) -> dict[str, Any]:
    with running_product(f"simulated:{PARALLEL}") as product:
        # The service that users meet has been up for a while: each worker process has run one
        product.finished(task("warm-up", 4 * PARALLEL))
        before = cpu_seconds(product)
        product.tune(task("measured", experiments))
        shown = wait_for(product, "measured", experiments)
        spent = cpu_seconds(product)
    took = shown.pop("seconds")
    ideal = math.ceil(experiments / PARALLEL) * SECONDS
    each = {part: 1000 * (spent[part] - before[part]) / experiments for part in spent}
    the_job = 1000 * cost_of_the_job()
    each["keepers and jobs"] -= the_job
    return {
        "experiments": experiments,
        "succeeded": shown["succeeded"],
        "seconds": round(took, 2),
        "ideal_seconds": ideal,
        "ratio_to_ideal": round(took / ideal, 3),
        "cpu_ms_per_experiment": {
            "ours": round(sum(each.values()), 1),
            **{part: round(ms, 1) for part, ms in sorted(each.items())},
            "the job itself": round(the_job, 1),
        },
        "cores_busy": round(sum(each.values()) * experiments / 1000 / took, 2),
    }


def task(name: str, experiments: int) -> dict[str, Any]:
    values = list(range(1, experiments + 1))
    return job(name, SCRIPT, values, max_parallel_experiments=PARALLEL)


def wait_for(product: Product, name: str, experiments: int) -> dict[str, Any]:
    """Its end, asked for seldom: to look costs CPU seconds too."""
    time.sleep(math.ceil(experiments / PARALLEL) * SECONDS)
    while (shown := product.json("show", name))["status"] == "RUNNING":
        time.sleep(2)
    succeeded = sum(one["status"] == "SUCCESS" for one in shown["experiments"])
    took = moment(shown["finished_at"]) - moment(shown["started_at"])
    return {"succeeded": succeeded, "seconds": took}


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def cpu_seconds(product: Product) -> dict[str, float]:
    """What each part of the product has used up to now, with all that it has reaped."""
    spent: dict[str, float] = defaultdict(float)
    assert product.up is not None
    up = psutil.Process(product.up.pid)
    for process in [up, *up.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times, part = process.cpu_times(), part_of(process)
            spent[part] += times.user + times.system
            # Only the processes of the Celery worker of a node have experiments for children
            others = "keepers and jobs" if part == "worker processes" else part
            spent[others] += times.children_user + times.children_system
    return spent


def part_of(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    for sign, part in (
        ("import keeper", "keepers of services"),
        ("redis-server unix", "Redis"),
        (" beat ", "scheduler"),
        ("uvicorn", "web"),
        ("--queues control", "control"),
        ("--queues node.", "worker processes"),
        ("manage.py worker", "manage.py worker"),
        ("manage.py up", "manage.py up"),
    ):
        if sign in words:
            return part
    return "keepers and jobs"


def cost_of_the_job(times: int = 20) -> float:
    """CPU seconds of the job's own command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(times):
        subprocess.run(["sh", "-c", SCRIPT.replace(str(SECONDS), "0")], stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / times


# ── one step of a task, in a database with a history ────────────────────────────────────────


def databases() -> list[str]:
    return ["sqlite", "postgresql"] if program("initdb") else ["sqlite"]


def advance_on(database: str) -> dict[str, float]:
    """`advance` in a process of its own, on an empty database of this kind."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="at-"))
        environment = {**os.environ, "AUTOTUNER_DATA_DIR": folder}
        environment["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"
        server = stack.enter_context(running_redis(Path(folder) / "redis"))
        environment["REDIS_URL"] = server.url
        if database == "postgresql":
            environment["DATABASE_URL"] = stack.enter_context(running_postgres())
        done = subprocess.run(
            [sys.executable, __file__, "--part", "advance"],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def advance() -> dict[str, float]:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    few = row_of_a_task("few")
    add_ended(few, 10)
    alone = advance_ms(few)
    many = row_of_a_task("many")
    add_ended(many, HISTORY)
    beside = advance_ms(few)
    own = advance_ms(many)
    # What `fill_gpus`, which follows, asks the database
    fill = 1000 * min(seconds(usual_and_waiting) for _ in range(15))
    return {
        "alone_ms": round(alone, 2),
        "beside_10000_others_ms": round(beside, 2),
        "with_10000_of_its_own_ms": round(own, 2),
        "fill_queries_with_10000_ms": round(fill, 2),
        "slower_by_others_ms": round(beside - alone, 2),
        "slower_by_its_own_ms": round(own - alone, 2),
    }


def row_of_a_task(name: str) -> Any:
    from experiments import planning, taskfile

    values = list(range(1, 2 * HISTORY))
    file = job(name, SCRIPT, values, max_parallel_experiments=PARALLEL)
    row = planning.create(taskfile.from_dict(file))
    row.start()
    return row


def add_ended(row: Any, count: int) -> None:
    """Experiments as they are at their end, with their moves."""
    from django.utils import timezone

    from experiments.models import Experiment, Move

    now = timezone.now()
    ended = Experiment.objects.bulk_create(
        Experiment(
            task=row,
            number=number,
            parameters={"x": number},
            status="SUCCESS",
            metrics={"speed": 1.0},
            command=["sh", "-c", SCRIPT],
            gpu_uuids=["GPU-1"],
            lease_id=f"lease-{number}",
            objective_value=1.0,
            objective_score=1.0,
            feasible=True,
            started_at=now,
            finished_at=now,
        )
        for number in range(1, count + 1)
    )
    steps = ["PENDING", "PLACED", "DEPLOYING", "BENCHMARKING", "SUCCESS"]
    Move.objects.bulk_create(
        Move(experiment=one, attempt=1, old=old, new=new)
        for one in ended
        for old, new in itertools.pairwise(steps)
    )


def advance_ms(row: Any, times: int = 40) -> float:
    """What `advance` takes to add the one experiment that is missing, in milliseconds."""
    from experiments import tuning

    tuning.advance(row.pk)  # All that may be in flight
    took = []
    for _ in range(times):
        row.experiments.filter(status="PENDING").order_by("-number")[0].delete()
        took.append(seconds(lambda: tuning.advance(row.pk)))
        assert row.experiments.filter(status="PENDING").count() == PARALLEL
    return 1000 * min(took)  # The one that others on this machine disturbed least


def usual_and_waiting() -> None:
    from experiments import dispatch

    dispatch.usual_duration({experiment.task_id for experiment in dispatch.waiting()})


def seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
