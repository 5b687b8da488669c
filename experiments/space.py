"""The search space: every configuration that a task may try."""

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.constraints import NO_FLAGS, Constraint, parse_constraints
from experiments.dimensions import (
    Choices,
    Condition,
    Continuous,
    Dimension,
    Integer,
    Value,
    canonical,
)
from experiments.engines.flags import spelling
from experiments.errors import BadInput
from experiments.notation import nearest, parse_dimension
from experiments.parts import (
    LISTED,
    MOST_TOGETHER,
    Configuration,
    Part,
    active_only,
    in_dependency_order,
    parts_of,
    product,
)

__all__ = [
    "Choices",
    "Condition",
    "Configuration",
    "Constraint",
    "Continuous",
    "Dimension",
    "Integer",
    "Space",
    "Value",
    "parse_space",
    "space_problems",
]

in_order = json.JSONEncoder(sort_keys=True).encode  # Made once: a long history has many keys


@dataclass(frozen=True)
class Space:
    """All combinations of the values of its dimensions, which keep the user's order, that the
    constraints allow. A parameter whose condition does not hold is absent from a configuration.
    """

    dimensions: tuple[Dimension, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        for name, count in Counter(self.names).items():
            if count > 1:
                raise BadInput(f"parameters.{name}", "is given twice")

    @property
    def names(self) -> list[str]:
        return [dimension.name for dimension in self.dimensions]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The space is every combination of these: they do not depend on each other."""
        return parts_of(self.dimensions, self.constraints)

    def endless(self) -> Dimension | None:
        """The first dimension that cannot be listed, if any."""
        return next((d for d in self.dimensions if d.count is None), None)

    def unlisted(self) -> Part | None:
        """The first part that has too many combinations to go through for the allowed ones."""
        return next((p for p in self.parts if p.bound is not None and p.count is None), None)

    def size(self) -> int | None:
        """How many configurations; None when that is not finite, or takes too long to count:
        when more than LISTED combinations depend on each other. Then `bound` says how many at most.
        """
        return product(part.count for part in self.parts)

    def bound(self) -> int | None:
        """The product of the numbers of values; None when a range is continuous without a step."""
        return product(part.bound for part in self.parts)

    def point(self, index: int) -> Configuration:
        """The grid's configuration number `index`, from 0 up to `size`."""
        picked: Configuration = {}
        for part in reversed(self.parts):
            index, position = divmod(index, part.count or 1)
            picked |= part.nth(position)
        return self._in_order(picked)

    def grid(self) -> Iterator[Configuration]:
        """Every configuration, one by one, the last key changing fastest; parameters that depend
        on each other change together, in the place of the first of them. Raises BadInput when
        there is no end to them.
        """
        endless, unlisted = self.endless(), self.unlisted()
        if endless is not None:
            raise BadInput(f"parameters.{endless.name}", "cannot be listed; give it a step")
        if unlisted is not None:
            raise BadInput(
                "parameters",
                f"{' × '.join(unlisted.names)} cannot be listed: of {unlisted.bound} combinations "
                f"at most {LISTED} may depend on each other; give fewer values",
            )
        return map(self.point, range(self.size() or 0))

    def sample(self, rng: random.Random) -> Configuration:
        """A random configuration; with `log`, every order of magnitude is as likely.

        Raises BadInput when the constraints allow so few that none is found.
        """
        drawn: Configuration = {}
        for part in self.parts:
            drawn |= part.draw(rng)
        return self._in_order(drawn)

    def first(self) -> Configuration:
        """One configuration, as an example: the lowest values where they are allowed."""
        lowest = self.active({one.name: one.at(0.0) for one in self.dimensions})
        return lowest if self.allows(lowest) else self.sample(random.Random(0))

    def combinations(self, names: Sequence[str]) -> list[Configuration] | None:
        """Which values of some parameters occur together, wherever they are not absent; None when
        there are too many to look at, or they are not finite.
        """
        found: list[list[Configuration]] = []
        for part in self.parts:
            wanted = [name for name in part.names if name in names]
            if not wanted:
                continue
            if part.count is None or part.count > LISTED:
                return None
            picked = [
                {name: value for name, value in part.nth(index).items() if name in wanted}
                for index in range(part.count)
            ]
            found.append(list({in_order(one): one for one in picked}.values()))
        if math.prod(map(len, found)) > MOST_TOGETHER:
            return None
        return [
            dict(itertools.chain(*(one.items() for one in c))) for c in itertools.product(*found)
        ]

    def active(self, configuration: Mapping[str, Value]) -> Configuration:
        """The same without the parameters whose conditions do not hold."""
        return active_only(self._conditional, configuration)

    def allows(self, configuration: Mapping[str, Value]) -> bool:
        """Whether every constraint is met, or does not apply for want of a parameter."""
        if not self.constraints:
            return True
        active = self.active(configuration)
        return all(constraint.allows(active) for constraint in self.constraints)

    def key(self, configuration: Mapping[str, Value]) -> str:
        """Text that is the same for equal configurations only.

        The order of keys does not matter, nor 1 or 1.0, nor the rest of a step, nor the value of a
        parameter whose conditions do not hold; `true` and 1 are different. It also names a
        configuration outside of the space.
        """
        active = self.active(configuration) if self._conditional else configuration
        return in_order(
            {name: canonical(self._snap(name, value)) for name, value in active.items()}
        )

    def contains(self, configuration: Mapping[str, Value]) -> bool:
        """Whether it has every key that its conditions ask for, only values of the dimensions, and
        meets the constraints. Values of parameters that are inactive do not count.
        """
        active = self.active(configuration)
        expected = {one.name for one in self.dimensions if one.exists(active)}
        return (
            set(active) == expected
            and all(one.contains(active[one.name]) for one in self.dimensions if one.name in active)
            and self.allows(active)
        )

    def _in_order(self, configuration: Configuration) -> Configuration:
        return {name: configuration[name] for name in self.names if name in configuration}

    @cached_property
    def _conditional(self) -> list[Dimension]:
        """The dimensions with conditions, each after those that they name."""
        return [one for one in in_dependency_order(self.dimensions) if one.when]

    @cached_property
    def _by_name(self) -> dict[str, Dimension]:
        return {dimension.name: dimension for dimension in self.dimensions}

    def _snap(self, name: str, value: Value) -> Value:
        """A number next to a step of its dimension as that step; all else as it is."""
        if not isinstance(value, float):
            return value
        dimension = self._by_name.get(name)
        if isinstance(dimension, Continuous) and dimension.step:
            step = dimension.snap(value)
            return step if math.isclose(step, value, abs_tol=dimension.step * 1e-6) else value
        return value


def parse_space(
    raw: Mapping[str, Any],
    constraints: Sequence[str] = (),
    *,
    fixed: Mapping[str, Value] = NO_FLAGS,
    sizes: Sequence[Dimension] = (),
) -> Space:
    """The task file's `parameters` and `constraints` as a space; `fixed` are `engine.arguments`,
    `sizes` the dimensions of `parallel_config`. Raises BadInput for the first wrong one.
    """
    own = [parse_dimension(name, values) for name, values in raw.items()]
    dimensions = with_conditions([*sizes, *own], fixed)
    space = Space(dimensions, parse_constraints(constraints, dimensions, fixed))
    _ = space.parts  # A circle of conditions
    return space


def with_conditions(
    dimensions: Sequence[Dimension], fixed: Mapping[str, Value]
) -> tuple[Dimension, ...]:
    """The dimensions, their conditions checked, and the names in them spelt as the parameters."""
    by_spelling = {spelling(dimension.name): dimension for dimension in dimensions}
    checked = []
    for dimension in dimensions:
        when = []
        for condition in dimension.when:
            other = by_spelling.get(spelling(condition.parameter))
            _check_condition(dimension, condition, other, dimensions, fixed)
            when.append(condition if other is None else replace(condition, parameter=other.name))
        checked.append(replace(dimension, when=tuple(when)) if when else dimension)
    return tuple(checked)


def _check_condition(
    dimension: Dimension,
    condition: Condition,
    other: Dimension | None,
    dimensions: Sequence[Dimension],
    fixed: Mapping[str, Value],
) -> None:
    field = f"parameters.{dimension.name}.when.{condition.parameter}"
    if other is dimension:
        raise BadInput(field, "a parameter cannot depend on itself")
    if other is None:
        if spelling(condition.parameter) in map(spelling, fixed):
            raise BadInput(field, "is a fixed flag; a condition may name parameters only")
        names = [one.name for one in dimensions if one is not dimension]
        raise BadInput(field, f"is not a parameter{nearest(condition.parameter, names)}")
    for value in condition.values:
        if not other.contains(value):
            raise BadInput(field, f"{json.dumps(value)} is not a value of {other.name}")


def space_problems(raw: Mapping[str, Any]) -> list[BadInput]:
    """Everything that is wrong with the task file's `parameters`."""
    problems = []
    for name, values in raw.items():
        try:
            parse_dimension(name, values)
        except BadInput as problem:
            problems.append(problem)
    return problems
