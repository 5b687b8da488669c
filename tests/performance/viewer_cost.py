#!/usr/bin/env python3
"""What one viewer of each live page costs the web server, in shares of a core.

    python tests/performance/viewer_cost.py [--seconds 60] [--pause 18.75]

The site's own web server and a Redis, on a data folder of their own; a task with 100 experiments
that have ended and four at a time that run. Another process moves a row every 19 seconds, as if
each experiment took five minutes, and publishes the GPUs' readings every two seconds, as a worker
does. One Chromium looks at one page after another: while all of that happens, and then while
nothing does. What the server takes when nobody looks is not the viewer's. Prints one JSON document;
exit code 1: a page costs more than 1 % of a core.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CORE = 0.01  # of a core for the only viewer of a page
ENDED, ABREAST, GPUS = 100, 4, 4
READ_EVERY = 2.0  # seconds between two readings of the GPUs, as a worker has it
SETTLE = 6.0  # seconds in which nothing is measured yet: the page is opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each page")
    parser.add_argument("--pause", type=float, default=18.75, help="between two moves, in seconds")
    parser.add_argument("--pages", nargs="+", help="only these")
    parser.add_argument("--moves", type=int, help=argparse.SUPPRESS)  # We are the worker
    options = parser.parse_args()
    if options.moves:
        return work(options.moves, options.pause)
    measured = measure(options)
    shares = [one["viewer"] for looked in measured.values() for one in looked["pages"].values()]
    print(json.dumps({"load": os.getloadavg(), "core_at_most": CORE, **measured}, indent=2))
    sys.exit(0 if max(shares) <= CORE else 1)


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Each page while rows move, and while nothing happens."""
    from tests.integration.product import free_port
    from tests.integration.redis_server import running_redis
    from tests.performance.push_latency import web_server

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as redis:
        os.environ.update(AUTOTUNER_DATA_DIR=folder, REDIS_URL=redis.url)
        said = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "shell"],
            input=f"from tests.performance.viewer_cost import prepare; prepare({port})",
            **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
        )
        site = json.loads(said.stdout.splitlines()[-1])
        pages = {name: site["pages"][name] for name in options.pages or site["pages"]}
        with web_server(site["command"], port) as web, chromium(port, site["cookie"]) as window:
            words = [sys.executable, __file__, "--pause", str(options.pause)]
            worker = subprocess.Popen([*words, "--moves", str(site["task"])])
            try:
                moving = look_at_all(pages, window, web, options.seconds)
            finally:
                worker.terminate()
                worker.wait(30)
            still = look_at_all(pages, window, web, options.seconds)
            return {"while_rows_move": moving, "while_nothing_happens": still}


def look_at_all(pages: dict[str, str], window: Any, web: Any, seconds: float) -> dict[str, Any]:
    nobody, found = looked_at(web, seconds), {}
    for name, address in pages.items():
        page, sizes = window.new_page(), Sizes()
        page.on("response", sizes.answer)
        page.on("websocket", lambda socket, sizes=sizes: socket.on("framereceived", sizes.frame))
        page.goto(address)
        page.wait_for_selector("#connection[data-state=live]")
        page.wait_for_timeout(1000 * SETTLE)
        sizes.seen.clear()
        core = looked_at(web, seconds, page)
        found[name] = {
            "viewer": round(core - nobody, 4),
            "messages_per_s": round(len(sizes.seen) / seconds, 2),
            "bytes_per_s": round(sum(sizes.seen) / seconds),
        }
        page.close()
    return {"nobody": round(nobody, 4), "pages": found}


class Sizes:
    """How large everything is that a page is sent."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def answer(self, answer: Any) -> None:
        self.seen.append(int(answer.header_value("content-length") or 0))

    def frame(self, frame: str | bytes) -> None:
        self.seen.append(len(frame))


def looked_at(web: Any, seconds: float, page: Any = None) -> float:
    """The share of a core that the web server took meanwhile."""
    before, begun = sum(web.cpu_times()[:2]), time.monotonic()
    page.wait_for_timeout(1000 * seconds) if page else time.sleep(seconds)
    return (sum(web.cpu_times()[:2]) - before) / (time.monotonic() - begun)


@contextmanager
def chromium(port: int, cookie: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS

    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        address = f"http://127.0.0.1:{port}"
        window = browser.new_context(base_url=address)
        window.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
        yield window
        browser.close()


def prepare(port: int) -> None:
    """An administrator who is logged in, a task that runs, GPUs, and the web server's command."""
    from datetime import timedelta

    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from experiments.management.commands import up
    from experiments.models import Experiment, TuningTask
    from experiments.pool import gpu_pool
    from experiments.taskfile import from_dict
    from tests.performance import dashboard

    call_command("migrate", verbosity=0)
    gpu_pool().initialise()
    publish(0)
    specification = dashboard.specification(0)
    specification["parameters"] |= {
        "max-num-batched-tokens": [1024, 2048, 4096, 8192],
        "enable-prefix-caching": [True, False],
    }
    task = TuningTask()
    task.describe(from_dict(specification))
    task.max_experiments, task.max_parallel_experiments = 10 * ENDED, ABREAST
    task.save()
    task.start()
    now, rows = timezone.now(), []
    for number in range(ENDED):
        end = now - (ENDED - number) * timedelta(minutes=5) / ABREAST
        row = dashboard.row(task, number, end, False)
        row.parameters, row.gpu_uuids = parameters(number), [f"sim-alpha-{number % GPUS}"]
        rows.append(row)
    Experiment.objects.bulk_create(rows)
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    lists = "/admin/experiments"
    site = {
        "task": task.pk,
        "cookie": client.cookies["sessionid"].value,
        "command": up.web_server("127.0.0.1", port),
        "pages": {
            "task": f"{lists}/tuningtask/{task.pk}/live/",
            "dashboard": "/admin/",
            "tasks": f"{lists}/tuningtask/",
            "gpus": "/admin/gpus/",
        },
    }
    print(json.dumps(site))


def parameters(number: int) -> dict[str, Any]:
    return {
        "max-num-seqs": 1 + number % 97,
        "max-num-batched-tokens": 1024 * 2 ** (number % 4),
        "enable-prefix-caching": number % 3 == 0,
    }


def publish(turn: int) -> None:
    """The GPUs as they are read: busy, each time a little differently."""
    from experiments.pool import gpu_pool
    from gpupool import Gpu

    gpu_pool().publish(
        "alpha",
        [
            Gpu(
                f"sim-alpha-{index}",
                "alpha",
                index,
                "NVIDIA H100",
                81559,
                9000 + turn % 7 * 10,
                0.9 + (turn + index) % 8 / 100,
                temperature_c=60 + turn % 5,
                power_w=600.0 + turn % 50,
            )
            for index in range(GPUS)
        ],
    )


def work(task_id: int, pause: float) -> None:
    """Move rows and publish readings until we are ended."""
    from tests.performance import configured

    assert configured.READY
    from experiments.models import Experiment, TuningTask
    from tests.performance.push_latency import step

    task = TuningTask.objects.get(pk=task_id)
    number = task.experiments.count()
    rows: list[Experiment] = []
    begun, turn, reading = time.monotonic(), 0, 0
    while True:
        place = turn % ABREAST
        if place >= len(rows) or rows[place].has_ended:
            number += 1
            new = Experiment(task=task, number=number, parameters=parameters(number))
            new.save()
            rows[place : place + 1] = [new]
        step(rows[place])
        turn += 1
        while time.monotonic() < begun + turn * pause:
            if time.monotonic() >= begun + reading * READ_EVERY:
                publish(reading := reading + 1)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
