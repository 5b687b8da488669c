"""The experiments of a task as a table: which are shown, in which order, and what each row says."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from experiments import effects, masking, progress, scoring
from experiments.figures import (
    ENGINE_COLUMNS,
    Column,
    elapsed,
    goals,
    number,
    objective,
    percent,
    plain,
    reached,
    seconds_since,
    span,
)
from experiments.findings import Found
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from experiments.tones import KINDS, kind, tone

SHOWN = 100  # rows; of more, the first ones in the order that was chosen
MOST_COLUMNS = 3
MOST_PARAMETERS = 24  # by which one can sort
SUCCEEDED = {"met", "missed", "pruned"}
LONGEST = 200  # characters of a word in an address


Row = dict[str, Any]


class View(NamedTuple):
    """How somebody looks at a task: `-score` sorts by the score, the largest first; `only` is one
    of KINDS, or "succeeded". Both are empty at first: all of them, the newest first."""

    sort: str = ""
    only: str = ""

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> "View":
        """As the page's address has it; what it cannot have is left out."""
        sort, only = str(query.get("sort", "")), str(query.get("only", ""))
        known = only in KINDS or only == "succeeded"
        return cls(sort if len(sort) <= LONGEST else "", only if known else "")

    @property
    def address(self) -> str:
        """The query of the page's address."""
        return "?" + urlencode({key: word for key, word in self._asdict().items() if word})

    def has(self, experiment: Experiment) -> bool:
        """Whether it is shown."""
        found = kind(experiment)
        return self.only in ("", found) or (self.only == "succeeded" and found in SUCCEEDED)


class Head(NamedTuple):
    """A column that one can sort by. `value` is None where an experiment has nothing there."""

    key: str
    title: str
    value: Callable[[Experiment], Any]
    large_first: bool = False  # At the first click


def table(
    task: TuningTask,
    experiments: Sequence[Experiment],
    found: Found,
    view: View,
    now: datetime,
    settled: dict[int, Row] | None = None,
) -> dict[str, Any]:
    """The rows in this view, the columns' heads, and the choices of what to see. `settled` has, by
    number, the rows of what has ended as they were drawn for the same `found`, and gets the others.
    """
    settled = {} if settled is None else settled
    columns = columns_of(task, experiments)
    heads = heads_of(task, experiments, columns, now)
    shown = in_order([e for e in experiments if view.has(e)], heads, view)
    said = effects.remarks(experiments)
    front = {one.pk for one in found.front}
    rows = []
    for one in shown[:SHOWN]:
        drawn = settled.get(one.number) or row(task, one, found, columns, now)
        if one.has_ended:
            settled[one.number] = drawn
        rows.append({**drawn, "is_on_front": one.pk in front, "said": said.get(one.number, [])})
    links = {head.key: link(head, view) for head in heads}
    of_figures = [f"goal.{index}" for index in range(len(goals(task)))]
    of_figures += [f"metric.{column.metric}" for column in columns]
    return {
        "view": view,
        "rows": rows,
        "left_out": max(0, len(shown) - SHOWN),
        "filters": filters(experiments, view),
        "heads": links,
        "figure_heads": [links[key] for key in of_figures],
        "parameter_heads": [links[one] for one in links if one.startswith("parameter.")],
    }


# ── which, and in which order ───────────────────────────────────────────────────────────────


def filters(experiments: Sequence[Experiment], view: View) -> list[dict[str, Any]]:
    """What one can choose to see, with how many there are; of what there is none, nothing."""
    counts = Counter(map(kind, experiments))
    succeeded = sum(counts[one] for one in SUCCEEDED)
    choices = [("", "all", len(experiments))]
    for word, text in KINDS.items():
        if word == "met":
            choices.append(("succeeded", "succeeded", succeeded))
        choices.append((word, text, counts[word]))
    return [
        {
            "word": word,
            "text": text,
            "count": count,
            "is_chosen": word == view.only,
            "address": view._replace(only=word).address,
        }
        for word, text, count in choices
        if count or word in ("", view.only)
    ]


def heads_of(
    task: TuningTask, experiments: Sequence[Experiment], columns: Sequence[Column], now: datetime
) -> list[Head]:
    """Everything that the table can be sorted by."""
    names = dict.fromkeys(name for e in experiments for name in e.parameters)
    by_score = partial(times, 1 if task.objectives.maximize else -1)
    return [
        Head("number", "#", lambda e: e.number, True),
        Head("status", "Status", lambda e: list(KINDS).index(kind(e))),
        Head("score", "Score", lambda e: e.objective_score, task.objectives.maximize),
        Head("gain", "vs. defaults", by_score, True),
        *(
            Head(f"goal.{index}", title, partial(goal, index), task.objectives.each[index].maximize)
            for index, (title, _) in enumerate(goals(task))
        ),
        *(
            Head(f"metric.{one.metric}", one.title, partial(figure, one.metric), True)
            for one in columns
        ),
        Head("time", "Time", partial(seconds, now), True),
        Head("gpus", "GPUs", lambda e: len(e.gpu_uuids) or None),
        *(
            Head(f"parameter.{name}", name, partial(parameter, name))
            for name in list(names)[:MOST_PARAMETERS]
        ),
    ]


def in_order(
    experiments: Sequence[Experiment], heads: Sequence[Head], view: View
) -> list[Experiment]:
    """All of them, not only what fits: the newest first where two are alike, and at the end, in
    both directions, what has nothing there."""
    newest = sorted(experiments, key=lambda one: -one.number)
    head = next((one for one in heads if one.key == view.sort.lstrip("-")), None)
    if head is None:
        return newest
    values = [(head.value(one), one) for one in newest]
    known = [pair for pair in values if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=view.sort.startswith("-"))
    return [one for _, one in known] + [one for value, one in values if value is None]


def link(head: Head, view: View) -> dict[str, str]:
    """A head that sorts by its column when it is clicked, and the other way when clicked again."""
    current = view.sort or "-number"
    is_chosen = current.lstrip("-") == head.key
    falls = current.startswith("-")
    next_falls = not falls if is_chosen else head.large_first
    return {
        "key": head.key,
        "title": head.title,
        "direction": ("descending" if falls else "ascending") if is_chosen else "",
        "address": view._replace(sort=f"{'-' if next_falls else ''}{head.key}").address,
    }


def times(sign: int, experiment: Experiment) -> float | None:
    score = experiment.objective_score
    return None if score is None else sign * score


def goal(index: int, experiment: Experiment) -> float | None:
    return dict(enumerate(experiment.objective_values)).get(index)


def figure(metric: str, experiment: Experiment) -> Any:
    return whole(experiment).get(metric)


def whole(experiment: Experiment) -> Mapping[str, Any]:
    """Its metrics; those of a part of the levels are not to be compared with others."""
    return {} if experiment.pruned else experiment.metrics


def seconds(now: datetime, experiment: Experiment) -> float | None:
    if experiment.started_at is None:
        return None
    return ((experiment.finished_at or now) - experiment.started_at).total_seconds()


def parameter(name: str, experiment: Experiment) -> tuple[int, float, str] | None:
    """Its value, as it is shown: numbers by their size, then words."""
    value = masking.shown(name, experiment.parameters.get(name))
    if value is None:
        return None
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, plain(value))


# ── what a row says ─────────────────────────────────────────────────────────────────────────


def columns_of(task: TuningTask, experiments: Sequence[Experiment]) -> list[Column]:
    """What is shown of the metrics: of a job the first ones that are not its objective."""
    wanted = {name for one in task.objectives.each for name in (one.word, one.metric)}
    if task.engine != "job":  # Of several objectives each has its column already
        shown = wanted if task.objectives.several else ()
        return [column for column in ENGINE_COLUMNS if column.metric not in shown]
    names = dict.fromkeys(name for experiment in experiments for name in experiment.metrics)
    others = [name for name in names if name not in wanted]
    return [Column(name, name) for name in others[:MOST_COLUMNS]]


def row(
    task: TuningTask,
    experiment: Experiment,
    found: Found,
    columns: Sequence[Column],
    now: datetime,
) -> Row:
    """One experiment in the table."""
    succeeded = experiment.status == Status.SUCCESS
    return {
        "experiment": experiment,
        "kind": kind(experiment),
        "tone": tone(experiment),
        "remark": remark(experiment),
        "parameters": [(k, plain(v)) for k, v in masking.data(experiment.parameters).items()],
        "score": score(task, experiment),
        "goals": reached(task, experiment.objective_values),
        "change": change(task, experiment, found) if succeeded else "",
        "metrics": [(column.title, column.text(whole(experiment))) for column in columns],
        "duration": elapsed(experiment.started_at, experiment.finished_at, now),
        "runs_for": None if experiment.finished_at else seconds_since(experiment.started_at, now),
        "phases": phases(experiment, now),
        "gpus": [(uuid, uuid[-8:]) for uuid in experiment.gpu_uuids],
        "is_best": found.best is not None and experiment.pk == found.best.pk,
        "may_cancel": not (experiment.has_ended or experiment.cancel_requested),
        "may_retry": experiment.status in (Status.FAILED, Status.CANCELLED),
    }


def score(task: TuningTask, experiment: Experiment) -> str:
    """As the table has it; of a pruned one an estimate."""
    if experiment.objective_score is None:
        return ""
    _, _, factor = objective(task)
    return ("≈ " if experiment.pruned else "") + number(experiment.objective_score * factor)


def phases(experiment: Experiment, now: datetime) -> str:
    """Where its time went, in words."""
    times = progress.phases(experiment, now)
    return " · ".join(f"{name} {span(seconds)}" for name, seconds in times.items())


def remark(experiment: Experiment) -> str:
    """What the status alone does not say."""
    if experiment.pruned:
        return "pruned"
    if experiment.status == Status.SUCCESS and not experiment.feasible:
        holds = f"; holds up to {experiment.holds_at}" if experiment.holds_at else ""
        return f"misses the objectives{holds}"
    if experiment.cancel_requested and not experiment.has_ended:
        return "is being stopped"
    if experiment.repeat_of is not None:
        return f"#{experiment.repeat_of} again"
    if experiment.attempt > 1:
        return f"attempt {experiment.attempt}"
    if experiment.status == Status.PENDING:
        is_paused = experiment.task.status == TaskStatus.PAUSED
        return "until the task is resumed" if is_paused else "waits for GPUs"
    return ""


def change(task: TuningTask, experiment: Experiment, found: Found) -> str:
    """How much better this measurement is than the engine's defaults, by all of theirs."""
    defaults = None if found.sure is None else found.sure.baseline_score
    if experiment.is_baseline or defaults is None:
        return ""
    share = scoring.gain(experiment.objective_score, defaults, task.objectives.maximize)
    return "" if share is None else percent(share)
