"""What every engine says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from experiments.states import FailureKind

Value = str | int | float | bool
Parameters = Mapping[str, Value]


@dataclass(frozen=True)
class Launch:
    """One start of an engine.

    `flags` are the fixed arguments overlaid with the configuration, in the order in which
    the user wrote them, without those that go into the environment. `command` is the
    user's own template, for the engines that are one (`custom`, `job`).
    """

    model: str
    flags: Parameters
    port: int
    gpus: int
    executable: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why an engine failed: its kind, and the one line of its log that says so.

    `lines` are what is around it in the log. `may_pass`: it is not the configuration's fault, and
    may be over at the next attempt (a port, a download, a GPU that was reset, a full disk).
    """

    kind: FailureKind
    message: str
    lines: tuple[str, ...] = ()
    may_pass: bool = False


class Engine(Protocol):
    """An inference server: a command line, a health path, a way to read its failures."""

    name: str
    health_path: str

    def argv(self, launch: Launch) -> list[str]:
        """The command line that serves `launch`, on its port of the loopback address."""
        ...

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        """Why the engine failed, from its exit code (None: it still runs) and its log."""
        ...

    def effective(self, log: str) -> dict[str, Value] | None:
        """What it says it runs with, from the log of its start; None when it does not say."""
        ...
