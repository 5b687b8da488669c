#!/usr/bin/env python3
"""How long after its commit a status change is on every open page of a task.

    python tests/performance/push_latency.py [--viewers 50 200] [--seconds 30]

The site's own web server and a Redis, on a data folder of their own. Another process moves rows,
as a worker does: eight experiments at a time, two moves a second, and all eight at once now and
then. Viewers are logged-in WebSockets, and one Chromium whose MutationObserver says when a row's
status was in its document. All clocks are this machine's. Prints one JSON document; exit code 1:
a bar is missed.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

AT_MOST = {50: 0.100, 200: 0.250}  # viewers: seconds, of the 99th percentile
CORE = 0.01  # of a core for a viewer in the web server
ABREAST = 8  # experiments that run at a time
BURST_EVERY = 10  # moves: then all move at once
CLIENTS = 2  # processes, that share the viewers
SETTLE = 4.0  # seconds in which nothing is measured yet
ORDER = ("PENDING", "PLACED", "DEPLOYING", "BENCHMARKING", "SUCCESS")
ROW = re.compile(r'<tr [^>]*data-n="(\d+)".*?<span class="at-pill[^>]*>(\w+)<', re.S)
WATCH = """() => {
    window.changes = [];
    const shown = {};
    const look = () => {
        const now = Date.now() / 1000;
        document.querySelectorAll('tr[data-n]').forEach(row => {
            const said = row.querySelector('.at-pill').textContent;
            if (shown[row.dataset.n] !== said) {
                shown[row.dataset.n] = said;
                window.changes.push([now, Number(row.dataset.n), said]);
            }
        });
    };
    look();
    new MutationObserver(look).observe(
        document.querySelector('.at-page'), {childList: true, subtree: true, characterData: true});
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, nargs="+", default=list(AT_MOST))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=0.5, help="between two moves, in seconds")
    parser.add_argument("--experiments", type=int, default=40, help="that have ended before")
    parser.add_argument("--moves", type=int, help=argparse.SUPPRESS)  # We are the worker
    parser.add_argument("--listen", help=argparse.SUPPRESS)  # We are some of the viewers
    options = parser.parse_args()
    if options.moves:
        return move(options.moves, options.seconds, options.pause)
    if options.listen:
        return asyncio.run(listen(json.loads(options.listen)))
    measured = [measure(viewers, options) for viewers in options.viewers]
    print(json.dumps({"load": os.getloadavg(), "runs": measured}, indent=2))
    sys.exit(0 if all(all(one["bars"].values()) for one in measured) else 1)


def measure(viewers: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run, with a site of its own."""
    from tests.integration.product import free_port
    from tests.integration.redis_server import running_redis

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as redis:
        os.environ.update(AUTOTUNER_DATA_DIR=folder, REDIS_URL=redis.url)
        call = f"prepare({viewers}, {options.experiments}, {port})"
        said = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "shell"],
            input=f"from tests.performance.push_latency import prepare; {call}",
            **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
        )
        site = json.loads(said.stdout.splitlines()[-1])
        with web_server(site["command"], port) as web:
            return watch(site, port, web, viewers, options)


def prepare(viewers: int, ended: int, port: int) -> None:
    """People who are logged in, a task that runs, and the web server's command as `up` has it."""
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from experiments.management.commands import up
    from experiments.models import Experiment, TuningTask
    from experiments.taskfile import from_dict
    from tests.performance import dashboard

    call_command("migrate", verbosity=0)
    task = TuningTask()
    task.describe(from_dict(dashboard.specification(0)))
    task.max_experiments = ended + 100
    task.max_parallel_experiments = ABREAST
    task.save()
    task.start()
    now = timezone.now()
    rows = [
        dashboard.row(task, number, now - (ended - number) * dashboard.TOOK / ABREAST, False)
        for number in range(ended)
    ]
    Experiment.objects.bulk_create(rows)
    role = Group.objects.get(name="viewer")
    cookies = []
    for number in range(viewers):
        user = User.objects.create_user(f"viewer-{number}", is_staff=True)
        user.groups.add(role)
        client = Client()
        client.force_login(user)
        cookies.append(client.cookies["sessionid"].value)
    command = up.web_server("127.0.0.1", port)
    print(json.dumps({"task": task.pk, "cookies": cookies, "command": command}))


@contextlib.contextmanager
def web_server(command: list[str], port: int) -> Iterator[Any]:
    """The process, while it runs."""
    import psutil

    from tests.integration.product import until

    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        web = psutil.Process(process.pid)
        until(lambda: any(one.laddr.port == port for one in web.net_connections()), 60)
        yield web
    finally:
        process.terminate()
        process.wait(30)


def watch(
    site: Any, port: int, web: Any, viewers: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Open all pages, let rows move, and compare what the pages have seen with the commits."""
    me = [sys.executable, __file__]
    address = f"127.0.0.1:{port}"
    clients = []
    for place in range(CLIENTS):
        told = {
            "address": address,
            "task": site["task"],
            "cookies": site["cookies"][place::CLIENTS],
        }
        words = [*me, "--listen", json.dumps(told)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        clients.append(subprocess.Popen(words, text=True, **pipes))
    with chromium(address, site) as page:
        for client in clients:
            assert client.stdout is not None and client.stdout.readline() == "open\n"
        time.sleep(SETTLE)
        before, begun = sum(web.cpu_times()[:2]), time.monotonic()
        words = [*me, "--seconds", str(options.seconds), "--pause", str(options.pause)]
        words += ["--moves", str(site["task"])]
        moved = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        time.sleep(SETTLE / 2)
        took = time.monotonic() - begun
        used = (sum(web.cpu_times()[:2]) - before) / took
        seen = [json.loads(client.communicate("enough\n")[0]) for client in clients]
        changes = page.evaluate("window.changes") if page else []
    moves = json.loads(moved)
    late = [one for client in seen for shown in client["shown"] for one in delays(moves, shown)]
    drawn = delays(moves, changes)
    missed = sum(one is None for one in late)
    times = sorted(one for one in late if one is not None)
    frames = {frame for client in seen for frame in client["frames"]}
    whole = sum(client["bytes"] for client in seen) / viewers
    bars = {"core": used / viewers <= CORE, "nothing is missed": not missed}
    if viewers in AT_MOST:
        bars["p99"] = percentile(times, 0.99) <= AT_MOST[viewers]
    return {
        "viewers": viewers,
        "moves": len(moves),
        "p50_ms": ms(percentile(times, 0.5)),
        "p99_ms": ms(percentile(times, 0.99)),
        "max_ms": ms(times[-1]),
        "missed": missed,
        "chromium": summary([one for one in drawn if one is not None]) if page else "not found",
        "web_core": round(used, 4),
        "web_core_per_viewer": round(used / viewers, 5),
        "different_frames_per_s": round(len(frames) / took, 1),
        "bytes_per_viewer_and_s": round(whole / took),
        "bars": bars,
    }


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50_ms": ms(percentile(ordered, 0.5)), "max_ms": ms(ordered[-1])}


def delays(moves: list[Any], shown: list[Any]) -> list[float | None]:
    """For each commit, when this page had that status of that row, or a later one."""
    later: dict[int, list[tuple[int, float]]] = {}
    for at, number, status in shown:
        if status in ORDER:
            later.setdefault(number, []).append((ORDER.index(status), at))
    found: list[float | None] = []
    for at, number, status in moves:
        rank = ORDER.index(status)
        had = [when for one, when in later.get(number, ()) if one >= rank and when >= at - 0.05]
        found.append(min(had) - at if had else None)
    return found


@contextlib.contextmanager
def chromium(address: str, site: Any) -> Iterator[Any]:
    """One real page among them; None where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        window = browser.new_context(base_url=f"http://{address}")
        cookie = {"name": "sessionid", "value": site["cookies"][0], "url": f"http://{address}"}
        window.add_cookies([cookie])  # type: ignore[list-item]
        page = window.new_page()
        page.goto(f"/admin/experiments/tuningtask/{site['task']}/live/")
        page.wait_for_selector("#connection[data-state=live]")
        page.evaluate(WATCH)
        yield page
        browser.close()


# ── the worker ──────────────────────────────────────────────────────────────────────────────


def move(task_id: int, seconds: float, pause: float) -> None:
    """Print every move: when it was committed, which row, and its new status."""
    from tests.performance import configured

    assert configured.READY
    from experiments.models import Experiment, TuningTask

    task = TuningTask.objects.get(pk=task_id)
    number = task.experiments.count()
    rows: list[Experiment] = []
    done: list[tuple[float, int, str]] = []
    begun = time.monotonic()
    for turn in range(int(seconds / pause)):
        time.sleep(max(0.0, begun + turn * pause - time.monotonic()))
        is_burst = turn % BURST_EVERY == 0
        for place in range(ABREAST) if is_burst else [turn % ABREAST]:
            if place >= len(rows) or rows[place].has_ended:
                number += 1
                new = Experiment(task=task, number=number, parameters={"max-num-seqs": number})
                new.save()
                rows[place : place + 1] = [new]
            done.append(step(rows[place]))
    print(json.dumps(done))


def step(row: Any) -> tuple[float, int, str]:
    """The next move of this experiment."""
    from django.db import transaction

    from gpupool import Lease

    lease = Lease(f"lease-{row.pk}", 1, row.holder, "group", "alpha", ("sim-alpha-1",), 0.0, 60.0)
    steps = {
        "PENDING": lambda: row.place(lease),
        "PLACED": lambda: row.start(["./measure"]),
        "DEPLOYING": row.begin_benchmark,
        "BENCHMARKING": lambda: row.succeed(
            objective_score=100.0 + row.number % 7, feasible=True, metrics={"metric_1": 1.5}
        ),
    }
    committed: list[float] = []
    with transaction.atomic():  # The first one to be told, before the pages are
        transaction.on_commit(lambda: committed.append(time.time()))
        steps[row.status]()
    return committed[0], row.number, str(row.status)


# ── the viewers ─────────────────────────────────────────────────────────────────────────────


async def listen(told: dict[str, Any]) -> None:
    """Hold all these pages open for a while; print what each has shown, and when."""
    pages = [Viewer() for _ in told["cookies"]]
    follow = [
        asyncio.create_task(page.follow(told, cookie))
        for page, cookie in zip(pages, told["cookies"], strict=True)
    ]
    await asyncio.gather(*(page.opened.wait() for page in pages))
    print("open", flush=True)
    await asyncio.sleep(SETTLE)
    Viewer.received = 0
    Viewer.parsed.clear()
    await asyncio.to_thread(sys.stdin.readline)  # Until all has moved, and was seen
    assert not any(task.done() for task in follow), "the server has closed a page"
    frames = [*Viewer.parsed]
    said = {"shown": [page.shown for page in pages], "bytes": Viewer.received, "frames": frames}
    print(json.dumps(said), flush=True)
    os._exit(0)  # What is still open is closed with it


class Viewer:
    """One open page. All of them are sent the same, which is read once."""

    received = 0
    parsed: ClassVar[dict[str, list[tuple[int, str]]]] = {}

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.shown: list[tuple[float, int, str]] = []
        self.last: dict[int, str] = {}

    async def follow(self, told: dict[str, Any], cookie: str) -> None:
        import websockets

        headers = {"Cookie": f"sessionid={cookie}"}
        origin = f"http://{told['address']}"
        where = f"ws://{told['address']}/ws/tasks/{told['task']}/"
        async with websockets.connect(
            where, additional_headers=headers, origin=origin, max_size=None, open_timeout=60
        ) as socket:
            async for frame in socket:
                self.see(time.time(), str(frame))
        raise RuntimeError("the server has closed a page")

    def see(self, at: float, frame: str) -> None:
        Viewer.received += len(frame)
        key = hashlib.blake2b(frame.encode(), digest_size=8).hexdigest()
        if key not in Viewer.parsed:
            Viewer.parsed[key] = [(int(number), said) for number, said in ROW.findall(frame)]
        for number, said in Viewer.parsed[key]:
            if self.last.get(number) != said:
                self.last[number] = said
                self.shown.append((at, number, said))
        self.opened.set()


if __name__ == "__main__":
    main()
