"""Whose a process is, when all else is lost: the mark in its environment, and the owner it names.

A process is known by its pid and the kernel's moment of its start, so that a pid which is used
again is another process; and only on the machine where it was seen.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Self

MARK = "AUTOTUNER_MARK"
SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "REDIS_URL"})

# vLLM and others show a title instead of their command line, and write it over their environment,
# where the mark is, unless this variable tells setproctitle not to.
KEEPS_THE_ENVIRONMENT = {"SPT_NOENV": "1"}


@cache
def machine() -> str:
    """This boot of this kernel, and this space of pids (a container has its own)."""
    here = ""
    with suppress(OSError):  # A sandbox may not tell: then a restarted container is the same
        here += Path("/proc/sys/kernel/random/boot_id").read_text()
    with suppress(OSError):
        here += os.readlink("/proc/self/ns/pid")
    return sha256(here.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class ProcessId:
    """One process, which no later one can be taken for."""

    pid: int
    start: int  # In the kernel's ticks since it was booted
    machine: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The living process with this pid; None where there is none, or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The command's name is in parentheses and may hold anything, also ") "
        words = stat.rpartition(b")")[2].split()
        return None if words[0] in (b"Z", b"X") else cls(pid, int(words[19]), machine())

    @classmethod
    def own(cls) -> Self:
        """This process."""
        me = cls.of(os.getpid())
        assert me is not None
        return me

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` wrote; None for anything else."""
        numbers, _, where = text.partition("@")
        pid, _, start = numbers.partition(":")
        if not (pid.isdecimal() and start.isdecimal() and where):
            return None
        return cls(int(pid), int(start), where)

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}@{self.machine}"

    def is_dead(self) -> bool:
        """Whether it has ended for sure: of another machine's processes nothing is known here."""
        return self.machine == machine() and ProcessId.of(self.pid) != self

    def kill(self) -> None:
        """SIGKILL for this process, and never for one that has got its pid meanwhile."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return  # It has ended
        try:
            if ProcessId.of(self.pid) == self:  # Looked up while the handle keeps the pid
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return  # It has just ended
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Mark:
    """Whose a process is: which site's, which worker process owns it, for which holder of GPUs."""

    site: str
    owner: ProcessId
    holder: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` wrote; None for anything else, as an older version's mark."""
        site, _, rest = text.partition(" ")
        owner, _, holder = rest.partition(" ")
        process = ProcessId.parse(owner)
        return cls(site, process, holder) if process else None

    def __str__(self) -> str:
        return f"{self.site} {self.owner} {self.holder}"


def mark_of(pid: int) -> Mark | None:
    """The mark of a process, if it has one and we may look at it."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    if MARK.encode() not in environment:
        return None  # As most; a node looks at all of them every two seconds
    for variable in environment.split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == MARK.encode():
            return Mark.parse(value.decode(errors="replace"))
    return None


def marked() -> Iterator[tuple[ProcessId, Mark]]:
    """Every living process that has a mark and that we may look at."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and mark_of(int(name)):
            process = ProcessId.of(int(name))
            # Again, now that it is known which process that is: a pid may be another's meanwhile
            if process and (mark := mark_of(process.pid)):
                yield process, mark


def clean_environment(base: Mapping[str, str], mark: Mark | None = None) -> dict[str, str]:
    """The environment for what we start: `base` without our secrets, and with its mark."""
    environment = {name: value for name, value in base.items() if name not in SECRETS}
    return environment | KEEPS_THE_ENVIRONMENT | {MARK: str(mark)} if mark else environment
