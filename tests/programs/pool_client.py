"""A program that needs GPUs: it waits for them, uses them for a while, gives them back, again.

pool_client.py URL PREFIX TTL NAME DIARY SEED GPUS LONGEST

Asks for 1 to GPUS GPUs at a time and uses them for up to LONGEST seconds. Into DIARY it writes what
it believes, in lines `what looked done token gpu,gpu,…`:

    has    it is in the block, and its first look said that it holds the lease
    acts   it looked again, and the lease was not lost
    lost   it looked, and the lease was lost
    gave   it leaves the block

The times are of the monotonic clock: `looked` is right before the look, so that then it held the
lease for sure, and `done` is when it acted. A line is written whole or not at all, also when the
program is killed. SIGTERM ends it in order.
"""

import os
import random
import signal
import sys
import time
from contextlib import suppress

from gpupool import GpuPool, LeaseLost, connect
from gpupool.request import HeldLease

LOOK_EVERY = 0.01  # seconds


class Diary:
    """The file of one client."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, looked: float, lease: HeldLease) -> None:
        gpus = ",".join(lease.gpus)
        line = f"{what} {looked:.6f} {time.monotonic():.6f} {lease.token} {gpus}\n"
        os.write(self._file, line.encode())


def use(lease: HeldLease, diary: Diary, seconds: float) -> None:
    """Act on the GPUs for so long; before each act look whether they are still ours."""
    what, end = "has", time.monotonic() + seconds
    try:
        while (now := time.monotonic()) < end:
            if lease.lost:
                return diary.write("lost", now, lease)
            diary.write(what, now, lease)
            what = "acts"
            time.sleep(LOOK_EVERY)
    except SystemExit:  # In order: it is given back
        now = time.monotonic()
        diary.write("lost" if lease.lost else "gave", now, lease)
        raise
    return diary.write("lost" if lease.lost else "gave", now, lease)


def main(
    url: str, prefix: str, ttl: float, name: str, path: str, seed: int, gpus: int, longest: float
) -> None:
    """Use GPUs until somebody ends this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    chance = random.Random(seed)
    diary = Diary(path)
    with connect(url) as client:
        pool = GpuPool(client, ttl, prefix)
        while True:
            with (
                suppress(LeaseLost),
                pool.lease(gpus=chance.randint(1, gpus), holder=name) as lease,
            ):
                use(lease, diary, chance.uniform(0.05, longest))
            time.sleep(chance.uniform(0, 0.05))


if __name__ == "__main__":
    url, prefix, ttl, name, path, seed, gpus, longest = sys.argv[1:]
    main(url, prefix, float(ttl), name, path, int(seed), int(gpus), float(longest))
