"""What the live page of a task shows, as plain values that its templates lay out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from experiments import charts, effects, lanes, masking, progress, repeats, reports, tuning, vetoes
from experiments.errors import BadInput
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
    remaining,
    seconds_since,
    span,
)
from experiments.importance import importances
from experiments.models import Experiment, TuningTask
from experiments.repeats import Certainty
from experiments.roles import Rights
from experiments.scatter import scatter
from experiments.sections import Optimization
from experiments.states import LEASED, ON_A_WORKER, Status, TaskStatus
from experiments.tones import TONES, tone

FIRST = ("head", "numbers", "strip", "rows")  # The parts that a move changes at once
LATER = ("lanes", "charts", "importance", "winner", "vetoes")  # … and those that may follow
SHOWN = 100  # rows; of a longer task the newest
BLOCKS = 400  # in the strip of all experiments
MOST_COLUMNS = 3


@dataclass(frozen=True)
class Ranking:
    """What is known of a task's experiments when they are compared."""

    best: Experiment | None
    sure: Certainty | None
    front: Sequence[Experiment]
    baseline: Experiment | None
    columns: list[Column]


def live(task: TuningTask, rights: Rights) -> dict[str, Any]:
    """Everything that the live page of a task shows to somebody with these rights."""
    experiments = list(experiments_of(task))
    ranking = rank(task, experiments)
    now = timezone.now()
    return {
        **first(task, experiments, ranking, rights, now),
        **later(task, experiments, ranking, rights, now),
    }


def experiments_of(task: TuningTask) -> QuerySet[Experiment]:
    """In their order, without what the page does not show."""
    return task.experiments.defer("levels", "command").order_by("number")


def rank(task: TuningTask, experiments: Sequence[Experiment]) -> Ranking:
    return Ranking(
        best=tuning.best_of(task, experiments),
        sure=repeats.certainty(task, experiments),
        front=tuning.front_of(task, experiments),
        baseline=tuning.baseline_of(experiments),
        columns=columns_of(task, experiments),
    )


def first(
    task: TuningTask,
    experiments: Sequence[Experiment],
    ranking: Ranking,
    rights: Rights,
    now: datetime,
) -> dict[str, Any]:
    """The status, the numbers, the strip and the rows."""
    best, baseline, columns = ranking.best, ranking.baseline, ranking.columns
    failed = sum(one.status == Status.FAILED for one in experiments)
    rows = [row(task, e, best, baseline, columns, now) for e in experiments[-BLOCKS:]]
    said = effects.remarks(experiments)
    for one in rows:
        one["is_on_front"] = one["experiment"] in ranking.front
        one["said"] = said.get(one["experiment"].number, [])
    return {
        "task": task,
        "may_change": rights.steer,
        "may_write": rights.may_write(task.specification),
        "tone": TONES.get(TaskStatus(task.status), "bad"),
        "strategy": strategy(task),
        "has_defaults": task.engine != "job",
        "is_pending": task.status == TaskStatus.PENDING,
        "failed": failed,
        "retry_failed": f"Retry {failed} failed",
        "is_moving": task.status == TaskStatus.RUNNING
        or any(e.status in LEASED for e in experiments),
        "numbers": numbers(task, experiments, best, baseline, ranking.sure, now),
        "goals": goals(task),
        "columns": columns,
        "rows": rows[: -SHOWN - 1 : -1],
        "left_out": max(0, len(experiments) - SHOWN),
        "blocks": rows,
        "planned": planned(task, experiments),
    }


def later(
    task: TuningTask,
    experiments: Sequence[Experiment],
    ranking: Ranking,
    rights: Rights,
    now: datetime,
) -> dict[str, Any]:
    """The charts, and what was learned."""
    best, front = ranking.best, ranking.front
    return {
        "task": task,
        "may_change": rights.steer,
        "winner": None if best is None else winner(task, best, ranking.baseline, ranking.columns),
        "sure": ranking.sure,
        "front": front,
        "knee": reports.KNEE,
        "scatter": scatter(task, experiments, front, best),
        "chart": lanes.of_task(experiments, now),
        "importance": importances.of(task, experiments),
        **charts.charts(task, experiments, best),
        **vetoes.on_page(task),
    }


def planned(task: TuningTask, experiments: Sequence[Experiment]) -> range:
    """The numbers of the experiments that may still come, as far as the strip has room."""
    following = experiments[-1].number + 1 if experiments else 1
    room = min(task.max_experiments, BLOCKS) - len(experiments)
    return range(following, following + (0 if task.has_ended else max(0, room)))


# ── the numbers on top ──────────────────────────────────────────────────────────────────────


def numbers(
    task: TuningTask,
    experiments: Sequence[Experiment],
    best: Experiment | None,
    baseline: Experiment | None,
    sure: Certainty | None,
    now: datetime,
) -> list[dict[str, Any]]:
    """The key figures, each with its note."""
    ended = sum(experiment.has_ended for experiment in experiments)
    failed = sum(experiment.status == Status.FAILED for experiment in experiments)
    running = sum(experiment.status in ON_A_WORKER for experiment in experiments)
    waiting = len(experiments) - ended - running
    words, unit, factor = objective(task)
    score = None if best is None else reports.best_score(best, sure)
    at_once = f"of at most {task.max_parallel_experiments} at once"
    used = progress.parallel_use(experiments)
    if used is not None and task.has_ended:
        at_once = (
            f"{used[0]:.2g} at once on average, of at most {task.max_parallel_experiments}; "
            f"{used[1]} of {len(experiments)} chosen while others ran"
        )
    figures: list[dict[str, Any]] = [
        {
            "label": "Experiments",
            "value": f"{ended} / {task.max_experiments}",
            "note": f"{failed} failed" if failed else "ended, of the budget",
            "part": ended,
            "whole": task.max_experiments,
        },
        {
            "label": "Running",
            "value": str(running),
            "note": f"{waiting} waiting, {at_once}" if waiting else at_once,
        },
        {
            "label": f"Best {words}",
            "value": "–" if score is None else number(score * factor),
            "unit": "" if score is None else unit,
            "note": "nothing measured yet" if best is None else f"experiment #{best.number}",
        },
        {
            "label": "Elapsed",
            "value": elapsed(task.started_at, task.finished_at, now) or "–",
            "runs_for": None if task.finished_at else seconds_since(task.started_at, now),
            "note": how_long(task, experiments, now),
        },
    ]
    if task.engine != "job":
        figures.insert(3, gain_number(task, experiments, baseline, sure))
    return figures


def how_long(task: TuningTask, experiments: Sequence[Experiment], now: datetime) -> str:
    """When it will have ended; while that is not known, since when it goes on."""
    if task.started_at is None:
        return "not started"
    if task.status == TaskStatus.PAUSED:
        return "paused: nothing new starts"
    end = progress.expected_end(task, experiments, now)
    return f"since {task.started_at:%d %b %H:%M} UTC" if end is None else remaining(end, now)


def gain_number(
    task: TuningTask,
    experiments: Sequence[Experiment],
    baseline: Experiment | None,
    sure: Certainty | None,
) -> dict[str, Any]:
    """The gain over the defaults, or why there is none."""
    share = reports.best_gain(task, experiments, sure)
    value, note = "–", "once the defaults are measured"
    if share is not None:
        value, note = percent(share), certain(sure)
    elif baseline is not None and not baseline.feasible:
        note = "the defaults miss the objectives"
    elif experiments and experiments[0].status == Status.FAILED:
        note = "the defaults failed"
    tone = "good" if share is not None and share >= 0.0005 else ""
    return {"label": "Gain", "value": value, "note": note, "tone": tone}


def certain(sure: Certainty | None) -> str:
    """What is known of a gain besides its size, in a few words."""
    if sure is None or sure.gain is None or not math.isfinite(sure.gain.plus_minus):
        return "over the engine's defaults"
    return f"± {sure.gain.plus_minus:.1%}, {'real' if sure.gain.is_real else 'within the noise'}"


def strategy(task: TuningTask) -> str:
    default = Optimization.model_fields["strategy"].default
    return str(task.specification["optimization"].get("strategy", default)).replace("_", " ")


# ── experiments ─────────────────────────────────────────────────────────────────────────────


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
    best: Experiment | None,
    baseline: Experiment | None,
    columns: Sequence[Column],
    now: datetime,
) -> dict[str, Any]:
    """One experiment in the table."""
    succeeded = experiment.status == Status.SUCCESS
    misses = succeeded and not experiment.feasible
    _, _, factor = objective(task)
    score, about = experiment.objective_score, "≈ " if experiment.pruned else ""
    # Those of a part of the levels are not to be compared with others
    whole = {} if experiment.pruned else experiment.metrics
    return {
        "experiment": experiment,
        "tone": tone(experiment),
        "remark": remark(experiment, misses),
        "parameters": [(k, plain(v)) for k, v in masking.data(experiment.parameters).items()],
        "score": "" if score is None else about + number(score * factor),
        "goals": reached(task, experiment),
        "change": change(task, experiment, baseline) if succeeded else "",
        "metrics": [(column.title, column.text(whole)) for column in columns],
        "duration": elapsed(experiment.started_at, experiment.finished_at, now),
        "runs_for": None if experiment.finished_at else seconds_since(experiment.started_at, now),
        "phases": phases(experiment, now),
        "gpus": [(uuid, uuid[-8:]) for uuid in experiment.gpu_uuids],
        "is_best": best is not None and experiment.pk == best.pk,
        "may_cancel": not (experiment.has_ended or experiment.cancel_requested),
        "may_retry": experiment.status in (Status.FAILED, Status.CANCELLED),
    }


def phases(experiment: Experiment, now: datetime) -> str:
    """Where its time went, in words."""
    times = progress.phases(experiment, now)
    return " · ".join(f"{name} {span(seconds)}" for name, seconds in times.items())


def remark(experiment: Experiment, misses: bool) -> str:
    """What the status alone does not say."""
    if experiment.pruned:
        return "pruned"
    if misses:
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


def change(task: TuningTask, experiment: Experiment, baseline: Experiment | None) -> str:
    """How much better than the engine's defaults."""
    if baseline is None or not baseline.feasible or experiment.pk == baseline.pk:
        return ""
    share = reports.gain(task, experiment, baseline)
    return "" if share is None else percent(share)


def winner(
    task: TuningTask, best: Experiment, baseline: Experiment | None, columns: Sequence[Column]
) -> dict[str, Any]:
    """The best configuration: how to launch it, and how it compares."""
    try:
        command = reports.launch_line(task, best)
    except BadInput as problem:  # Written by another version, whose file we cannot read
        command = f"# {problem}"
    other = baseline if baseline is not None and baseline.pk != best.pk else None
    theirs = reached(task, other) if other else [("", "")] * len(goals(task))
    pairs = zip(theirs, reached(task, best), strict=True)
    compared = [(title, before, now) for (_, before), (title, now) in pairs]
    compared += [
        (column.title, column.text(other.metrics) if other else "", column.text(best.metrics))
        for column in columns
    ]
    return {
        "number": best.number,
        "parameters": [(k, plain(v)) for k, v in masking.data(best.parameters).items()],
        "command": command,
        "has_other": other is not None,
        "compared": [line for line in compared if line[2]],
    }
