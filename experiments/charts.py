"""The charts of a task's page, as shares of their width and height: what its templates draw."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments import explaining, masking
from experiments.figures import number, objective, plain
from experiments.lanes import outcome, percentage
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from experiments.tones import kind

MOST_MARKS = 1000  # of the newest experiments, and of those that were the best so far
MOST_LINES = 300  # of the newest experiments, and of the best
THIN = 100  # More lines than these are drawn thin
FEWEST_SCORED, FEWEST_PARAMETERS = 3, 2  # for parallel coordinates
LISTED = 8  # A parameter with more values than these has a scale
WIDE = 100  # A scale over such a ratio, or a larger one, is logarithmic
TICKS = 6  # About so many values are written beside an axis
BANDS = 5  # of the score, each with a colour of its own
MARGIN = 0.06  # of the height, free above and below the scores
UNSET = "not set"


def charts(
    task: TuningTask, experiments: Sequence[Experiment], best: Experiment | None
) -> dict[str, Any]:
    """The charts that change when an experiment ends."""
    return {
        "search": search(task, experiments, best),
        "parallel": parallel(task, experiments, best),
    }


# ── the best so far ─────────────────────────────────────────────────────────────────────────


def search(
    task: TuningTask, experiments: Sequence[Experiment], best: Experiment | None
) -> dict[str, Any] | None:
    """Every score over the experiment's number, and the best so far; None before the first."""
    steps = improvements(task, experiments)
    shown = newest(
        [e for e in experiments if e.objective_score is not None or e.status == Status.FAILED],
        {at for at, _ in steps},
        MOST_MARKS,
    )
    scores = [e.objective_score for e in shown if e.objective_score is not None]
    if not scores:
        return None
    words, unit, factor = objective(task)
    frame = Frame(max(task.max_experiments, experiments[-1].number, 2), min(scores), max(scores))
    return {
        "title": f"{words}, {unit}" if unit else words,
        "better": "higher is better" if task.objectives.maximize else "lower is better",
        "x": [(frame.across(at), str(at)) for at in whole_ticks(frame.last)],
        "y": [(frame.down(at), number(at * factor)) for at in ticks(frame.low, frame.high)],
        "line": stairs(steps, experiments[-1].number, frame),
        "marks": [
            {
                "number": e.number,
                "x": frame.across(e.number),
                "y": "100%" if e.objective_score is None else frame.down(e.objective_score),
                "is": kind(e),
                "kind": "best" if best is not None and e.pk == best.pk else kind(e),
                "title": title(task, e),
            }
            for e in shown
        ],
    }


class Frame(NamedTuple):
    """The numbers of experiments from 1 to the last across, the scores upwards."""

    last: int
    low: float
    high: float

    def across(self, at: float) -> str:
        return percentage((at - 1) / (self.last - 1))

    def down(self, score: float) -> str:
        wide = self.high - self.low
        share = (score - self.low) / wide if wide > 0 else 0.5
        return percentage(1 - MARGIN - (1 - 2 * MARGIN) * share)


def improvements(task: TuningTask, experiments: Sequence[Experiment]) -> list[tuple[int, float]]:
    """The numbers of the experiments that were better than all before them, with their scores."""
    found: list[tuple[int, float]] = []
    for at, score in explaining.best_so_far(task, experiments):
        if not found or found[-1][1] != score:
            found.append((at, score))
    return found


def stairs(
    steps: Sequence[tuple[int, float]],
    last: int,
    frame: Frame,
) -> list[tuple[str, str, str, str]]:
    """A line that keeps its height until the next step, as (x1, y1, x2, y2) of its parts."""
    parts = []
    for index, (at, score) in enumerate(steps):
        until, then = steps[index + 1] if index + 1 < len(steps) else (last, score)
        left, right, height = frame.across(at), frame.across(until), frame.down(score)
        parts.append((left, height, right, height))
        if then != score:
            parts.append((right, height, right, frame.down(then)))
    return parts


def newest(experiments: Sequence[Experiment], kept: set[int], most: int) -> list[Experiment]:
    """The newest of them, and before these those whose numbers are kept."""
    return [*(e for e in experiments[:-most] if e.number in kept), *experiments[-most:]]


def title(task: TuningTask, experiment: Experiment) -> str:
    """What is said of it where one points at it."""
    _, unit, factor = objective(task)
    text = f"#{experiment.number}: {outcome(experiment)}"
    if experiment.objective_score is not None:
        about = "≈ " if experiment.pruned else ""
        text += f", {about}{number(experiment.objective_score * factor)} {unit}".rstrip()
    return text


def with_values(task: TuningTask, experiment: Experiment) -> str:
    """The same, and its parameters."""
    values = ", ".join(
        f"{key}={plain(v)}" for key, v in masking.data(experiment.parameters).items()
    )
    return f"{title(task, experiment)}\n{values}" if values else title(task, experiment)


def ticks(low: float, high: float) -> list[float]:
    """Round values from the low one to the high one, steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if rough <= power * factor)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def whole_ticks(last: int) -> list[int]:
    """Numbers of experiments to write below, from the first on."""
    return sorted({1, *(int(at) for at in ticks(0, last) if at == int(at) and 1 < at <= last)})


# ── parallel coordinates ────────────────────────────────────────────────────────────────────


def parallel(
    task: TuningTask, experiments: Sequence[Experiment], best: Experiment | None
) -> dict[str, Any] | None:
    """A line for each score through the values that led to it; None while there are too few.

    The axes are the parameters that vary, and the score with the better end on top. Coordinates of
    lines are in thousandths of the width and the height.
    """
    scored = [e for e in experiments if e.objective_score is not None and not e.pruned]
    shown = newest(scored, set() if best is None else {best.number}, MOST_LINES)
    names = dict.fromkeys(name for e in shown for name in e.parameters)
    axes = [axis for axis in (Axis(name, shown) for name in names) if axis.varies]
    if len(axes) < FEWEST_PARAMETERS or len(shown) < FEWEST_SCORED:
        return None
    score = Score(task, shown)
    lines = [
        {
            "number": e.number,
            "points": points(
                [*(axis.at(e.parameters.get(axis.name)) for axis in axes), score.at(e)]
            ),
            "is": kind(e),
            "kind": "best" if best is not None and e.pk == best.pk else kind(e),
            "band": min(BANDS - 1, int(score.at(e) * BANDS)),
            "title": with_values(task, e),
            "order": score.at(e),
        }
        for e in shown
    ]
    places = [percentage(index / len(axes)) for index in range(len(axes) + 1)]
    return {
        "axes": list(zip(places, [*axes, score], strict=True)),
        # What is drawn last is on top: the best
        "lines": sorted(lines, key=lambda line: (line["kind"] == "best", line["order"])),
        "is_thin": len(lines) > THIN,
        "left_out": len(scored) - len(shown),
    }


def points(shares: Sequence[float]) -> str:
    """The points of a line: from left to right, the share 1 on top."""
    step = 1000 / (len(shares) - 1)
    return " ".join(f"{step * i:.0f},{1000 - 1000 * share:.0f}" for i, share in enumerate(shares))


class Axis:
    """A parameter: its few values one by one, many numbers on a scale; at the bottom "not set"."""

    def __init__(self, name: str, experiments: Sequence[Experiment]) -> None:
        self.name = self.title = name
        given = (masking.shown(name, e.parameters.get(name)) for e in experiments)
        found = {plain(v): v for v in given if v is not None}
        self.has_unset = any(e.parameters.get(name) is None for e in experiments)
        self.varies = len(found) > 1
        values = list(found.values())
        numeric = all(isinstance(v, int | float) for v in values)
        values.sort(key=lambda v: (v if numeric else 0, plain(v)))
        self.is_scale = numeric and len(values) > LISTED
        slots = ([UNSET] if self.has_unset else []) + [plain(v) for v in values]
        self.slots = {text: i / max(1, len(slots) - 1) for i, text in enumerate(slots)}
        if self.is_scale:
            self.low, self.high = float(values[0]), float(values[-1])
            self.is_log = self.low > 0 and self.high >= WIDE * self.low

    def at(self, value: Any) -> float:
        """Where a value is: 0 at the bottom, 1 at the top."""
        if value is None:
            return 0.0
        if not self.is_scale:
            return self.slots[plain(value)]
        measure = math.log if self.is_log else float
        share = (measure(value) - measure(self.low)) / (measure(self.high) - measure(self.low))
        return self._above_unset(share)

    def _above_unset(self, share: float) -> float:
        return 0.15 + 0.85 * share if self.has_unset else share

    @property
    def labels(self) -> list[tuple[str, str]]:
        """The values that are written beside it, with where; of too many words none."""
        if self.is_scale:
            ends = [(self._above_unset(s), number(v)) for s, v in ((0, self.low), (1, self.high))]
            found = [*([(0.0, UNSET)] if self.has_unset else []), *ends]
        elif len(self.slots) <= 2 * LISTED:
            found = [(share, text) for text, share in self.slots.items()]
        else:
            found = []
        return [(percentage(1 - share), text) for share, text in found]


class Score:
    """The last axis: the score, better ones higher."""

    def __init__(self, task: TuningTask, experiments: Sequence[Experiment]) -> None:
        words, unit, self.factor = objective(task)
        self.title = unit or words
        scores = [e.objective_score for e in experiments if e.objective_score is not None]
        ends = (min(scores), max(scores))
        self.worst, self.top = ends if task.objectives.maximize else ends[::-1]

    def at(self, experiment: Experiment) -> float:
        """Where its score is: 0 at the bottom, 1 at the top."""
        score = experiment.objective_score
        if score is None or self.top == self.worst:
            return 0.5
        return (score - self.worst) / (self.top - self.worst)

    @property
    def labels(self) -> list[tuple[str, str]]:
        if self.top == self.worst:
            return [("50%", number(self.top * self.factor))]
        middle = (self.top + self.worst) / 2
        ends = (("100%", self.worst), ("50%", middle), ("0%", self.top))
        return [(place, number(value * self.factor)) for place, value in ends]
