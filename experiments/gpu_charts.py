"""What an experiment's page draws of its GPUs over the time: utilisation, memory, power."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.charts import ticks
from experiments.figures import span
from experiments.lanes import percentage
from experiments.models import Experiment, GpuReadings

COLOURS = 8  # of lines; a ninth GPU has the first one's again
ROOM, ROOM_OF_START = 0.05, 0.16  # of the width, that the number and the word of a phase need
GAP = 3.0  # times the usual time between two points, over which nothing is drawn


@dataclass(frozen=True)
class Chart:
    """One quantity: its title, its unit, and the factor from the stored unit to that one."""

    name: str
    title: str
    unit: str
    factor: float = 1.0

    def text(self, value: float | None) -> str:
        return "not told" if value is None else f"{three(value * self.factor)} {self.unit}"


CHARTS = (
    Chart("utilization", "Utilisation", "%", 100),
    Chart("memory_used_mb", "Memory in use", "GiB", 1 / 1024),
    Chart("power_w", "Power", "W"),
)
TEMPERATURE = Chart("temperature_c", "Temperature", "°C")


def on_page(experiment: Experiment) -> dict[str, Any]:
    """The readings of every attempt, the latest first; without any, why there are none."""
    rows = list(experiment.gpu_readings.order_by("-attempt"))
    attempts = [attempt(row) for row in rows if row.data.get("at")]
    is_followed = experiment.started_at is not None and not experiment.has_ended
    return {
        "experiment": experiment,
        "attempts": attempts,
        "is_followed": is_followed,
        "why_none": "" if attempts else why_none(experiment, is_followed),
        "seen": mark(experiment),
    }


def mark(experiment: Experiment) -> str:
    """What of the readings there is: another word when there is more."""
    rows = experiment.gpu_readings.order_by("attempt").values_list("attempt", "seconds")
    number, seconds = rows.last() or (0, 0.0)
    return f"{experiment.attempt}-{experiment.status}-{number}-{seconds:.3f}"


def why_none(experiment: Experiment, is_followed: bool) -> str:
    """In words."""
    if experiment.measured_as:
        return f"Not run here: {experiment.measured_as}."
    if experiment.started_at is None:
        return "Nothing yet: it has not been started."
    hardware = experiment.environment.get("hardware") or "this hardware"
    if is_followed:
        return f"Nothing yet: {hardware} is read once a second, if it has an NVIDIA driver."
    return (
        f"No readings: {hardware} told none. GPUs with an NVIDIA driver do; a simulated GPU or a "
        "CPU slot has none, and nothing is made up for it."
    )


def attempt(row: GpuReadings) -> dict[str, Any]:
    """One attempt: its charts, its phases, what is read at each point, and its summary."""
    at: list[float] = row.data["at"]
    end = max(row.seconds, at[-1], 1.0)
    gpus = row.data["gpus"]
    phases = [(begin, name) for begin, name in row.data.get("phases", ())]
    return {
        "number": row.attempt,
        "seconds": span(row.seconds),
        "charts": [drawn(chart, row, at, end) for chart in CHARTS],
        "x": [(percentage(second / end), clock(second)) for second in ticks(0, end)],
        "phases": list(marks(phases, end)),
        "gpus": [
            {"name": uuid, "short": short(uuid), "colour": index % COLOURS, **told(row, uuid)}
            for index, uuid in enumerate(gpus)
        ],
        "readings": json.dumps(
            [[round(1000 * a / end), said(a, place, gpus, phases)] for place, a in enumerate(at)]
        ),
        "last": len(at) - 1,
    }


def drawn(chart: Chart, row: GpuReadings, at: Sequence[float], end: float) -> dict[str, Any]:
    """A chart: a line for each GPU, broken where nothing was told."""
    lines = [quantities[chart.name] for quantities in row.data["gpus"].values()]
    values = [value * chart.factor for line in lines for value in line if value is not None]
    top = top_of(chart, row, values)
    return {
        "title": chart.title,
        "unit": chart.unit,
        "is_empty": not values,
        "y": [(percentage(1 - y / top), three(y)) for y in ticks(0, top) if values],
        "lines": [
            {"colour": index % COLOURS, "points": " ".join(f"{x},{y}" for x, y in points)}
            for index, line in enumerate(lines)
            for points in parts(at, line, chart.factor / top, end)
        ],
    }


def top_of(chart: Chart, row: GpuReadings, values: Sequence[float]) -> float:
    """What the top of a chart stands for: all of a GPU, where that is known."""
    if chart.name == "utilization":
        return 100.0
    whole = [0.0]
    if chart.name == "memory_used_mb":
        whole = [(of.get("memory_total_mb") or 0) * chart.factor for of in row.summary.values()]
    return max([*whole, *(1.05 * value for value in values), 1.0])


def parts(
    at: Sequence[float], line: Sequence[float | None], scale: float, end: float
) -> Iterator[list[tuple[int, int]]]:
    """The parts of a line in thousandths of the width and the height; a point alone is a dash."""
    usual = (at[-1] - at[0]) / max(1, len(at) - 1)
    part: list[tuple[int, int]] = []
    before = at[0]
    for moment, value in zip(at, line, strict=True):
        if part and (value is None or moment - before > GAP * max(usual, 1.0)):
            yield part if len(part) > 1 else [part[0], (part[0][0] + 2, part[0][1])]
            part = []
        if value is not None:
            part.append((round(1000 * moment / end), round(1000 - 1000 * value * scale)))
            before = moment
    if part:
        yield part if len(part) > 1 else [part[0], (part[0][0] + 2, part[0][1])]


def marks(phases: Sequence[tuple[float, str]], end: float) -> Iterator[dict[str, str]]:
    """Where each phase begins: the start, then the load levels by number."""
    for number, (begin, name) in enumerate(phases):
        after = phases[number + 1][0] if number + 1 < len(phases) else end
        is_legible = (after - begin) / end > (ROOM if number else ROOM_OF_START)
        yield {
            "x": percentage(begin / end),
            "number": str(number) if number else "",
            "word": (str(number) if number else "start") if is_legible or after == end else "",
            "name": name,
            "at": span(begin),
        }


def told(row: GpuReadings, gpu: str) -> dict[str, list[tuple[str, str]]]:
    """The mean and the most of each quantity."""
    summary = row.summary.get(gpu, {})
    found = ((chart, summary.get(chart.name)) for chart in (*CHARTS, TEMPERATURE))
    return {
        "cells": [
            (chart.text(of["mean"]), chart.text(of["max"])) if of else ("–", "")
            for chart, of in found
        ]
    }


def said(
    at: float, place: int, gpus: Mapping[str, Any], phases: Sequence[tuple[float, str]]
) -> str:
    """What is read at a point, in words."""
    phase = next((name for begin, name in reversed(phases) if begin <= at), "")
    lines = [f"{span(at)}, {phase}" if phase else span(at)]
    for uuid, quantities in gpus.items():
        values = (
            chart.text(quantities[chart.name][place])
            for chart in (*CHARTS, TEMPERATURE)
            if quantities[chart.name][place] is not None
        )
        lines.append(f"{short(uuid)}: {' · '.join(values) or 'did not answer'}")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """`40 s`, `2 min`, `2:30`: short, to be below an axis."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:g} s"
    return f"{minutes}:{rest:02d}" if rest else f"{minutes} min"


def short(uuid: str) -> str:
    return uuid[:12]


def three(value: float) -> str:
    """Three digits that matter: 1,240 · 87.5 · 0.123."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
