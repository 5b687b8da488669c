"""What the live page of a task shows, as plain values that its templates lay out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from experiments import (
    charts,
    lanes,
    reports,
    task_log,
    task_numbers,
    task_table,
    vetoes,
    winner,
)
from experiments.figures import goals
from experiments.findings import Found
from experiments.importance import importances
from experiments.models import Experiment, TuningTask
from experiments.roles import Rights
from experiments.scatter import scatter
from experiments.sections import Optimization
from experiments.states import LEASED, Status, TaskStatus
from experiments.task_table import Row, View
from experiments.tones import TONES

# The parts that a move changes at once, and those that may follow: with every move, or with results
FIRST = ("head", "numbers", "filters", "strip", "rows")
LATER = ("lanes", "importance", "vetoes", "log")
OF_RESULTS = ("charts", "winner")


def experiments_of(task: TuningTask) -> QuerySet[Experiment]:
    """In their order, without what the page does not show."""
    return task.experiments.defer("levels", "command").order_by("number")


def first(
    task: TuningTask,
    experiments: Sequence[Experiment],
    found: Found,
    rights: Rights,
    view: View,
    now: datetime,
    settled: dict[int, Row],
) -> dict[str, Any]:
    """The status, the numbers, the strip and the rows. `settled`: as `task_table.table` has it."""
    return {
        **head(task, experiments, rights),
        "numbers": task_numbers.numbers(task, experiments, found, now),
        "blocks": task_numbers.strip(task, experiments, found.best),
        "planned": task_numbers.planned(task, experiments),
        **task_table.table(task, experiments, found, view, now, settled),
    }


def later(
    task: TuningTask, experiments: Sequence[Experiment], rights: Rights, now: datetime
) -> dict[str, Any]:
    """What goes on, and what was learned of the parameters."""
    known = vetoes.on_page(task)
    return {
        "task": task,
        "may_change": rights.steer,
        "chart": lanes.of_task(experiments, now),
        "importance": importances.of(task, experiments),
        **known,
        "log": task_log.html(task_log.lines(task, experiments, known["vetoes"])),
    }


def of_results(task: TuningTask, experiments: Sequence[Experiment], found: Found) -> dict[str, Any]:
    """The charts and the winner: nothing but what has ended is in them, and how many there are."""
    return {
        "winner": winner.winner(task, found, task_table.columns_of(task, experiments)),
        "sure": found.sure,
        "front": winner.front(task, found),
        "knee": reports.KNEE,
        "scatter": scatter(task, experiments, found),
        **charts.charts(task, experiments, found.best),
    }


def head(task: TuningTask, experiments: Sequence[Experiment], rights: Rights) -> dict[str, Any]:
    """What the task is, how it is, and what may be done with it."""
    failed = sum(one.status == Status.FAILED for one in experiments)
    default = Optimization.model_fields["strategy"].default
    strategy = task.specification["optimization"].get("strategy", default)
    return {
        "task": task,
        "may_change": rights.steer,
        "may_write": rights.may_write(task.specification),
        "tone": TONES.get(TaskStatus(task.status), "bad"),
        "strategy": str(strategy).replace("_", " "),
        "goals": goals(task),
        "has_defaults": task.engine != "job",
        "is_pending": task.status == TaskStatus.PENDING,
        "failed": failed,
        "retry_failed": f"Retry {failed} failed",
        "is_moving": task.status == TaskStatus.RUNNING
        or any(one.status in LEASED for one in experiments),
    }
