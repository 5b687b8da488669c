"""How configurations ended, and what is said of one that was not tried."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from experiments.dimensions import Value, identity, is_number
from experiments.space import Configuration
from experiments.states import FailureKind

SURE = 0.85  # A chance of failure from which on nothing is tried in order to learn more
MOST_NAMED = 4  # sources in one reason


@dataclass(frozen=True)
class Outcome:
    """How one configuration ended, for whatever lies with the configuration.

    `kind` is None when it did not fail in a way that would come again. One that ran out of memory
    under load has a kind and has `started` as well.
    """

    configuration: Configuration
    name: str  # What people call it: "#4"
    kind: FailureKind | None = None
    started: bool = True
    message: str = ""
    is_elsewhere: bool = False  # Of another task, where the same configuration may be tried again


@dataclass(frozen=True)
class Verdict:
    """Why a configuration is expected to fail. `chance` is from 0 to 1."""

    kind: FailureKind
    chance: float
    reason: str
    sources: tuple[str, ...]

    @property
    def is_weak(self) -> bool:
        """Whether a try now and then would be worth its time."""
        return self.chance < SURE


Setting = tuple[str, str]  # A parameter, and the identity of its value
Region = tuple[Setting, ...]


def settings(configuration: Mapping[str, Value]) -> list[Setting]:
    return [(name, identity(value)) for name, value in sorted(configuration.items())]


def regions_of(configuration: Mapping[str, Value]) -> Iterator[Region]:
    """Everything with one of its values, or with two of them."""
    mine = settings(configuration)
    yield from ((setting,) for setting in mine)
    yield from combinations(mine, 2)


def chance_after(failures: int) -> float:
    """Of the next one failing after `failures` in a row: Laplace's rule of succession."""
    return (failures + 1) / (failures + 2)


def listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def is_like(
    configuration: Configuration, failures: Sequence[Outcome], but: Collection[str]
) -> bool:
    """Whether nothing of it is new beside these failures, but for the parameters in `but`.

    A number is between theirs; any other value is one that some of them had.
    """
    for name, value in configuration.items():
        if name in but:
            continue
        had = [o.configuration[name] for o in failures if name in o.configuration]
        if is_number(value) and all(map(is_number, had)):
            if not had or not min(map(float, had)) <= float(value) <= max(map(float, had)):
                return False
        elif identity(value) not in map(identity, had):
            return False
    return True
