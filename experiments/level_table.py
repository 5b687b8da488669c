"""The load levels of an experiment as a table: what was measured, and what to think of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.template.loader import render_to_string

from experiments.figures import ENERGY_COLUMNS, ENGINE_COLUMNS, Column, percent, span
from experiments.models import Experiment

GOODPUT = Column("goodput", "Goodput req/s")


def level_table(experiment: Experiment) -> str:
    """The table as HTML; empty for an experiment without levels, as a job."""
    columns = columns_of(experiment.levels)
    rows = [row for level in experiment.levels for row in rows_of(level, columns)]
    if not rows:
        return ""
    titles = [column.title for column in columns]
    return render_to_string("experiments/levels.html", {"columns": titles, "rows": rows})


def columns_of(levels: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The figures of an engine, and those of goodput, energy and cost that any level has."""
    known = {metric for level in levels for metric in level["metrics"]}
    return [*ENGINE_COLUMNS, *(one for one in (GOODPUT, *ENERGY_COLUMNS) if one.metric in known)]


def rows_of(level: Mapping[str, Any], columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """The level as it counts, and as it was before or after it was disturbed, if measured twice."""
    notes = [*level.get("violations", ()), *marks(level)]
    yield one_row(level, columns, level["label"], notes)
    if superseded := level.get("superseded"):
        label = f"{level['label']}, not counted"
        yield one_row(superseded, columns, label, marks(superseded))


def one_row(
    level: Mapping[str, Any], columns: Sequence[Column], label: str, notes: list[str]
) -> dict[str, Any]:
    return {
        "label": label,
        "figures": [column.text(level["metrics"]) for column in columns],
        "error": error_of(level),
        "time": span(level.get("seconds", 0)),
        "neighbours": neighbours(level),
        "notes": notes,
        "holds": level.get("feasible", True),
    }


def error_of(level: Mapping[str, Any]) -> str:
    """The standard error of its throughput, from its requests."""
    error = level.get("standard_errors", {}).get("output_throughput")
    return "" if error is None else f"± {percent(error).lstrip('+')}"


def neighbours(level: Mapping[str, Any]) -> str:
    """`2 steady, 1 starting`."""
    found = level.get("neighbours", {})
    return ", ".join(f"{count} {how}" for how, count in found.items() if count) or "none"


def marks(level: Mapping[str, Any]) -> list[str]:
    """What is to be known of how it was measured."""
    disturbed = ["disturbed: a neighbour started meanwhile"] if level.get("disturbed") else []
    stopped = level.get("stopped_early")
    return [*disturbed, *([f"stopped early: {stopped}"] if stopped else [])]
