"""Configurations as numbers between 0 and 1, for models that measure distances."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.space import Choices, Configuration, Dimension, Space, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]

ABSENT = 0.5  # Where a parameter that does not apply stands on its axis


class Encoding:
    """The axes of a space: one for each number and each flag, one for each unordered choice."""

    def __init__(self, space: Space) -> None:
        self.dimensions = space.dimensions
        self.columns: list[slice] = []  # of each dimension
        start = 0
        for dimension in self.dimensions:
            width = 1 if is_ordered(dimension) else dimension.count or 1
            self.columns.append(slice(start, start + width))
            start += width
        self.width = start
        self.ranges = [
            columns.start
            for dimension, columns in zip(self.dimensions, self.columns, strict=True)
            if not isinstance(dimension, Choices)
        ]

    def rows(self, configurations: Sequence[Configuration]) -> "Array":
        """One row for each configuration."""
        import numpy as np

        table = np.zeros((len(configurations), self.width))
        for row, configuration in zip(table, configurations, strict=True):
            for dimension, columns in zip(self.dimensions, self.columns, strict=True):
                value = configuration.get(dimension.name)
                if value is None:
                    row[columns] = ABSENT / (columns.stop - columns.start)
                elif isinstance(dimension, Choices) and not is_ordered(dimension):
                    # Any two choices are 1 apart
                    row[columns.start + (dimension.index(value) or 0)] = math.sqrt(0.5)
                else:
                    row[columns] = position(dimension, value)
        return table

    def squared_distances(self, a: "Array", b: "Array") -> "Array":
        """Of each row of `a` to each of `b`, along each dimension: dimensions × rows × rows."""
        import numpy as np

        return np.stack(
            [
                ((a[:, None, columns] - b[None, :, columns]) ** 2).sum(axis=2)
                for columns in self.columns
            ]
        )


def position(dimension: Dimension, value: Value) -> float:
    """Where a value stands on its dimension, from 0 to 1; by its logarithm where that is asked."""
    if isinstance(dimension, Choices):
        last = dimension.count - 1
        return (dimension.index(value) or 0) / last if last else 0.0
    low, high, at = float(dimension.low), float(dimension.high), float(value)
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def is_ordered(dimension: Dimension) -> bool:
    """Whether its values have one axis: neighbours are alike, or there are only two."""
    return not isinstance(dimension, Choices) or dimension.ordered or dimension.count <= 2
