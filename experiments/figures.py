"""How pages write figures: four digits, milliseconds, minutes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from experiments.models import TuningTask
from experiments.objectives import THROUGHPUTS, TIMES, parse_objective


@dataclass(frozen=True)
class Column:
    """A metric with a column of its own."""

    metric: str
    title: str
    factor: float = 1.0  # From the database's unit to the title's

    def text(self, metrics: Mapping[str, Any]) -> str:
        value = metrics.get(self.metric)
        return "" if value is None else number(value * self.factor)


ENGINE_COLUMNS = [
    Column("output_throughput", "tok/s"),
    Column("ttft_mean", "TTFT ms", 1000),
    Column("tpot_mean", "TPOT ms", 1000),
]


def objective(task: TuningTask) -> tuple[str, str, float]:
    """The objective's metric in words, its unit, and the factor to that unit."""
    metric = parse_objective(task.objective).metric
    words = metric.replace("_", " ")
    if task.engine == "job":
        return words, "", 1.0
    if metric.split("_")[0] in TIMES:
        return words, "ms", 1000.0
    if metric in THROUGHPUTS:
        return words, "req/s" if metric == "requests_per_second" else "tok/s", 1.0
    return words, "", 1.0


def number(value: float) -> str:
    """Four digits that matter: 8,247 · 34.5 · 0.0123."""
    if 1000 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    return f"{share:+,.0%}" if abs(share) >= 1 else f"{share:+.1%}"


def plain(value: object) -> str:
    """A parameter's value as the engine gets it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def elapsed(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """`1.6 s`, `42 s`, `4 min 16 s`, `2 h 05 min`."""
    if start is None:
        return ""
    seconds = max(0, int(((end or now) - start).total_seconds()))
    if end and seconds < 10:
        return f"{(end - start).total_seconds():.1f} s"
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
