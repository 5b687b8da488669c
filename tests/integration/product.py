"""The whole product, started as a user starts it, on a data folder of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "programs"
MANAGE = [sys.executable, str(ROOT / "manage.py")]
UP_WITHIN = 60.0


@dataclass
class Product:
    """A running Autotuner: its commands, its folder, and its processes."""

    folder: Path
    port: int
    environment: dict[str, str]
    words: tuple[str, ...] = ()  # Further options of `up`
    up: "subprocess.Popen[str] | None" = None
    output: list[str] = field(default_factory=list)

    def start(self) -> None:
        """`manage.py up`, until the pool has GPUs."""
        log = (self.folder / "up.txt").open("w")
        self.up = subprocess.Popen(
            [*MANAGE, "up", "--no-demo", "--port", str(self.port), *self.words],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log.close()
        until(self.has_gpus, UP_WITHIN, self.said)

    def said(self) -> str:
        return (self.folder / "up.txt").read_text()

    def has_gpus(self) -> bool:
        assert self.up is not None
        assert self.up.poll() is None, self.said()
        if "login" not in self.said():
            return False
        shown = self.manage("gpus", "--json", check=False)
        return shown.returncode == 0 and bool(json.loads(shown.stdout)["gpus"])

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C, until it has ended."""
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(number)
            self.up.wait(60)

    def manage(
        self, *words: str, check: bool = True, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """One command of the shell, as another terminal would run it."""
        done = subprocess.run(
            [*MANAGE, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.manage(*words, "--json").stdout)

    def tune(self, task: dict[str, Any], *words: str, check: bool = True) -> Any:
        """Start a task from a file; with --wait the document of `show`."""
        file = self.folder / f"{task['task_name']}.yaml"
        file.write_text(yaml.safe_dump(task, sort_keys=False))
        return self.manage("tune", str(file), *words, check=check)

    def finished(self, task: dict[str, Any], check: bool = True) -> Any:
        return json.loads(self.tune(task, "--wait", "--json", check=check).stdout)

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started on this data folder, engines too."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("AUTOTUNER_DATA_DIR") == str(self.folder)
                if mine and process.pid != os.getpid() and process.status() != "zombie":
                    found.append(process)
        return found


def until(ready: Callable[[], Any], within: float, otherwise: Callable[[], str] = str) -> Any:
    """What `ready` answers as soon as that is true; fails after `within` seconds."""
    give_up = time.monotonic() + within
    while not (answer := ready()):
        assert time.monotonic() < give_up, f"not within {within} s: {otherwise()}"
        time.sleep(0.1)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_product(
    inventory: str, words: tuple[str, ...] = (), **settings: str
) -> Iterator[Product]:
    """A product of its own; stopped at the end, and nothing of it may be left.

    `words` are further options of `up`.
    """
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        environment = {
            **os.environ,
            "AUTOTUNER_DATA_DIR": folder,
            "AUTOTUNER_NODE": "testnode",
            "GPUPOOL_INVENTORY": inventory,
            **settings,
        }
        product = Product(Path(folder), free_port(), environment, words)
        product.start()
        try:
            yield product
        finally:
            product.stop()
        left = product.processes()
        assert not left, [process.cmdline() for process in left]


def job(name: str, script: str, values: list[Any], **optimization: Any) -> dict[str, Any]:
    """A task of `job` experiments: a shell script that sees $AUTOTUNER_X."""
    return {
        "task_name": name,
        "base_runtime": "job",
        "command": ["sh", "-c", script.replace("{", "{{").replace("}", "}}")],
        "parameters": {"x": values},
        "optimization": {
            "strategy": "grid_search",
            "objective": "maximize_speed",
            "max_iterations": len(values),
            **optimization,
        },
    }
