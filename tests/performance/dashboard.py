#!/usr/bin/env python3
"""What the start page costs with very many experiments in the database.

    python tests/performance/dashboard.py [--experiments 100000]

Tasks of 1,000 experiments, one after another on 16 GPUs until now, of which two run; in a database
of its own, with a Redis of its own. Prints one JSON document; exit code 1: a bar is missed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

AT_MOST = (
    0.2  # seconds of a core to draw it once; it is drawn for all viewers at most once a second
)
PER_TASK = 1000
GPUS = 16
TOOK = timedelta(minutes=5)
TIMES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        os.environ["AUTOTUNER_DATA_DIR"] = folder
        from tests.integration.redis_server import running_redis

        with running_redis(Path(folder)) as redis:
            os.environ["REDIS_URL"] = redis.url
            measured = measure(options.experiments)
    print(json.dumps(measured, indent=2))
    sys.exit(0 if all(measured["bars"].values()) else 1)


def measure(experiments: int) -> dict[str, Any]:
    from tests.performance import configured

    assert configured.READY
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from experiments import dashboard
    from experiments.pool import gpu_pool
    from gpupool import open_inventory

    call_command("migrate", verbosity=0)
    gpu_pool().initialise()
    gpu_pool().publish("alpha", open_inventory(f"simulated:{GPUS}", "alpha").gpus())
    fill(experiments)
    user = User.objects.create_superuser("admin")
    with CaptureQueriesContext(connection) as done:
        cold, parts = timed(dashboard.draw, user)
    warm = [timed(dashboard.draw, user)[0] for _ in range(TIMES)]
    return {
        "experiments": experiments,
        "queries": len(done),
        "first_s": round(cold, 4),
        "median_s": round(statistics.median(warm), 4),
        "worst_s": round(max(warm), 4),
        "bytes": {name: len(part.html) for name, part in parts.items()},
        "slowest_queries_s": sorted((float(one["time"]) for one in done), reverse=True)[:3],
        "bars": {"median": statistics.median(warm) <= AT_MOST},
    }


def timed(call: Any, *arguments: Any) -> tuple[float, Any]:
    begun = time.thread_time()  # What others do on the machine does not count
    answer = call(*arguments)
    return time.thread_time() - begun, answer


def fill(experiments: int, first: int = 0) -> None:
    """Rows as a search leaves them until there are so many, the newest ones of today. `first`: how
    many there are already.
    """
    from django.db import transaction
    from django.utils import timezone

    from experiments.models import Experiment, TuningTask
    from experiments.states import TaskStatus
    from experiments.taskfile import from_dict

    now = timezone.now()
    for place in range(first // PER_TASK, experiments // PER_TASK):
        runs = place >= experiments // PER_TASK - 2
        task = TuningTask(status=TaskStatus.RUNNING if runs else TaskStatus.COMPLETED)
        task.describe(from_dict(specification(place)))
        task.created_at = task.started_at = now - timedelta(days=60)
        older = place * PER_TASK
        rows = []
        with transaction.atomic():
            task.save()
            for number in range(PER_TASK):
                before = (experiments - older - number) // GPUS
                rows.append(row(task, number, now - before * TOOK, before == 0))
            Experiment.objects.bulk_create(rows, batch_size=500)
        if not runs:
            task.finished_at = rows[-1].finished_at
            task.save()


def row(task: Any, number: int, end: Any, runs: bool) -> Any:
    from experiments.models import Experiment
    from experiments.states import Status

    failed = number % 5 == 3
    level = {"label": "1", "metrics": {f"metric_{n}": 1.5 for n in range(30)}, "feasible": True}
    ended = Status.FAILED if failed else Status.SUCCESS
    return Experiment(
        task=task,
        number=number + 1,
        is_baseline=number == 0,
        parameters={"max-num-seqs": number},
        status=Status.BENCHMARKING if runs else ended,
        feasible=None if runs else not failed,
        objective_score=None if failed or runs else 100.0 + number % 97,
        metrics=level["metrics"],
        levels=[level],
        error_kind="out_of_memory" if failed and not runs else "",
        lease_id=f"lease-{task.pk}-{number}",
        node="alpha",
        gpu_uuids=[f"sim-alpha-{number % GPUS}"],
        placed_at=end - TOOK,
        started_at=end - TOOK,
        benchmarking_at=end - TOOK * 0.8,
        finished_at=None if runs else end,
    )


def specification(place: int) -> dict[str, Any]:
    return {
        "task_name": f"task {place}",
        "base_runtime": "vllm",
        "model": {"id_or_path": "/models/m"},
        "parameters": {"max-num-seqs": {"type": "integer", "low": 1, "high": 5000}},
        "optimization": {
            "strategy": "random",
            "objective": "maximize_throughput",
            "max_iterations": PER_TASK * 2,
            "max_parallel_experiments": 8,
        },
    }


if __name__ == "__main__":
    main()
