"""Small changes of a configuration: what a search tries around a good one."""

import math
import random

from experiments.dimensions import Choices, Dimension, Integer, Value
from experiments.space import Configuration, Space

STEP = 0.15  # The standard deviation of a change, as a share of the dimension


def changed(space: Space, configuration: Configuration, rng: random.Random) -> Configuration:
    """The configuration with one or two of its values changed; perhaps one that is not allowed."""
    moved = dict(configuration)
    for dimension in rng.sample(space.dimensions, min(rng.choice((1, 1, 2)), len(moved))):
        value = moved.get(dimension.name, dimension.at(rng.random()))
        moved[dimension.name] = mutated(dimension, value, rng)
    whole = {one.name: moved.get(one.name, one.at(rng.random())) for one in space.dimensions}
    return space.active(whole)


def mutated(dimension: Dimension, value: Value, rng: random.Random) -> Value:
    """Another value: a near one where there is an order, else any other."""
    count = dimension.count
    if count == 1:
        return value
    if isinstance(dimension, Choices) and not dimension.ordered:
        others = [option for option in range(dimension.count) if option != dimension.index(value)]
        return dimension.nth(rng.choice(others))
    step = rng.gauss(0, STEP)
    if count is not None:  # At least to the next one
        step = math.copysign(max(abs(step), 1 / count), step)
    return dimension.at(min(max(share(dimension, value) + step, 0.0), 1 - 1e-9))


def share(dimension: Dimension, value: Value) -> float:
    """Where a value is in its dimension, so that `at` gives it back: from 0 to 1."""
    if isinstance(dimension, Choices):
        return ((dimension.index(value) or 0) + 0.5) / dimension.count
    if not dimension.log and dimension.count is not None:
        return ((float(value) - dimension.low) / (dimension.step or 1) + 0.5) / dimension.count
    low, high, number = dimension.low, dimension.high, float(value)
    if isinstance(dimension, Integer):
        high, number = high + 1, number + 0.5
    if dimension.log:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)
