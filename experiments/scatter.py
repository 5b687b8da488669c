"""Two metrics against each other: every experiment a mark, the Pareto front a line, and the zone in
which the objectives are met. Coordinates are shares of the width and the height."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from experiments import pareto
from experiments.charts import MARGIN, ticks
from experiments.errors import BadInput
from experiments.figures import metric, number
from experiments.findings import Found
from experiments.lanes import percentage
from experiments.models import Experiment, TuningTask
from experiments.objectives import THROUGHPUTS, TIMES
from experiments.slo import Minimum
from experiments.states import Status
from experiments.tones import kind

MOST = 300  # marks beside the front and those with names: the newest
LATENCIES = ("ttft_p95", "latency_p95", "ttft_mean", "latency_mean")  # The first that is known
ORDER = ["pruned", "missed", "met", "front", "best"]  # What is drawn last is on top


class Limit(NamedTuple):
    """A service-level objective: the most that a metric may be, or the least."""

    at: float
    is_least: bool


class Point(NamedTuple):
    experiment: Experiment
    x: float
    y: float


def scatter(
    task: TuningTask, experiments: Sequence[Experiment], found: Found
) -> dict[str, Any] | None:
    """Of several objectives the first two; of one the throughput over a latency. None before two
    experiments were measured, and for a job with one objective, whose metrics only it knows."""
    chosen = chosen_metrics(task, experiments)
    measured = points(task, experiments, chosen, found)
    if len(measured) < 2:
        return None
    front = front_of(task, measured, chosen, found)
    named = names(task, found)
    kept = front | set(named)
    shown = [*(p for p in measured[:-MOST] if p.experiment.pk in kept), *measured[-MOST:]]
    limits = limits_of(task)
    x, y = (
        Axis(task, name, maximize, values, limits.get(name))
        for (name, maximize), values in zip(
            chosen, ([p.x for p in shown], [p.y for p in shown]), strict=True
        )
    )
    marks = [
        {
            "number": p.experiment.number,
            "x": x.place(p.x),
            "y": y.down(p.y),
            "is": kind(p.experiment),
            "kind": drawn_as(p.experiment, front, named),
            "label": named.get(p.experiment.pk, ""),
            "is_right": x.share(p.x) > 0.8,  # Its label is at its left
            "title": f"#{p.experiment.number}: {x.text(p.x)}, {y.text(p.y)}",
        }
        for p in shown
    ]
    return {
        "x": x,
        "y": y,
        "marks": sorted(marks, key=lambda mark: ORDER.index(mark["kind"])),
        "line": stairs([p for p in shown if p.experiment.pk in front], x, y),
        "zone": zone(x, y),
    }


def chosen_metrics(task: TuningTask, experiments: Sequence[Experiment]) -> list[tuple[str, bool]]:
    """The metric across and the one upwards, each with whether more of it is better."""
    each = task.objectives.each
    if len(each) > 1:
        return [(one.metric, one.maximize) for one in each[:2]]
    if task.engine == "job":
        return []
    name = each[0].metric
    known = {metric for one in experiments for metric in one.metrics}
    times = [name, *limits_of(task), *LATENCIES]
    time = next((one for one in times if one.split("_")[0] in TIMES and one in known), None)
    rate = name if name in THROUGHPUTS else "output_throughput"
    return [(time, False), (rate, True)] if time else []


def limits_of(task: TuningTask) -> dict[str, Limit]:
    """The service-level objectives, by metric. Those of throughput speak of all GPUs together,
    which several objectives do not: then only those of times count."""
    try:
        slo = task.file.slo
    except BadInput:  # Written by another version, whose file we cannot read
        return {}
    found = {
        name: Limit(one.threshold, isinstance(one, Minimum))
        for name, one in (slo.limits() if slo else ())
    }
    if task.objectives.several:
        return {name: one for name, one in found.items() if not one.is_least}
    return found


def points(
    task: TuningTask,
    experiments: Sequence[Experiment],
    chosen: Sequence[tuple[str, bool]],
    found: Found,
) -> list[Point]:
    """Those that were measured at every level. Of several objectives a configuration is one point,
    by all its measurements, as the front is."""
    if task.objectives.several:
        of_several = [(one, found.values.get(one.number, ())) for one in experiments]
        return [Point(one, *values[:2]) for one, values in of_several if values]
    measured = []
    for one in experiments:
        values = [one.metrics.get(name) for name, _ in chosen]
        x, y = values if len(values) == 2 else (None, None)
        if one.status == Status.SUCCESS and not one.pruned and x is not None and y is not None:
            measured.append(Point(one, x, y))
    return measured


def front_of(
    task: TuningTask,
    measured: Sequence[Point],
    chosen: Sequence[tuple[str, bool]],
    found: Found,
) -> set[int]:
    """The keys of those on the front: the task's own, or that of these two metrics."""
    if task.objectives.has_front:
        return {one.pk for one in found.front}
    able = [point for point in measured if point.experiment.feasible]
    signs = [1 if maximize else -1 for _, maximize in chosen]
    scores = [(signs[0] * point.x, signs[1] * point.y) for point in able]
    return {able[index].experiment.pk for index in pareto.pareto_front(scores)}


def names(task: TuningTask, found: Found) -> dict[int, str]:
    """What stands beside a mark, by its experiment's key. Where each measurement has a mark, it is
    the one that stands for all of its configuration's: not the lucky one that it was chosen by.
    """
    several = task.objectives.several
    return {(one if several else found.shown(one)).pk: name for name, one in found.named}


def drawn_as(experiment: Experiment, front: set[int], named: Mapping[int, str]) -> str:
    if named.get(experiment.pk) == "best":
        return "best"
    return "front" if experiment.pk in front else kind(experiment)


def stairs(front: Sequence[Point], x: "Axis", y: "Axis") -> list[tuple[str, str, str, str]]:
    """What the front reaches: (x1, y1, x2, y2) of the parts of a line with steps."""
    parts = []
    for one, other in pairwise(sorted(front, key=lambda point: (point.x, point.y))):
        # Where less is better across, a point also reaches what is to its right, else to its left
        corner = (other.x, one.y) if not x.maximize else (one.x, other.y)
        for start, end in (((one.x, one.y), corner), (corner, (other.x, other.y))):
            parts.append((x.place(start[0]), y.down(start[1]), x.place(end[0]), y.down(end[1])))
    return parts


def zone(x: "Axis", y: "Axis") -> dict[str, str] | None:
    """The rectangle in which both axes' objectives are met; None without one."""
    if x.limit is None and y.limit is None:
        return None
    (left, right), (bottom, top) = x.met, y.met
    return {
        "x": percentage(left),
        "y": percentage(1 - top),
        "width": percentage(right - left),
        "height": percentage(top - bottom),
    }


class Axis:
    """One metric from its least to its most, widened to its limit where that is not far off."""

    def __init__(
        self,
        task: TuningTask,
        name: str,
        maximize: bool,
        values: Sequence[float],
        limit: Limit | None,
    ) -> None:
        words, self.unit, self.factor = metric(task, name)
        self.maximize, self.limit = maximize, limit
        self.title = f"{words}{f' ({self.unit})' if self.unit else ''}"
        self.better = "more is better" if maximize else "less is better"
        self.low, self.high = min(values), max(values)
        wide = self.high - self.low or abs(self.high) / 10
        if limit and self.low - wide <= limit.at <= self.high + wide:
            self.low, self.high = min(self.low, limit.at), max(self.high, limit.at)

    def share(self, value: float) -> float:
        """Where a value is: 0 at the low end, 1 at the high one."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return MARGIN + (1 - 2 * MARGIN) * share

    def place(self, value: float) -> str:
        return percentage(self.share(value))

    def down(self, value: float) -> str:
        """The same from the top."""
        return percentage(1 - self.share(value))

    @property
    def met(self) -> tuple[float, float]:
        """From where to where its objective is met."""
        if self.limit is None:
            return 0.0, 1.0
        at = min(1.0, max(0.0, self.share(self.limit.at)))
        return (at, 1.0) if self.limit.is_least else (0.0, at)

    @property
    def limit_text(self) -> str:
        """The limit in words, if it is drawn."""
        if self.limit is None or not 0 < self.share(self.limit.at) < 1:
            return ""
        return f"{'at least' if self.limit.is_least else 'at most'} {self.text(self.limit.at)}"

    @property
    def limit_place(self) -> str:
        return self.place(self.limit.at) if self.limit else ""

    @property
    def limit_down(self) -> str:
        return self.down(self.limit.at) if self.limit else ""

    @property
    def across(self) -> list[tuple[str, str]]:
        """Round values to write below."""
        return [(self.place(at / self.factor), number(at)) for at in self._round()]

    @property
    def upwards(self) -> list[tuple[str, str]]:
        return [(self.down(at / self.factor), number(at)) for at in self._round()]

    def _round(self) -> list[float]:
        return ticks(self.low * self.factor, self.high * self.factor)

    def text(self, value: float) -> str:
        return f"{number(value * self.factor)} {self.unit}".rstrip()
