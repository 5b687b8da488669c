"""Tasks in a line each: a strip of their experiments, the best, the gain, the expected end."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from experiments import findings, progress
from experiments.errors import BadInput
from experiments.figures import number, objective, percent, remaining
from experiments.lanes import percentage
from experiments.latest import latest
from experiments.models import Experiment, TuningTask
from experiments.states import TASK_ENDED, TaskStatus
from experiments.tones import TONES, tone

STRIP = 60  # blocks; of a longer task each stands for several experiments
KEPT = 500  # summaries of tasks that have ended, and of others
LONGEST = 5.0  # seconds for which one is kept while nothing happens: it says when the task will end
COLUMNS = (
    *("task_id", "number", "repeat_of", "is_baseline", "pruned", "status", "feasible"),
    *("objective_score", "objective_values", "penalty", "error_kind", "error_may_pass"),
    *("placed_at", "finished_at"),
)

Summary = dict[str, Any]


class Kept(NamedTuple):
    """The summary of a task that has not ended: of which row, and of what that happened last."""

    of: Any
    until: float
    summary: Summary


_ended: dict[tuple[int, datetime], Summary] = {}  # Of ended tasks, which do not change any more
_others: dict[int, Kept] = {}


def of_tasks(tasks: Sequence[TuningTask], now: datetime) -> list[Summary]:
    """Each task with its figures, in three queries for all of them: two while nothing happens."""
    last = latest() if any(_key(task) not in _ended for task in tasks) else None
    kept = {task.pk: _kept(task, last) for task in tasks}
    missing = [task for task in tasks if kept[task.pk] is None]
    rows: dict[int, list[Experiment]] = defaultdict(list)
    for one in narrow().filter(task__in=missing) if missing else ():
        rows[one.task_id].append(one)
    found = {task.pk: figures(task, rows[task.pk], now) for task in missing}
    for task in missing:
        _keep(task, last, found[task.pk], all(one.has_ended for one in rows[task.pk]))
    return [{"task": task, "url": url(task), **(kept[task.pk] or found[task.pk])} for task in tasks]


def narrow() -> QuerySet[Experiment]:
    """Experiments in their order, with no more of them than a task's line needs."""
    return Experiment.objects.only(*COLUMNS).order_by("number")


def forget(*, ended: bool = True) -> None:
    """Every task is looked at again; those that have `ended` may be left."""
    _others.clear()
    if ended:
        _ended.clear()


def url(task: TuningTask) -> str:
    """Its live page."""
    return reverse("admin:experiments_tuningtask_live", args=[task.pk])


def _kept(task: TuningTask, last: Any) -> Summary | None:
    """What is known of it already, and is still so."""
    key, other = _key(task), _others.get(task.pk)
    if key in _ended:
        return _ended[key]
    if other is None or other.of != (task.columns, last) or time.monotonic() > other.until:
        return None
    return other.summary


def _keep(task: TuningTask, last: Any, summary: Summary, is_final: bool) -> None:
    if len(_ended) + len(_others) >= KEPT:
        forget()
    if is_final and _key(task):
        _ended[_key(task)] = summary
    else:
        _others[task.pk] = Kept((task.columns, last), time.monotonic() + LONGEST, summary)


def _key(task: TuningTask) -> Any:
    """What names the end of a task: it may be reopened, and end again. None while it runs."""
    if task.status not in TASK_ENDED or task.finished_at is None:
        return None
    return task.pk, task.finished_at


def figures(task: TuningTask, experiments: Sequence[Experiment], now: datetime) -> Summary:
    """What one line says."""
    found = findings.found_by(task, experiments)
    best, score = found.best, found.score
    words, unit, factor = objective(task)
    share = None if task.engine == "job" else found.gain
    return {
        "tone": TONES.get(TaskStatus(task.status), "bad"),
        "ended": sum(one.has_ended for one in experiments),
        # An ended one may have found nothing more to try
        "strip": strip(experiments, 0 if task.has_ended else task.max_experiments),
        "best": "–" if score is None else f"{number(score * factor)} {unit}".strip(),
        "best_of": f"best {words}" + (f", #{best.number}" if best else ""),
        "gain": "–" if share is None else percent(share),
        "is_better": share is not None and share >= 0.0005,
        "end": expected_end(task, experiments, now),
    }


def expected_end(task: TuningTask, experiments: Sequence[Experiment], now: datetime) -> str:
    """When it will have ended; of a task that does not run, why that is not said."""
    if task.status != TaskStatus.RUNNING:
        return {TaskStatus.PENDING: "not started", TaskStatus.PAUSED: "paused"}.get(
            TaskStatus(task.status), ""
        )
    try:
        end = progress.expected_end(task, experiments, now)
    except BadInput:  # Written by another version, whose file we cannot read
        end = None
    return "not known yet" if end is None else remaining(end, now)


def strip(experiments: Sequence[Experiment], budget: int) -> SafeString:
    """SVG of blocks of equal width: one that several experiments share has the colour of most."""
    whole = max(budget, len(experiments), 1)
    blocks = min(STRIP, whole)
    tones: dict[int, list[str]] = defaultdict(list)
    for place, one in enumerate(experiments):
        tones[place * blocks // whole].append(tone(one))
    width = 1 / blocks
    most = [Counter(tones[block]).most_common(1)[0][0] for block in range(blocks) if tones[block]]
    rects = [(one, percentage(block * width)) for block, one in enumerate(most)]
    rects += [("wait", percentage(block * width)) for block in range(len(most), blocks)]
    rect = '<rect class="at-{}" x="{}" width="{}"/>'
    return format_html_join("", rect, ((*one, percentage(width)) for one in rects))
