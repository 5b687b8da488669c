#!/usr/bin/env python3
"""Does the product grow while it runs? Memory and open files, for half an hour: one JSON document.

    python tests/performance/soak.py [--minutes 30] [--warm-up 5]

Two tasks at a time, of jobs and of an engine under the load generator, with a live page open and
others asked for. After each two, when nothing runs, the memory (PSS: what processes share
is divided among them; and USS: what each has alone) and the open files of each part are looked at.
Exit code 1: after the warm-up some part has grown by more than 5 %, in memory or in files.
"""

import argparse
import http.cookiejar
import json
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import websockets.sync.client

from tests.integration.product import PROGRAMS, Product, job, running_product, until
from tests.performance.overhead import SCRIPT, part_of

GROWTH = 1.05
MB = 2**20
PAUSE = 2.0  # seconds from the end of a task to the look
Sample = dict[str, dict[str, float]]  # Of each part: pss_mb, uss_mb, files, processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, default=5.0, help="minutes before the first look")
    options = parser.parse_args()
    with running_product("simulated:4") as product:
        samples, tasks = run(product, 60 * options.minutes, 60 * options.warm_up)
    parts = {part: growth(samples, part) for part in sorted(samples[0])}
    missed = [part for part, figures in parts.items() if not is_flat(figures)]
    print(
        json.dumps(
            {
                "minutes": options.minutes,
                "tasks": tasks,
                "samples": len(samples),
                "parts": parts,
                "missed": missed,
            },
            indent=2,
        )
    )
    sys.exit(1 if missed else 0)


def run(product: Product, seconds: float, warm_up: float) -> tuple[list[Sample], int]:
    """Tasks until the time is over; the samples that were taken after the warm-up."""
    begin, samples, tasks = time.monotonic(), [], 0
    site = Site(product)
    while (lived := time.monotonic() - begin) < seconds or len(samples) < 2:
        tasks += 2
        # Both at once on four GPUs: some must wait for what others give back
        product.tune(jobs(f"jobs-{tasks}"))
        done = product.finished(engines(f"engines-{tasks}"))
        until(partial(has_ended, product, f"jobs-{tasks}"), 300)
        assert done["status"] == "COMPLETED", done
        site.look_around(done["id"])
        if lived >= warm_up:
            time.sleep(PAUSE)
            samples.append(sample(product))
            print(f"{lived / 60:.1f} min", totals(samples[-1]), file=sys.stderr, flush=True)
    site.close()
    assert site.frames > 0, "no live page was seen"
    return samples, tasks


def has_ended(product: Product, name: str) -> bool:
    status = product.json("show", name)["status"]
    assert status in ("RUNNING", "COMPLETED")
    return bool(status == "COMPLETED")


def jobs(name: str) -> dict[str, Any]:
    return job(name, SCRIPT, list(range(1, 41)), max_parallel_experiments=4)


def engines(name: str) -> dict[str, Any]:
    """A server that answers like an engine, under our load generator."""
    server = [sys.executable, str(PROGRAMS / "fake_openai_server.py"), "--port", "{port}"]
    return {
        "task_name": name,
        "base_runtime": "custom",
        "command": [*server, "--ttft", "{ttft}", "--model", "m"],
        "model": {"id_or_path": "m"},
        "parameters": {"ttft": [0.01, 0.02]},
        "optimization": {
            "strategy": "grid_search",
            "objective": "minimize_latency",
            "max_iterations": 3,
            "max_parallel_experiments": 2,
        },
        "benchmark": {
            "traffic_scenarios": ["D(16,8)"],
            "num_concurrency": [2],
            "max_requests_per_iteration": 20,
        },
    }


# ── what is looked at ───────────────────────────────────────────────────────────────────────


def sample(product: Product) -> Sample:
    assert product.up is not None
    up = psutil.Process(product.up.pid)
    parts: Sample = defaultdict(lambda: dict.fromkeys(("pss_mb", "uss_mb", "files", "count"), 0.0))
    for process in [up, *up.children(recursive=True)]:
        with suppress(psutil.Error):
            part, memory = parts[part_of(process)], process.memory_full_info()
            part["pss_mb"] += memory.pss / MB
            part["uss_mb"] += memory.uss / MB
            part["files"] += process.num_fds()
            part["count"] += 1
    return dict(parts)


def totals(one: Sample) -> str:
    return ", ".join(
        f"{part} {figures['pss_mb']:.1f} MB {figures['files']:.0f} files"
        for part, figures in sorted(one.items())
    )


def growth(samples: list[Sample], part: str) -> dict[str, float]:
    """The first third beside the last: a median hides one odd moment, and no growth."""
    third = max(1, len(samples) // 3)
    found: dict[str, float] = {}
    for figure in ("pss_mb", "uss_mb", "files", "count"):
        values = [one[part][figure] for one in samples if part in one]
        found[f"{figure}_first"] = round(median(values[:third]), 1)
        found[f"{figure}_last"] = round(median(values[-third:]), 1)
    found["pss_growth"] = round(found["pss_mb_last"] / found["pss_mb_first"] - 1, 4)
    found["uss_growth"] = round(found["uss_mb_last"] / found["uss_mb_first"] - 1, 4)
    return found


def is_flat(figures: dict[str, float]) -> bool:
    return all(
        figures[f"{name}_last"] <= GROWTH * figures[f"{name}_first"] for name in ("pss_mb", "files")
    )


# ── somebody who watches ────────────────────────────────────────────────────────────────────


class Site:
    """The pages, as the administrator's browser asks for them."""

    def __init__(self, product: Product) -> None:
        self.host = f"127.0.0.1:{product.port}"
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        password = re.search(r"admin / (\S+)", product.said())
        assert password is not None
        form = self.get("/admin/login/?next=/admin/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token is not None
        words = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": token[1]}
        sent = urllib.parse.urlencode({**words, "next": "/admin/"}).encode()
        self.opener.open(f"http://{self.host}/admin/login/", sent).close()
        self.frames = 0
        self.over = threading.Event()
        self.watched: list[threading.Thread] = []

    def get(self, path: str) -> str:
        with self.opener.open(f"http://{self.host}{path}") as answer:
            text: str = answer.read().decode()
            return text

    def look_around(self, task: int) -> None:
        """The lists, the pool, the task; and the live page of the next one, until it has ended."""
        tasks = "/admin/experiments/tuningtask/"
        for path in ("/admin/", tasks, "/admin/experiments/experiment/", "/admin/gpus/"):
            self.get(path)
        self.get(f"{tasks}{task}/change/")
        self.close()
        self.over = threading.Event()
        self.watched = [threading.Thread(target=self.watch, args=(task + 2, self.over))]
        self.watched[0].start()

    def watch(self, task: int, over: threading.Event) -> None:
        """A live page of a task, as soon as there is one."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)
        while not over.wait(0.5):
            with (
                suppress(websockets.exceptions.WebSocketException, OSError),
                websockets.sync.client.connect(
                    f"ws://{self.host}/ws/tasks/{task}/",
                    additional_headers={"Cookie": cookies, "Origin": f"http://{self.host}"},
                ) as frames,
            ):
                while not over.is_set():
                    with suppress(TimeoutError):
                        frames.recv(0.5)
                        self.frames += 1

    def close(self) -> None:
        self.over.set()
        for thread in self.watched:
            thread.join()


if __name__ == "__main__":
    main()
