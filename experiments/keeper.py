"""The small program between us and what we start: it outlives neither, and leaves nothing behind.

    keeper CORES CWD ARGV…      CORES like 0,1 or "-"; CWD or "-"

Standard input is a socket to the owner; standard output and error are the program's log.
The keeper writes `pid N` or `error MESSAGE`, and at the end `exit CODE`; the owner writes
`stop GRACE all` or `stop GRACE main` (whom to ask politely first), and its end of file means
that the owner is dead. As a child subreaper the keeper adopts whatever the program leaves
behind, also what has a session of its own, so "no child left" means that nothing of it
lives. It imports little, to start in a few milliseconds.
"""

from __future__ import annotations

import _signal as signal  # What `signal` wraps in enumerations, in a third of our start-up
import ctypes
import os
import select
import sys
import time

TYPE_CHECKING = False  # As `typing` has it, whose import would take twenty milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

OWNER = 0  # The socket to the owner is our standard input
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
NAME = b"autotuner-keep"  # As /proc shows it, so that keepers know one another; 15 bytes at most
LOOK_AGAIN = 0.1  # While killing: for what was forked between the look and the signal
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """The word to end: SIGTERM for the program, or for all of it; then `grace` seconds."""

    def __init__(self, grace: float, for_all: bool = True) -> None:
        self.grace = grace
        self.for_all = for_all


ENDED_BY_ITSELF = Stop(0.5)  # For what it has left behind
AT_ONCE = Stop(0)
OWNER_DIED = Stop(1.0, for_all=False)  # A worker that ends in order hands its engines back
SIGNALLED = Stop(5.0, for_all=False)  # Somebody asked the keeper itself to end


class CannotStart(Exception):
    """The program could not be started; the message is the one line for the user."""


def prctl(option: int, value: int | bytes) -> None:
    """Set a property of this process. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def tell(message: str) -> None:
    """Send one line to the owner, if it still lives."""
    try:
        os.write(OWNER, message.replace("\n", " ").encode(errors="replace") + b"\n")
    except OSError:
        return  # It died: nobody is left to be told


# The program -----------------------------------------------------------------------------


def launch(argv: list[str], cwd: str, cores: set[int]) -> int:
    """Start the program in a session of its own. Returns its pid, or raises CannotStart."""
    keeper = os.getpid()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        become(argv, cwd, cores, keeper, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        problem = pipe.read()  # Empty once exec has closed the other end
    if problem:
        os.waitpid(pid, 0)
        raise CannotStart(problem.decode(errors="replace"))
    return pid


def become(argv: list[str], cwd: str, cores: set[int], keeper: int, writer: int) -> NoReturn:
    """Turn this fresh child into the program, or write into `writer` why not."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)  # It died before we asked to die with it
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores these two
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        enter(cwd, cores)
        execute(argv)
    except Exception as error:
        os.write(writer, str(error).encode(errors="replace"))
    finally:
        os._exit(127)


def enter(cwd: str, cores: set[int]) -> None:
    """Go onto the cores and into the working folder. Raises CannotStart."""
    if cores:
        try:
            os.sched_setaffinity(0, cores)
        except (OSError, ValueError) as error:
            names = ", ".join(map(str, sorted(cores)))
            raise CannotStart(f"cannot run on the cores {names}: {error}") from error
    if cwd:
        try:
            os.chdir(cwd)
        except OSError as error:
            raise CannotStart(f"cannot work in the folder {cwd}: {error.strerror}") from error


def execute(argv: list[str]) -> NoReturn:
    """exec, found by PATH. Raises CannotStart."""
    program = argv[0]
    places = [""] if os.sep in program else os.get_exec_path()
    try:
        os.execvp(program, argv)
    except (FileNotFoundError, NotADirectoryError) as error:
        if any(os.path.isfile(os.path.join(place, program)) for place in places):
            message = f"cannot execute {program}: the interpreter in its first line is missing"
        elif os.sep in program:
            message = f"executable not found: {program}"
        else:
            message = f"executable not found: {program} (it is not in PATH)"
        raise CannotStart(message) from error
    except PermissionError as error:
        raise CannotStart(f"not executable: {program}") from error
    except OSError as error:
        raise CannotStart(f"cannot execute {program}: {error.strerror}") from error


# What lives ------------------------------------------------------------------------------


def descendants(below_keepers: bool = True) -> Iterator[int]:
    """All our descendants, by the parents that /proc tells, children before grandchildren."""
    children: dict[int, list[int]] = {}
    keepers = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    words = stat.read()
            except OSError:
                continue  # It has ended since the listing
            # The command's name is in parentheses and may hold anything, also ") "
            words, _, rest = words.rpartition(b")")
            children.setdefault(int(rest.split()[1]), []).append(int(name))
            if words.endswith(b"(" + NAME):
                keepers.add(int(name))
    waiting = children.get(os.getpid(), [])
    while waiting:
        yield from waiting
        above = [pid for pid in waiting if below_keepers or pid not in keepers]
        waiting = [child for pid in above for child in children.get(pid, [])]


def send_all(number: int) -> None:
    """Send a signal to every descendant.

    What another keeper keeps is asked to end by that one, in order: an engine that ends before
    its worker knows of the stop would look like one that crashed.
    """
    for pid in list(descendants(below_keepers=number == signal.SIGKILL)):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # It has ended, or is another user's


class Family:
    """The program and all that it has started."""

    def __init__(self, main: int) -> None:
        self.main = main
        self.exit_code: int | None = None
        self.is_gone = False  # No descendant is left

    def reap(self) -> None:
        """Collect all who have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.is_gone = True
                return
            if pid == 0:
                return
            if pid == self.main:
                self.exit_code = os.waitstatus_to_exitcode(status)

    def end(self, stop: Stop, wait: Callable[[float], Stop | None]) -> None:
        """SIGTERM, `grace` seconds, then SIGKILL for all until nobody is left."""
        self.reap()
        if not stop.for_all and self.exit_code is None:
            os.kill(self.main, signal.SIGTERM)
            self._outlast(stop.grace, wait, lambda: self.exit_code is not None)
            stop = ENDED_BY_ITSELF
            if self.exit_code is None:
                # SIGKILL from here downwards: a worker that sees its engine end before it ends
                # itself would write down that the engine has crashed
                stop = AT_ONCE
        if not self.is_gone and stop is not AT_ONCE:
            send_all(signal.SIGTERM)
            self._outlast(stop.grace, wait, lambda: self.is_gone)
        while not self.is_gone:
            send_all(signal.SIGKILL)
            wait(LOOK_AGAIN)
            self.reap()

    def _outlast(
        self, grace: float, wait: Callable[[float], Stop | None], is_over: Callable[[], bool]
    ) -> None:
        """Wait until it is over, at most `grace` seconds, or less when told again to stop."""
        deadline = time.monotonic() + grace
        while not is_over() and (left := deadline - time.monotonic()) > 0:
            again = wait(left)
            if again is not None:  # The owner may have died by now
                deadline = min(deadline, time.monotonic() + again.grace)
            self.reap()


# The loop --------------------------------------------------------------------------------


class Events:
    """What can happen: a signal (a child ended, or we shall), a word or the death of the owner."""

    def __init__(self) -> None:
        self.wakeup, writer = os.pipe()
        for end in (self.wakeup, writer):
            os.set_blocking(end, False)
        for number in (signal.SIGCHLD, *STOP_SIGNALS):
            signal.signal(number, lambda *_: None)  # Only so that the wakeup pipe hears of it
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.words = b""
        self.poller = select.poll()
        self.poller.register(self.wakeup, select.POLLIN)
        self.poller.register(OWNER, select.POLLIN)
        self.owner_pidfd = -1
        # A forked sibling of ours may hold the owner's end of the socket open for ever
        try:
            self.owner_pidfd = os.pidfd_open(os.getppid())
            self.poller.register(self.owner_pidfd, select.POLLIN)
        except (OSError, AttributeError):
            self.owner_pidfd = -1  # An old kernel: the end of the socket must do

    def wait(self, seconds: float | None = None) -> Stop | None:
        """Wait for the next event. Returns what it says when it says "stop"."""
        stop: Stop | None = None
        for descriptor, _ in self.poller.poll(None if seconds is None else seconds * 1000):
            if descriptor == self.wakeup:
                received = os.read(self.wakeup, 4096)
                if any(number in received for number in STOP_SIGNALS):
                    stop = SIGNALLED
            elif descriptor == self.owner_pidfd:
                self.poller.unregister(self.owner_pidfd)
                stop = OWNER_DIED
            elif descriptor == OWNER:
                stop = self._listen()
        return stop

    def _listen(self) -> Stop | None:
        try:
            received = os.read(OWNER, 4096)
        except OSError:
            received = b""
        if not received:
            self.poller.unregister(OWNER)
            return OWNER_DIED
        *lines, self.words = (self.words + received).split(b"\n")
        for line in lines:
            if line.startswith(b"stop "):
                _, grace, whom = line.split()
                return Stop(float(grace), for_all=whom == b"all")
        return None


def main(cores: str, cwd: str, *argv: str) -> None:
    """Start ARGV, wait for its end or for the word to end it, and leave nothing behind."""
    events = Events()
    prctl(PR_SET_NAME, NAME)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        pid = launch(
            list(argv),
            "" if cwd == "-" else cwd,
            set() if cores == "-" else {int(core) for core in cores.split(",")},
        )
    except (CannotStart, OSError) as error:
        tell(f"error {error}")
        return
    tell(f"pid {pid}")
    family = Family(pid)
    stop: Stop | None = None
    family.reap()
    while family.exit_code is None and stop is None:
        stop = events.wait()
        family.reap()
    family.end(stop or ENDED_BY_ITSELF, events.wait)
    tell(f"exit {family.exit_code}")


def run() -> NoReturn:
    """The program. It ends without the interpreter's own cleaning up: somebody waits for it."""
    main(*sys.argv[1:])
    os._exit(0)
