"""The dimensions of a search space: what one flag may be."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from experiments.errors import BadInput

Value = str | int | float | bool

MOST_STEPS = 1_000_000  # values of one stepped dimension; more is a typing error
LARGEST = 2**63 - 1  # the largest whole number that programs and databases take


@dataclass(frozen=True)
class Condition:
    """The values of another parameter with which a parameter exists."""

    parameter: str
    values: tuple[Value, ...]

    def holds(self, configuration: Mapping[str, Value]) -> bool:
        """Not where the other parameter is absent itself."""
        value = configuration.get(self.parameter)
        return value is not None and any(same(value, known) for known in self.values)


@dataclass(frozen=True)
class Named:
    """What all kinds of dimension have: a name, and perhaps conditions, which must all hold."""

    name: str
    when: tuple[Condition, ...] = field(default=(), kw_only=True)

    def exists(self, configuration: Mapping[str, Value]) -> bool:
        """Whether it has a value beside those of `configuration`, in which nothing is inactive."""
        return all(condition.holds(configuration) for condition in self.when)


@dataclass(frozen=True)
class Choices(Named):
    """One of these values, in the user's order. `true` and 1 are different values.

    `order` is what the user says of that order, if anything: whether neighbours are alike.
    """

    options: tuple[Value, ...]
    order: bool | None = None

    def __post_init__(self) -> None:
        field = f"parameters.{self.name}"
        if not self.options:
            raise BadInput(field, "the list is empty; give at least one value")
        seen: set[str] = set()
        for value in self.options:
            check_value(field, value)
            if identity(value) in seen:
                raise BadInput(field, f"{json.dumps(value)} is given twice")
            seen.add(identity(value))

    @property
    def count(self) -> int:
        return len(self.options)

    @cached_property
    def ordered(self) -> bool:
        """Whether neighbours in the list are alike: unless the user says so or denies it, numbers
        are that ascend or descend.
        """
        if self.order is not None:
            return self.order
        numbers = [value for value in self.options if is_number(value)]
        return len(numbers) == self.count > 1 and numbers in (
            sorted(numbers),
            sorted(numbers, reverse=True),
        )

    def values(self) -> Sequence[Value]:
        return self.options

    def nth(self, index: int) -> Value:
        return self.options[index]

    def at(self, share: float) -> Value:
        """The value at `share` (0 up to 1) of the list."""
        return self.options[int(share * self.count)]

    def index(self, value: Value) -> int | None:
        """The position of `value`; None when it is not one of the choices."""
        return self._places.get(place_of(value))

    @cached_property
    def _places(self) -> dict[tuple[bool, Value], int]:
        return {place_of(option): index for index, option in enumerate(self.options)}

    def contains(self, value: Value) -> bool:
        return self.index(value) is not None


@dataclass(frozen=True)
class Integer(Named):
    """A whole number from `low` to `high`, both included, in steps from `low`."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        for part in (self.low, self.high, self.step):
            if isinstance(part, bool) or not isinstance(part, int):
                raise BadInput(f"parameters.{self.name}", f"{part!r} is not a whole number")
        check_range(self.name, self.low, self.high, self.step, self.log)

    @property
    def count(self) -> int:
        return (self.high - self.low) // self.step + 1

    def values(self) -> Sequence[Value]:
        """All values, as a range: nothing is listed before it is asked for."""
        return range(self.low, self.high + 1, self.step)

    def nth(self, index: int) -> int:
        return self.low + index * self.step

    def at(self, share: float) -> int:
        """The value at `share` (0 up to 1) of the range, or of its logarithm."""
        if not self.log:
            return self.nth(int(share * self.count))
        return self.snap(math.floor(self.low * ((self.high + 1) / self.low) ** share))

    def snap(self, value: float) -> int:
        """The nearest value of this dimension."""
        index = round((value - self.low) / self.step)
        return self.nth(min(max(index, 0), self.count - 1))

    def contains(self, value: Value) -> bool:
        return is_number(value) and canonical(self.snap(float(value))) == canonical(value)


@dataclass(frozen=True)
class Continuous(Named):
    """A number from `low` to `high`, both included; with a step, only every step from `low`."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        for part in (self.low, self.high, self.step):
            if part is not None and not is_number(part):
                raise BadInput(f"parameters.{self.name}", f"{part!r} is not a finite number")
        check_range(self.name, self.low, self.high, self.step, self.log)
        if self.step is None:
            return
        # Roughly first: the exact count of far too many steps has too many digits
        count = (self.high - self.low) / self.step + 1
        if count > 2 * MOST_STEPS or (self.count or 0) > MOST_STEPS:
            raise BadInput(
                f"parameters.{self.name}.step",
                f"{self.step:g} makes {count:.0f} values; at most {MOST_STEPS}",
            )

    @cached_property
    def count(self) -> int | None:
        """How many values; None when there is no step."""
        if self.step is None:
            return None
        return int((exact(self.high) - exact(self.low)) // exact(self.step)) + 1

    def values(self) -> Sequence[Value] | None:
        """All values; None when there is no step."""
        return None if self.count is None else [self.nth(index) for index in range(self.count)]

    def nth(self, index: int) -> float:
        """The value `index` steps above `low`: 0.85, not 0.8500000000000001."""
        if self.step is None:
            raise ValueError(f"{self.name} has no step")
        return float(self._exactly[0] + index * self._exactly[1])

    @cached_property
    def _exactly(self) -> tuple[Decimal, Decimal]:
        return exact(self.low), exact(self.step or 0.0)

    def at(self, share: float) -> float:
        """The value at `share` (0 up to 1) of the range, or of its logarithm."""
        if self.count is not None and not self.log:
            return self.nth(int(share * self.count))
        if self.log:
            return self.snap(self.low * (self.high / self.low) ** share)
        return self.snap(self.low + (self.high - self.low) * share)

    def snap(self, value: float) -> float:
        """The nearest value of this dimension."""
        inside = float(min(max(value, self.low), self.high))
        if self.step is None or self.count is None:
            return inside
        return self.nth(min(round((inside - self.low) / self.step), self.count - 1))

    def contains(self, value: Value) -> bool:
        return is_number(value) and canonical(self.snap(float(value))) == canonical(value)


Dimension = Choices | Integer | Continuous


def check_range(name: str, low: float, high: float, step: float | None, log: bool) -> None:
    """Raise BadInput unless these numbers describe a range."""
    field = f"parameters.{name}"
    if not low < high:
        raise BadInput(f"{field}.low", f"{low} is not below high {high}")
    if not math.isfinite(high - low):
        raise BadInput(f"{field}.high", f"{high} is too far from low {low}")
    if log and low <= 0:
        raise BadInput(f"{field}.low", f"{low} is not above 0, which log needs")
    if step is None:
        return
    if step <= 0:
        raise BadInput(f"{field}.step", f"{step} is not above 0")
    if exact(step) > exact(high) - exact(low):
        raise BadInput(f"{field}.step", f"{step} is larger than the range from {low} to {high}")


def check_value(field: str, value: object) -> None:
    """Raise BadInput unless `value` can be the value of a flag."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(field, f"{value} is not a finite number")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise BadInput(field, f"the number is too large; at most {LARGEST}")
    if not isinstance(value, str | int | float):
        kind = {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), "this")
        raise BadInput(field, f"{kind} is not a value; use text, a number, true or false")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, and not true or false."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def exact(number: float) -> Decimal:
    """The decimal that the user wrote: 0.1, not 0.1000000000000000055."""
    return Decimal(repr(number))


def canonical(value: Value) -> Value:
    """One form for equal values: 1.0 is 1, and the 13th digit of a number does not matter."""
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() else rounded


def place_of(value: Value) -> tuple[bool, Value]:
    """What is equal for equal values only: `true` is not 1, and "1" is not 1."""
    return isinstance(value, bool), canonical(value)


def same(one: Value, other: Value) -> bool:
    """Whether two values are equal."""
    return place_of(one) == place_of(other)


def identity(value: Value) -> str:
    """Text that is the same for equal values only: `true` is not 1, and "1" is not 1."""
    return json.dumps(canonical(value))
