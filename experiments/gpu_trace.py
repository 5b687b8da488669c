"""How GPUs were used over a time, in a bounded number of points: the longer, the coarser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gpupool import GpuReading

MOST_POINTS = 300  # of one or two GPUs; of more, as many fewer
MOST_VALUES = 2 * MOST_POINTS  # points times GPUs
FEWEST_POINTS = 60
MOST_PHASES = 200
QUANTITIES = ("utilization", "memory_used_mb", "power_w", "temperature_c")

Values = tuple[float | None, ...]  # in the order of QUANTITIES
UNKNOWN: Values = (None,) * len(QUANTITIES)


@dataclass(frozen=True)
class Point:
    """The mean of some samples: of each GPU its values, or that it did not answer."""

    at: float
    values: tuple[Values, ...]


class Trace:
    """The readings of these GPUs: points over the time, and what is true of all samples.

    A point is the mean of `stride` samples. When there are too many points, each two become one:
    no memory grows, and nothing between two points is left out.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self.gpus = tuple(gpus)
        even = MOST_VALUES // max(1, len(gpus)) // 2 * 2
        self.most = max(FEWEST_POINTS, min(MOST_POINTS, even))
        self.points: list[Point] = []
        self.stride = 1
        self.phases: list[tuple[float, str]] = []
        self._pending: list[Point] = []
        self._memory_mb: dict[str, int] = {}
        self._totals = {gpu: [Total() for _ in QUANTITIES] for gpu in self.gpus}

    def add(self, at: float, found: Mapping[str, GpuReading], phase: str = "") -> None:
        """A sample, so many seconds after the beginning, of the GPUs that answered."""
        for gpu, reading in found.items():
            if reading.memory_total_mb:
                self._memory_mb[gpu] = reading.memory_total_mb
        values = tuple(_values(found.get(gpu)) for gpu in self.gpus)
        for gpu, those in zip(self.gpus, values, strict=True):
            for total, value in zip(self._totals[gpu], those, strict=True):
                total.add(value)
        if phase and phase != (self.phases[-1][1] if self.phases else ""):
            self.phases = [*self.phases, (at, phase)][:MOST_PHASES]
        self._pending.append(Point(at, values))
        if len(self._pending) == self.stride:
            self.points.append(mean(self._pending))
            self._pending = []
        if len(self.points) == self.most:
            self.points = [mean(self.points[at : at + 2]) for at in range(0, self.most, 2)]
            self.stride *= 2

    def document(self) -> dict[str, Any]:
        """The points as plain data: a list of moments, and of each GPU a list per quantity."""
        points = [*self.points, *([mean(self._pending)] if self._pending else [])]
        return {
            "at": [round(point.at, 2) for point in points],
            "phases": [[round(at, 2), phase] for at, phase in self.phases],
            "gpus": {
                gpu: {
                    name: [rounded(point.values[index][place]) for point in points]
                    for place, name in enumerate(QUANTITIES)
                }
                for index, gpu in enumerate(self.gpus)
            },
        }

    def summary(self) -> dict[str, Any]:
        """Of each GPU the mean and the most of every quantity that it told, and its memory."""
        return {
            gpu: {
                "memory_total_mb": self._memory_mb.get(gpu),
                **{
                    name: {"mean": rounded(total.sum / total.count), "max": rounded(total.most)}
                    for name, total in zip(QUANTITIES, totals, strict=True)
                    if total.count
                },
            }
            for gpu, totals in self._totals.items()
        }


@dataclass
class Total:
    """What is kept of all samples of one quantity."""

    count: int = 0
    sum: float = 0.0
    most: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.most = max(value, self.most) if self.count else value
            self.count, self.sum = self.count + 1, self.sum + value


def mean(points: Sequence[Point]) -> Point:
    """One point for several; what was told by none of them is not known."""
    together = zip(*(point.values for point in points), strict=True)
    values = tuple(tuple(map(_mean, zip(*those, strict=True))) for those in together)
    return Point(fmean(point.at for point in points), values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _values(reading: GpuReading | None) -> Values:
    if reading is None:
        return UNKNOWN
    return tuple(getattr(reading, name) for name in QUANTITIES)


def rounded(value: float | None) -> float | None:
    """Four digits: as many as anybody reads."""
    return None if value is None else float(f"{value:.4g}")
