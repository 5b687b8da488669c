"""A real PostgreSQL for tests, where its programs are installed."""

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs; Debian keeps them off the PATH."""
    return shutil.which(name) or next(iter(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")), None)


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The DATABASE_URL of a server on a Unix socket; skips the test where there is none."""
    initdb, postgres = program("initdb"), program("postgres")
    if not (initdb and postgres):
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="at-")
    if user:
        shutil.chown(folder, "nobody", "nogroup")
    data = f"{folder}/data"
    subprocess.run(
        [initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **user,
    )
    with open(f"{folder}/log", "w") as log:
        server = subprocess.Popen(
            [postgres, "-D", data, "-k", folder, "-c", "listen_addresses="],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            **user,
        )
    try:
        for _ in range(300):
            if os.path.exists(f"{folder}/.s.PGSQL.5432"):
                break
            time.sleep(0.1)
        yield f"postgres://postgres@{quote(folder, safe='')}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
