#!/usr/bin/env python3
"""What the admin's pages cost the server with very many experiments in the database.

    python tests/performance/lists.py [--experiments 100000] [--database postgresql]

The lists of tasks and experiments as they come, sorted by each column, filtered, searched and far
down; the page of a task with 1,000 experiments, that of an experiment, and the start page. Each is
asked for through the whole site, once to warm up and then some times. In a database of its own.
Prints one JSON document; exit code 1: a page takes longer than 200 ms, or its number of queries
grows with the rows.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

AT_MOST = 0.2  # seconds of a core
TIMES = 5
TASKS, EXPERIMENTS = "/admin/experiments/tuningtask/", "/admin/experiments/experiment/"
FEW = 3000  # experiments, against which the number of queries is compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=100_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="at-"))
        os.environ["AUTOTUNER_DATA_DIR"] = folder
        from tests.integration.postgres_server import running_postgres
        from tests.integration.redis_server import running_redis

        if options.database == "postgresql":
            os.environ["DATABASE_URL"] = stack.enter_context(running_postgres())
        os.environ["REDIS_URL"] = stack.enter_context(running_redis(Path(folder))).url
        measured = measure(options.experiments)
    print(json.dumps({"database": options.database, **measured}, indent=2))
    sys.exit(0 if all(measured["bars"].values()) else 1)


def measure(experiments: int) -> dict[str, Any]:
    from tests.performance import configured

    assert configured.READY
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from tests.performance.dashboard import fill

    call_command("migrate", verbosity=0)
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.create_superuser("admin"))
    fill(FEW)
    before = {name: look(client, address, 1)["queries"] for name, address in pages().items()}
    fill(experiments, first=FEW)
    found = {name: look(client, address, TIMES) for name, address in pages().items()}
    slow = [name for name, one in found.items() if one["median_s"] > AT_MOST]
    more = [name for name, one in found.items() if one["queries"] > before[name]]
    return {
        "experiments": experiments,
        "load": os.getloadavg(),
        "pages": found,
        "slower_than_the_bar": slow,
        "more_queries_than_with_few": more,
        "bars": {"time": not slow, "queries": not more},
    }


def pages() -> dict[str, str]:
    """By what they show, their addresses."""
    from experiments.experiment_admin import ExperimentAdmin
    from experiments.models import Experiment, TuningTask
    from experiments.task_admin import TuningTaskAdmin

    task = TuningTask.objects.filter(status="COMPLETED").latest("pk")
    running = TuningTask.objects.filter(status="RUNNING").latest("pk")
    one = Experiment.objects.filter(task=task).latest("pk")
    last = Experiment.objects.count() // 50
    found = {
        "tasks": TASKS,
        "tasks, searched": f"{TASKS}?q=task",
        "tasks, running": f"{TASKS}?status__exact=RUNNING",
        "experiments": EXPERIMENTS,
        "experiments, last page": f"{EXPERIMENTS}?p={last}",
        "experiments, searched": f"{EXPERIMENTS}?q=seqs",
        "experiments, searched in vain": f"{EXPERIMENTS}?q=nowhere",
        "experiments, failed": f"{EXPERIMENTS}?status__exact=FAILED",
        "experiments, of a task": f"{EXPERIMENTS}?task__id__exact={task.pk}",
        "experiments, of a node": f"{EXPERIMENTS}?node=alpha",
        "experiments, of a GPU": f"{EXPERIMENTS}?gpu=sim-alpha-3",
        "experiments, infeasible": f"{EXPERIMENTS}?feasible__exact=0",
        "experiments, out of memory": f"{EXPERIMENTS}?error_kind__exact=out_of_memory",
        "page of a task that has ended": f"{TASKS}{task.pk}/live/",
        "page of a task that runs": f"{TASKS}{running.pk}/live/",
        "page of an experiment": f"{EXPERIMENTS}{one.pk}/change/",
        "start page": "/admin/",
    }
    for address, shown, model in (
        (TASKS, TuningTaskAdmin, TuningTask),
        (EXPERIMENTS, ExperimentAdmin, Experiment),
    ):
        for place, column in enumerate(shown.list_display, 1):
            field = getattr(getattr(shown, column, None), "admin_order_field", None)
            if field or column in {one.name for one in model._meta.fields}:
                found[f"{address.split('/')[-2]}s by {column}"] = f"{address}?o=-{place}"
    return found


def look(client: Any, address: str, times: int) -> dict[str, Any]:
    """What one page costs him who asks first: of what is kept for others, only what was said of
    tasks that have ended is left. A server that has just started works that out once.
    """
    from django.db import connection

    from experiments import dashboard, summaries

    def asked() -> Any:
        summaries.forget(ended=False)
        dashboard.forget()
        return client.get(address)

    done: list[tuple[float, str]] = []

    def timed(execute: Any, sql: str, *others: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, *others)
        finally:
            done.append((time.perf_counter() - begun, sql))

    asked()
    with connection.execute_wrapper(timed):
        answer = asked()
    assert answer.status_code == 200, (address, answer.status_code)
    core, wall = [], []
    for _ in range(times):
        at, begun = time.perf_counter(), time.thread_time()
        asked()
        core.append(time.thread_time() - begun)
        wall.append(time.perf_counter() - at)
    slowest = max(done)
    return {
        "median_s": round(statistics.median(core), 4),
        "wall_median_s": round(statistics.median(wall), 4),
        "queries": len(done),
        "slowest_query_s": round(slowest[0], 4),
        "slowest_query": slowest[1][-300:],
    }


if __name__ == "__main__":
    main()
