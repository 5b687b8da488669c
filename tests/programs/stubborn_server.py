"""A server that is hard to end: it ignores SIGTERM, and so do its children in other sessions.

    stubborn_server.py PORT CHILDREN [polite]

With `polite` only the children are stubborn. It prints `ready` when it listens.
"""

import os
import signal
import socket
import sys
import time

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave_orphan() -> None:
    """A grandchild in its own session, whose parent ends at once."""
    if os.fork() == 0:
        os.setsid()
        ignore_signals()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)


def main(port: str, children: str, manner: str = "stubborn") -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(port)))
        for _ in range(int(children)):
            leave_orphan()
        if manner == "stubborn":
            ignore_signals()
        while int(children):  # The parents of the orphans
            try:
                os.wait()
            except ChildProcessError:
                break
        server.listen()
        print("ready", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
