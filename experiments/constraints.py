"""What must hold between the parameters of every configuration that is tried."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.dimensions import Choices, Dimension, Value
from experiments.engines.flags import spelling
from experiments.errors import BadInput
from experiments.expressions import (
    NUMBER,
    Kinds,
    Result,
    Values,
    WrongKind,
    as_result,
    kinds_of,
    parse,
)

NO_FLAGS: Mapping[str, Value] = {}


@dataclass(frozen=True)
class Constraint:
    """An expression that is true for every configuration that may be tried.

    It does not apply to a configuration without one of its parameters, unless that one is a fixed
    flag: then that value counts. One that cannot be computed (a division by zero) is not met.
    """

    field: str
    text: str
    names: frozenset[str]
    fixed: Mapping[str, Value] = dataclasses.field(repr=False)
    compute: Callable[[Values], Result] = dataclasses.field(compare=False, repr=False)

    def allows(self, configuration: Mapping[str, Value]) -> bool:
        """Whether it is met, or does not apply."""
        values = self._values(configuration)
        if values is None:
            return True
        try:
            return bool(self.compute(values))
        except (ArithmeticError, WrongKind):
            return False

    def applies(self, configuration: Mapping[str, Value]) -> bool:
        return self._values(configuration) is not None

    def check(self, configuration: Mapping[str, Value]) -> None:
        """Raise BadInput when a value of this configuration is of a kind that it cannot use."""
        values = self._values(configuration)
        try:
            if values is not None:
                self.compute(values)
        except WrongKind as wrong:
            raise BadInput(self.field, str(wrong)) from None
        except ArithmeticError:
            return  # Of this configuration only

    def _values(self, configuration: Mapping[str, Value]) -> dict[str, Result] | None:
        """The values of its names; None when one has none."""
        values = {}
        for name in self.names:
            value = configuration.get(name, self.fixed.get(name))
            if value is None:
                return None
            values[name] = as_result(value)
        return values


def parse_constraints(
    texts: Sequence[str],
    dimensions: Sequence[Dimension],
    fixed: Mapping[str, Value] = NO_FLAGS,
) -> tuple[Constraint, ...]:
    """The task file's `constraints`. Raises BadInput for the first wrong one, by its position."""
    known = _kinds(dimensions, fixed)
    searched = {dimension.name for dimension in dimensions}
    found = []
    for index, text in enumerate(texts):
        place = f"constraints[{index}]"
        try:
            compute, names = parse(text, known)
        except BadInput as problem:
            raise BadInput(place, problem.message) from None
        if not names & searched:
            raise BadInput(place, "names no parameter that is searched")
        flags = {name: fixed[_written(name, fixed)] for name in names if _written(name, fixed)}
        found.append(Constraint(place, text, names, flags, compute))
    return tuple(found)


def _kinds(dimensions: Sequence[Dimension], fixed: Mapping[str, Value]) -> Kinds:
    """Every name that a constraint may use, and what kinds of value it may have."""
    kinds = {
        one.name: kinds_of(one.options) if isinstance(one, Choices) else frozenset([NUMBER])
        for one in dimensions
    }
    spelt = {spelling(name): name for name in kinds}
    for name, value in fixed.items():
        known = spelt.get(spelling(name), name)
        kinds[known] = kinds.get(known, frozenset()) | kinds_of([value])
    return kinds


def _written(name: str, flags: Mapping[str, Value]) -> str:
    """How the user wrote a fixed flag; empty when it is none."""
    return next((flag for flag in flags if spelling(flag) == spelling(name)), "")
