"""A real PostgreSQL for tests, where its programs are installed; to be killed at will."""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

READY_WITHIN = 30.0  # seconds


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs; Debian keeps them off the PATH."""
    return shutil.which(name) or next(iter(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")), None)


class PostgresServer:
    """One server on a Unix socket in a folder of its own, and on a port if one is given."""

    def __init__(self, folder: str, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.url = f"postgres://postgres@{quote(folder, safe='')}:{port or 5432}/postgres"
        # It refuses to run as root
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody", "nogroup")
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        subprocess.run(
            [
                *(str(program("initdb")), "-D", f"{self.folder}/data"),
                *("-U", "postgres", "-A", "trust", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **self._user,
        )
        with open(f"{self.folder}/data/pg_hba.conf", "a") as who_may:
            who_may.write("host all all samenet trust\n")

    def url_at(self, host: str) -> str:
        """The DATABASE_URL for those who reach it over a network."""
        return f"postgres://postgres@{host}:{self.port}/postgres"

    def start(self) -> None:
        """Start, or start again on the same data; returns at once."""
        with open(f"{self.folder}/log", "a") as log:
            self._process = subprocess.Popen(
                [
                    *(str(program("postgres")), "-D", f"{self.folder}/data", "-k", self.folder),
                    *("-p", str(self.port or 5432)),
                    *("-c", f"listen_addresses={'*' if self.port else ''}"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                **self._user,
            )

    def answers(self) -> bool:
        try:
            psycopg.connect(
                f"host={self.folder} port={self.port or 5432} user=postgres", connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    def wait(self) -> None:
        """Until it answers."""
        give_up = time.monotonic() + READY_WITHIN
        while not self.answers():
            assert time.monotonic() < give_up, f"no PostgreSQL within {READY_WITHIN} s"
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGQUIT is its "immediate" stop, after which its log is played back."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(READY_WITHIN)
            self._process = None


@contextlib.contextmanager
def postgres_server(port: int = 0) -> Iterator[PostgresServer]:
    """A server that answers; skips the test where it is not installed."""
    if not (program("initdb") and program("postgres")):
        pytest.skip("PostgreSQL is not installed")
    folder = tempfile.mkdtemp(prefix="at-")
    server = PostgresServer(folder, port)
    try:
        server.initialise()
        server.start()
        server.wait()
        yield server
    finally:
        server.stop(signal.SIGINT)  # Not SIGTERM, which waits for clients, also for dead ones
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The DATABASE_URL of such a server."""
    with postgres_server() as server:
        yield server.url
