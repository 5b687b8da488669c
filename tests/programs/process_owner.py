"""Starts a program as a worker would, prints its pids, and waits to be killed.

process_owner.py LOG PIDS ARGV…         PIDS: how many to wait for
"""

import sys
import time
from pathlib import Path

from experiments.processes import Process


def main(log: str, pids: str, *argv: str) -> None:
    process = Process.start(argv, log=Path(log))
    while len(process.descendants()) < int(pids):
        time.sleep(0.01)
    print(*process.descendants(), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
