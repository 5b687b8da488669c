"""Starts a program as a worker would, prints its pids, and waits to be killed.

process_owner.py LOG ARGV…      the program says `ready` when it is complete
"""

import sys
import time
from pathlib import Path

from experiments.log_files import tail
from experiments.processes import Process


def main(log: str, *argv: str) -> None:
    process = Process.start(argv, log=Path(log))
    while "ready" not in tail(Path(log)):
        time.sleep(0.01)
    print(*process.descendants(), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
