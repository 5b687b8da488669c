"""How pages write figures: four digits, milliseconds, minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from experiments.models import TuningTask
from experiments.objectives import TIMES, unit_of


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

# Of a load level, where they are known
ENERGY_COLUMNS = [
    Column("power_w", "W"),
    Column("tokens_per_joule", "tok/J"),
    Column("cost_per_million_tokens", "Cost of 1M tok"),
]


def objective(task: TuningTask) -> tuple[str, str, float]:
    """The score in words, its unit, and the factor to that unit: of one objective, its metric's."""
    if task.objectives.several:
        return "score", "", 1.0  # A mean of ratios
    return metric(task, task.objectives.each[0].metric)


def metric(task: TuningTask, name: str) -> tuple[str, str, float]:
    """A metric in words, its unit, and the factor from the database's unit to that one."""
    words = name.replace("_", " ")
    if task.engine == "job":
        return words, "", 1.0
    unit = unit_of(name)
    return (words, "ms", 1000.0) if name.split("_")[0] in TIMES else (words, unit, 1.0)


def goals(task: TuningTask) -> list[tuple[str, float]]:
    """A column for each of several objectives: its title, and the factor to the title's unit."""
    if not task.objectives.several:
        return []
    found = [metric(task, objective.metric) for objective in task.objectives.each]
    return [(f"{words} {unit}".rstrip(), factor) for words, unit, factor in found]


def reached(task: TuningTask, values: Sequence[float]) -> list[tuple[str, str]]:
    """What was reached in each of several objectives, with the column's title; `values` may be
    none.
    """
    known: Sequence[float | None] = values or [None] * len(task.objectives.each)
    return [
        (title, "" if value is None else number(value * factor))
        for (title, factor), value in zip(goals(task), known, strict=False)
    ]


def remaining(end: datetime, now: datetime) -> str:
    """How long it is until then, as well as anybody can know."""
    seconds = (end - now).total_seconds()
    return f"about {span(seconds)} left" if seconds >= 1 else "about to end"


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


def span(seconds: float) -> str:
    """`42 s`, `4 min 16 s`, `2 h 05 min`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def seconds_since(start: datetime | None, now: datetime) -> int | None:
    """For a time that goes on in the browser by itself."""
    return None if start is None else max(0, int((now - start).total_seconds()))


def elapsed(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """A time until its end, or until now: `1.6 s`, and longer ones as `span` writes them."""
    if start is None:
        return ""
    seconds = ((end or now) - start).total_seconds()
    return f"{seconds:.1f} s" if end and 0 <= seconds < 10 else span(seconds)
