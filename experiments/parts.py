"""A part of the search space: dimensions that depend on each other, and on no others."""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from experiments.constraints import Constraint
from experiments.dimensions import Dimension, Value
from experiments.errors import BadInput

LISTED = 100_000  # combinations that are gone through for those that are allowed: half a second
MOST_TOGETHER = 10_000  # combinations of the values of some parameters that are worth listing
FEW_DRAWS, MOST_DRAWS = 100, 100_000  # from a part that can be listed, and from one that cannot

Configuration = dict[str, Value]


@dataclass(frozen=True)
class Part:
    """Dimensions, each after those that its conditions name, and the constraints on them."""

    dimensions: tuple[Dimension, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def names(self) -> list[str]:
        return [dimension.name for dimension in self.dimensions]

    @property
    def is_free(self) -> bool:
        """Whether it is one dimension of which every value may be tried with every other's."""
        return not self.constraints and not any(one.when for one in self.dimensions)

    @cached_property
    def bound(self) -> int | None:
        """The product of all numbers of values; None when one is not finite."""
        return product(dimension.count for dimension in self.dimensions)

    @property
    def count(self) -> int | None:
        """How many combinations are allowed; None when too many must be gone through to know."""
        if self.is_free:
            return self.bound
        return None if self.listed is None else len(self.listed)

    @cached_property
    def listed(self) -> Sequence[tuple[Value | None, ...]] | None:
        """The allowed combinations, None for a parameter that is inactive; None for too many."""
        if self.bound is None or self.bound > LISTED:
            return None
        return [tuple(map(found.get, self.names)) for found in self.walk()]

    def nth(self, index: int) -> Configuration:
        """The allowed combination number `index`, from 0 up to `count`."""
        if self.is_free:
            return {one.name: one.nth(index) for one in self.dimensions}
        return self._named((self.listed or ())[index])

    def walk(self) -> Iterator[Configuration]:
        """Every allowed combination, one by one, the last dimension's values changing fastest.

        What a constraint forbids is left as soon as its last parameter is known.
        """
        return self._walk(0, {})

    def _walk(self, position: int, taken: Configuration) -> Iterator[Configuration]:
        if position == len(self.dimensions):
            yield dict(taken)
            return
        dimension, ready = self.dimensions[position], self._ready[position]
        if not dimension.exists(taken):
            if all(constraint.allows(taken) for constraint in ready):
                yield from self._walk(position + 1, taken)
            return
        for index in range(dimension.count or 0):
            taken[dimension.name] = dimension.nth(index)
            if all(constraint.allows(taken) for constraint in ready):
                yield from self._walk(position + 1, taken)
        del taken[dimension.name]

    def draw(self, rng: random.Random) -> Configuration:
        """A random allowed combination, each as likely as among all that are drawn freely.

        Raises BadInput when none is found.
        """
        for number in range(MOST_DRAWS):
            if number == FEW_DRAWS and self.listed is not None:
                return self._named(rng.choice(self.listed)) if self.listed else self._give_up()
            drawn = self.attempt(rng)
            if drawn is not None:
                return drawn
        return self._give_up()

    def attempt(self, rng: random.Random) -> Configuration | None:
        """One combination drawn freely; None when a constraint forbids it."""
        drawn: Configuration = {}
        for dimension, ready in zip(self.dimensions, self._ready, strict=True):
            if dimension.exists(drawn):
                drawn[dimension.name] = dimension.at(rng.random())
            if not all(constraint.allows(drawn) for constraint in ready):
                return None
        return drawn

    def _give_up(self) -> Configuration:
        field = self.constraints[-1].field if self.constraints else "parameters"
        raise BadInput(field, "no configuration was found that meets it and those before it")

    def _named(self, values: Sequence[Value | None]) -> Configuration:
        pairs = zip(self.names, values, strict=True)
        return {name: value for name, value in pairs if value is not None}

    @cached_property
    def _ready(self) -> list[list[Constraint]]:
        """For each dimension, the constraints of which it is the last one."""
        ready: list[list[Constraint]] = [[] for _ in self.dimensions]
        for constraint in self.constraints:
            ready[max(self.names.index(n) for n in constraint.names if n in self.names)].append(
                constraint
            )
        return ready


def product(counts: Iterable[int | None]) -> int | None:
    """None when one of them is unknown."""
    known = list(counts)
    return None if None in known else math.prod(count for count in known if count is not None)


def parts_of(
    dimensions: Sequence[Dimension], constraints: Sequence[Constraint]
) -> tuple[Part, ...]:
    """The parts of a space, each where its first dimension is. Raises BadInput for a circle of
    conditions.
    """
    part_of = {dimension.name: {dimension.name} for dimension in dimensions}
    for one in dimensions:
        _join(part_of, [one.name, *(condition.parameter for condition in one.when)])
    for constraint in constraints:
        _join(part_of, constraint.names & set(part_of))
    parts, done = [], set[str]()
    for dimension in dimensions:
        names = part_of[dimension.name]
        if dimension.name not in done:
            inside = in_dependency_order([one for one in dimensions if one.name in names])
            own = tuple(one for one in constraints if one.names & names)
            parts.append(Part(tuple(inside), own))
            done |= names
    return tuple(parts)


def _join(part_of: dict[str, set[str]], names: Iterable[str]) -> None:
    together = set[str]().union(*(part_of[name] for name in names))
    for name in together:
        part_of[name] = together


def in_dependency_order(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """The user's order, but each after those that its conditions name.

    Raises BadInput when a dimension depends on itself.
    """
    ordered: list[Dimension] = []
    left = {dimension.name: dimension for dimension in dimensions}
    while left:
        free = (d for d in left.values() if not any(c.parameter in left for c in d.when))
        dimension = next(free, None)
        if dimension is None:
            circle = " and ".join(left)
            raise BadInput(f"parameters.{next(iter(left))}.when", f"{circle} wait for each other")
        ordered.append(left.pop(dimension.name))
    return ordered


def active_only(
    dimensions: Sequence[Dimension], configuration: Mapping[str, Value]
) -> Configuration:
    """The configuration without the parameters whose conditions do not hold; `dimensions` are in
    dependency order.
    """
    kept = dict(configuration)
    for dimension in dimensions:
        if dimension.when and dimension.name in kept and not dimension.exists(kept):
            del kept[dimension.name]
    return kept
