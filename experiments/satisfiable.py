"""Whether every constraint of a space can be met, and every parameter can be part of it."""

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from experiments.constraints import Constraint
from experiments.dimensions import Choices, Dimension
from experiments.errors import BadInput
from experiments.expressions import kinds_of
from experiments.parts import LISTED, Configuration, Part, in_dependency_order
from experiments.space import Space

SAMPLES = 10_000  # drawn where not every combination can be looked at
FEW_SAMPLES = 1000  # where an answer is not worth more: a value of the wrong kind, no effect


def unsatisfiable(space: Space) -> Iterator[BadInput]:
    """One problem for each constraint and condition that no configuration meets."""
    for dimension in space.dimensions:
        part = Part(_with_those_it_needs(space, [dimension.name]))
        if dimension.when and not _is_found(part, partial(_has, dimension.name)):
            yield BadInput(f"parameters.{dimension.name}.when", "no configuration meets it")
    hopeless = []
    for constraint in space.constraints:
        try:
            _check_alone(space, constraint)
        except BadInput as problem:
            hopeless.append(problem)
    yield from hopeless
    if not hopeless:
        yield from _unmet_together(space)


def without_effect(space: Space) -> Iterator[Constraint]:
    """The constraints that forbid nothing, as far as all combinations can be looked at."""
    for constraint in space.constraints:
        free = Part(_with_those_it_needs(space, constraint.names))
        is_small = free.bound is not None and free.bound <= FEW_SAMPLES
        if is_small and all(map(constraint.allows, free.walk())):
            yield constraint


def _check_alone(space: Space, constraint: Constraint) -> None:
    """Raise BadInput unless some configuration has all of its parameters, and meets it."""
    dimensions = _with_those_it_needs(space, constraint.names)
    free = Part(dimensions)
    if any(isinstance(d, Choices) and len(kinds_of(d.options)) > 1 for d in dimensions):
        for configuration in _some(free, FEW_SAMPLES):
            constraint.check(configuration)
    if not _is_found(free, constraint.applies):
        raise BadInput(constraint.field, "never applies: its parameters are never active together")
    if not _is_found(Part(dimensions, (constraint,)), constraint.applies):
        raise BadInput(constraint.field, f"no configuration meets it{_among(free)}")


def _unmet_together(space: Space) -> Iterator[BadInput]:
    for part in space.parts:
        if _is_found(part, bool):
            continue
        for count, constraint in enumerate(part.constraints, start=1):
            if not _is_found(Part(part.dimensions, part.constraints[:count]), bool):
                message = f"no configuration meets it and those before it{_among(part)}"
                yield BadInput(constraint.field, message)
                break


def _has(name: str, configuration: Configuration) -> bool:
    return name in configuration


def _is_found(part: Part, wanted: Callable[[Configuration], bool]) -> bool:
    """Whether the part has such a combination; by chance where it has too many to look at."""
    return any(map(wanted, _some(part, SAMPLES))) or (
        _can_be_listed(part) and any(map(wanted, part.walk()))
    )


def _some(part: Part, draws: int) -> Iterator[Configuration]:
    """Combinations that the part's constraints allow: all if they are not more than `draws`."""
    if part.bound is not None and part.bound <= draws:
        yield from part.walk()
        return
    rng = random.Random(0)
    for _ in range(draws):
        drawn = part.attempt(rng)
        if drawn is not None:
            yield drawn


def _can_be_listed(part: Part) -> bool:
    return part.bound is not None and SAMPLES < part.bound <= LISTED


def _among(part: Part) -> str:
    small = part.bound is not None and part.bound <= LISTED
    return "" if small else f" among {SAMPLES} drawn by chance"


def _with_those_it_needs(space: Space, names: Iterable[str]) -> tuple[Dimension, ...]:
    """The dimensions of these names, and those that their conditions name."""
    by_name = {dimension.name: dimension for dimension in space.dimensions}
    needed: dict[str, Dimension] = {}
    left = [name for name in names if name in by_name]
    while left:
        dimension = by_name[left.pop()]
        if dimension.name not in needed:
            needed[dimension.name] = dimension
            left += [condition.parameter for condition in dimension.when]
    return tuple(in_dependency_order(list(needed.values())))
