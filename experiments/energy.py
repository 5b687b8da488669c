"""What a load level takes: the power of its GPUs, their energy, and what an hour of them costs."""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from experiments.benchmarks.base import Measurement, Metrics
from experiments.sampling import Sampling

EVERY = 0.5  # seconds between two readings
LONGEST_GAP = 2.5  # seconds without a reading, over which nothing is known of the power

Reading = tuple[float, float]  # a moment of the monotonic clock in seconds, and watts


class PowerMeter(Sampling):
    """Reads the power of some GPUs again and again, in a thread of its own, while it is open.

    `read` gives all of them together in watts, None where one is not known.
    """

    def __init__(self, read: Callable[[], float | None], every: float = EVERY) -> None:
        self.readings: list[Reading] = []
        self._read = read
        super().__init__(self._read_once, every, "power meter")

    def _read_once(self) -> bool:
        began = time.monotonic()
        watts = self._read()
        if watts is not None:  # As of the middle of the reading, which takes its time
            self.readings.append(((began + time.monotonic()) / 2, watts))
        return bool(self.readings)  # Else it is never told here


def energy(readings: Sequence[Reading], begin: float, end: float) -> float | None:
    """The energy in joules between two moments, by the trapezoidal rule.

    Before the first reading and after the last one the power is taken to be theirs. None where
    it is not known for longer than LONGEST_GAP.
    """
    if not readings or end <= begin:
        return None
    moments = [begin, *(at for at, _ in readings if begin < at < end), end]
    gaps = [after - before for before, after in pairwise(moments)]
    if max(*gaps, min(abs(at - begin) for at, _ in readings)) > LONGEST_GAP:
        return None
    powers = [_at(readings, moment) for moment in moments]
    steps = zip(gaps, pairwise(powers), strict=True)
    return sum(seconds * (a + b) / 2 for seconds, (a, b) in steps)


def costed(
    measured: Measurement,
    readings: Sequence[Reading],
    report: Path,
    *,
    gpus: int,
    price_per_gpu_hour: float | None,
) -> Measurement:
    """A level with its energy and its cost. It ended when its load generator wrote the report."""
    until = time.monotonic() - max(0.0, time.time() - report.stat().st_mtime)
    metrics = with_energy(measured.metrics, readings, until)
    return replace(measured, metrics=with_cost(metrics, gpus, price_per_gpu_hour))


def with_energy(metrics: Metrics, readings: Sequence[Reading], measured_until: float) -> Metrics:
    """The metrics of a level with its mean power, its energy and its tokens per joule.

    Of the `duration` that ends at `measured_until`, a moment of the monotonic clock: the load
    generator's start and the warm-up do not count. Without readings nothing is added.
    """
    duration = metrics.get("duration", 0.0)
    joules = energy(readings, measured_until - duration, measured_until)
    if not joules:
        return metrics
    found = {"power_w": joules / duration, "energy_j": joules}
    if "output_tokens" in metrics:
        found["tokens_per_joule"] = metrics["output_tokens"] / joules
    return {**metrics, **found}


def with_cost(metrics: Metrics, gpus: int, price_per_gpu_hour: float | None) -> Metrics:
    """The metrics of a level with the cost of a million output tokens, in the price's currency.

    Nothing is added without a price, or where there was no token.
    """
    throughput = metrics.get("output_throughput", 0.0)
    if price_per_gpu_hour is None or throughput <= 0:
        return metrics
    cost = price_per_gpu_hour * gpus / 3600 / throughput * 1e6
    return {**metrics, "cost_per_million_tokens": cost}


def _at(readings: Sequence[Reading], moment: float) -> float:
    """The power at a moment, on the line between the readings around it."""
    index = bisect_left(readings, (moment, 0.0))
    if index == 0 or index == len(readings):
        return readings[min(index, len(readings) - 1)][1]
    (before, low), (after, high) = readings[index - 1], readings[index]
    return low + (high - low) * (moment - before) / (after - before)
