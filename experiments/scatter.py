"""The chart of two objectives: every experiment a point, those on the Pareto front connected."""

from collections.abc import Sequence
from typing import Any

from experiments.figures import metric, number
from experiments.models import Experiment, TuningTask

# In units of the drawing; room for the words at the left and below
WIDTH, HEIGHT, LEFT, BELOW, MARGIN = 560, 260, 60, 36, 12
MOST = 200  # points beside the front: the newest


def scatter(
    task: TuningTask,
    experiments: Sequence[Experiment],
    front: Sequence[Experiment],
    best: Experiment | None,
) -> dict[str, Any] | None:
    """The first two objectives of a task with a Pareto front; None before two are measured."""
    if not task.objectives.has_front:
        return None
    measured = [e for e in experiments if len(e.objective_values) > 1 and not e.pruned]
    if len(measured) < 2:
        return None
    on_front = {e.pk for e in front}
    measured = [*(e for e in measured[:-MOST] if e.pk in on_front), *measured[-MOST:]]
    axes = [
        Axis(task, index, [e.objective_values[index] for e in measured], room)
        for index, room in enumerate(((LEFT, WIDTH - MARGIN), (HEIGHT - BELOW, MARGIN)))
    ]
    points: list[dict[str, Any]] = [
        {
            "number": e.number,
            "x": axes[0].at(e.objective_values[0]),
            "y": axes[1].at(e.objective_values[1]),
            "kind": "best" if best and e.pk == best.pk else kind(e, on_front),
            "title": f"#{e.number}: " + ", ".join(axis.text(e) for axis in axes),
        }
        for e in measured
    ]
    line = [(p["x"], p["y"]) for p in points if p["kind"] in ("front", "best")]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "axes": axes,
        "bottom": HEIGHT - BELOW,
        "left": LEFT,
        "beside": LEFT - 6,
        "below": (HEIGHT - BELOW + 13, HEIGHT - 6),
        "points": sorted(points, key=lambda point: ORDER.index(point["kind"])),
        "line": " ".join(f"{x},{y}" for x, y in sorted(line, key=lambda at: float(at[0]))),
    }


ORDER = ["missed", "beaten", "front", "best"]  # What is drawn last is on top


def kind(experiment: Experiment, front: set[int]) -> str:
    """How its point is drawn."""
    if not experiment.feasible:
        return "missed"
    return "front" if experiment.pk in front else "beaten"


class Axis:
    """One objective from its least to its most measured value, over `room` of the drawing."""

    def __init__(
        self, task: TuningTask, index: int, values: Sequence[float], room: tuple[int, int]
    ) -> None:
        objective = task.objectives.each[index]
        words, self.unit, self.factor = metric(task, objective.metric)
        self.index, self.room = index, room
        self.low, self.high = min(values), max(values)
        unit = f" ({self.unit})" if self.unit else ""
        self.title = f"{words}{unit}, {'more' if objective.maximize else 'less'} is better"

    def at(self, value: float) -> str:
        """Where a value is drawn."""
        start, end = self.room
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{start + (end - start) * (0.04 + 0.92 * share):.1f}"

    @property
    def ends(self) -> list[tuple[str, str]]:
        """The least and the most value, with where they are; one where all are the same."""
        values = dict.fromkeys((self.low, self.high))
        return [(self.at(value), number(value * self.factor)) for value in values]

    def text(self, experiment: Experiment) -> str:
        value = experiment.objective_values[self.index] * self.factor
        return f"{number(value)} {self.unit}".rstrip()
