"""The one door to child processes: what is started here never outlives us, and leaves nothing."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from experiments.log_files import tail

# Imported, not run as a script, so that it is compiled once and not at each start
KEEPER = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import keeper; keeper.run()"


class CannotStart(OSError):
    """The program could not be started; the message says why, in one line."""


class Process:
    """A program of ours, under a keeper (see `keeper.py`) that ends with us.

    For one owner: it is not meant to be used from several threads at once.
    """

    def __init__(self, keeper: "subprocess.Popen[bytes]", line: socket.socket) -> None:
        self._keeper = keeper
        self._line = line
        self._heard = b""
        self._exit_code: int | None = None
        self.pid = 0

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        cores: Collection[int] = (),
    ) -> Self:
        """Start a program; its output is appended to `log`.

        `env` is its whole environment (None: all of ours; see `marks.clean_environment`), `cores`
        the CPU cores it is pinned to (none: all of ours). Raises CannotStart, or the OSError
        of a log that cannot be written.
        """
        if not argv:
            raise CannotStart("the command is empty")
        ours, theirs = socket.socketpair()
        try:
            with theirs, open(log, "ab") as output:
                keeper = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", "-c", KEEPER),
                        ",".join(str(core) for core in sorted(cores)) or "-",
                        os.path.abspath(cwd) if cwd else "-",
                        *argv,
                    ],
                    stdin=theirs.fileno(),
                    stdout=output,
                    stderr=output,
                    env=env,
                    start_new_session=True,  # A terminal's Ctrl-C is for us, not for it
                )
        except ValueError as error:  # A zero byte, or "=" in the name of a variable
            ours.close()
            raise CannotStart(f"cannot start {argv[0]!r}: {error}") from error
        except BaseException:
            ours.close()
            raise
        process = cls(keeper, ours)
        process._read_start()
        return process

    def _read_start(self) -> None:
        try:
            while not (word := self._next_word()):
                self._hear()
        except BaseException:
            self._hang_up()
            raise
        if word[0] != "pid":
            self._hang_up()
            raise CannotStart(word[1] or "the keeper ended at once; its log says why")
        self.pid = int(word[1])

    def _hear(self) -> None:
        """Read what the keeper says. Its end of file is read as the word `gone`."""
        try:
            received = self._line.recv(4096)
        except ConnectionResetError:  # It ended without reading our last word
            received = b""
        self._heard += received or b"gone\n"

    def _next_word(self) -> tuple[str, str] | None:
        line, end, rest = self._heard.partition(b"\n")
        if not end:
            return None
        self._heard = rest
        word, _, text = line.decode(errors="replace").partition(" ")
        return word, text

    def _hang_up(self) -> None:
        """Close our end, by which a keeper that still lives ends all; then wait for it."""
        self._line.close()
        self._keeper.wait()

    def fileno(self) -> int:
        """Becomes readable when the program has ended; -1 once the end has been seen."""
        return self._line.fileno()

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while anything of it lives."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the program and all it has started are gone, at most `timeout` seconds.

        Returns the program's exit code, negative for a signal, or None when time is up.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._exit_code is None:
            if word := self._next_word():
                self._end(*word)
            elif self._line_is_readable(deadline):
                self._hear()
            else:
                return None
        return self._exit_code

    def _line_is_readable(self, deadline: float | None) -> bool:
        poller = select.poll()  # Not select(): a busy worker has descriptors above 1023
        poller.register(self._line, select.POLLIN)
        if deadline is None:
            return bool(poller.poll())
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def _end(self, word: str, text: str) -> None:
        self._hang_up()
        if word == "exit":
            self._exit_code = int(text)
            return
        # The keeper was killed, and by that the program; its group may live on
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._exit_code = -signal.SIGKILL

    def stop(self, grace: float = 5.0, *, only_main: bool = False) -> int:
        """End it: SIGTERM, `grace` seconds, SIGKILL. Returns the exit code.

        SIGTERM is for all of it (an engine under load does not end by one for its server
        alone), or `only_main` for the program itself, where that ends its own children in
        order; SIGKILL is always for all. Returns only when all that it has started is gone.
        """
        whom = "main" if only_main else "all"
        if self._exit_code is None:
            with contextlib.suppress(OSError):
                self._line.sendall(f"stop {max(0.0, grace)} {whom}\n".encode())
        exit_code = self.wait()
        assert exit_code is not None  # Without a timeout, wait() returns at the end only
        return exit_code

    def signal(self, number: int) -> None:
        """Send a signal to the program itself; nothing is done when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def descendants(self) -> set[int]:
        """The pids of the program and all that it has started and that still lives."""
        try:
            family = psutil.Process(self._keeper.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return set()
        return {process.pid for process in family}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass(frozen=True)
class Completed:
    """A program that was run to its end. `exit_code` is None when its time was up."""

    exit_code: int | None
    output: str


def run(
    argv: Sequence[str],
    timeout: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a short program, at most `timeout` seconds. Raises CannotStart."""
    with tempfile.TemporaryDirectory(prefix="autotuner-") as folder:
        log = Path(folder) / "log"
        with Process.start(argv, log=log, env=env, cwd=cwd) as process:
            exit_code = process.wait(timeout)
            if exit_code is None:
                process.stop(0)
        return Completed(exit_code, tail(log))


def resident_mb(pids: Iterable[int]) -> int:
    """The memory, in MiB, that these processes have to themselves; what they share counts once
    at most, so that a sum over workers of one program is not too high."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            used = psutil.Process(pid).memory_info()
            total += used.rss - used.shared
    return total // 2**20


def reserve_port() -> int:
    """A TCP port of the loopback address that is free and stays so for about a minute.

    A connection that we close first leaves the port in TIME_WAIT: the kernel gives it to
    nobody who asks for any port, and a server (they set SO_REUSEADDR) can bind it.
    """
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port: int = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.recv(1)  # Until the end has arrived: now the server's side has closed first
    return port


def listens(port: int, pids: Iterable[int]) -> bool:
    """Whether one of these processes listens on the TCP port: another server's answer on
    "our" port would be measured as ours."""
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False
