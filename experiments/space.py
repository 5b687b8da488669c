"""The search space: every configuration that a task may try."""

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.dimensions import (
    Choices,
    Continuous,
    Dimension,
    Integer,
    Value,
    canonical,
)
from experiments.errors import BadInput
from experiments.notation import format_values, parse_dimension, parse_values

__all__ = [
    "Choices",
    "Configuration",
    "Continuous",
    "Dimension",
    "Integer",
    "Space",
    "Value",
    "format_values",
    "parse_space",
    "parse_values",
    "space_problems",
]

Configuration = dict[str, Value]
in_order = json.JSONEncoder(sort_keys=True).encode  # Made once: a long history has many keys


@dataclass(frozen=True)
class Space:
    """All combinations of the values of its dimensions, which keep the user's order."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise BadInput(f"parameters.{name}", "is given twice")

    @property
    def names(self) -> list[str]:
        return [dimension.name for dimension in self.dimensions]

    def endless(self) -> Dimension | None:
        """The first dimension that cannot be listed, if any."""
        return next((d for d in self.dimensions if d.count is None), None)

    def size(self) -> int | None:
        """How many configurations; None when a dimension is continuous without a step."""
        counts = [dimension.count for dimension in self.dimensions]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    def point(self, index: int) -> Configuration:
        """The grid's configuration number `index`, from 0; the last key changes fastest."""
        picked: Configuration = {}
        for dimension in reversed(self.dimensions):
            index, position = divmod(index, dimension.count or 1)
            picked[dimension.name] = dimension.nth(position)
        return {name: picked[name] for name in self.names}

    def grid(self) -> Iterator[Configuration]:
        """Every configuration, one by one; raises BadInput when there is no end to them."""
        endless = self.endless()
        if endless is not None:
            raise BadInput(f"parameters.{endless.name}", "cannot be listed; give it a step")
        return map(self.point, range(self.size() or 0))

    def sample(self, rng: random.Random) -> Configuration:
        """A random configuration; with `log`, every order of magnitude is as likely."""
        return {dimension.name: dimension.at(rng.random()) for dimension in self.dimensions}

    def key(self, configuration: Mapping[str, Value]) -> str:
        """Text that is the same for equal configurations only.

        The order of keys does not matter, nor 1 or 1.0, nor the rest of a step; `true` and 1
        are different. It also names a configuration outside of the space.
        """
        return in_order(
            {name: canonical(self._snap(name, value)) for name, value in configuration.items()}
        )

    def contains(self, configuration: Mapping[str, Value]) -> bool:
        """Whether it has every key, no other one, and only values of the dimensions."""
        return set(configuration) == set(self.names) and all(
            dimension.contains(configuration[dimension.name]) for dimension in self.dimensions
        )

    def _snap(self, name: str, value: Value) -> Value:
        """A number next to a step of its dimension as that step; all else as it is."""
        if not isinstance(value, float):
            return value
        dimension = next((d for d in self.dimensions if d.name == name), None)
        if isinstance(dimension, Continuous) and dimension.step:
            step = dimension.snap(value)
            return step if math.isclose(step, value, abs_tol=dimension.step * 1e-6) else value
        return value


def parse_space(raw: Mapping[str, Any]) -> Space:
    """The task file's `parameters` as a space. Raises BadInput for the first wrong one."""
    return Space(tuple(parse_dimension(name, values) for name, values in raw.items()))


def space_problems(raw: Mapping[str, Any]) -> list[BadInput]:
    """Everything that is wrong with the task file's `parameters`."""
    problems = []
    for name, values in raw.items():
        try:
            parse_dimension(name, values)
        except BadInput as problem:
            problems.append(problem)
    return problems
