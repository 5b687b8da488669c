"""What happened in a task, the newest first: for the log on its page."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from experiments.figures import span
from experiments.models import AuditEntry, Experiment, Move, TuningTask
from experiments.states import OF_THE_POOL, Action, Status, TaskStatus
from experiments.task_table import score
from experiments.tones import TONES, kind

SHOWN = 60  # lines
LONGEST = 300  # characters of one
NEVER = datetime.min.replace(tzinfo=UTC)
WORDS = {
    Action.LIMIT: "limit changed",
    Action.PRIORITY: "priority changed",
    Action.EXTEND: "budget extended",
    Action.OVERRULE: "veto overruled",
    Action.CLONE: "made as a clone",
    Action.RETRY: "tried again",
}


class Line(NamedTuple):
    """One event. `experiment` is None where it is about the task."""

    at: datetime
    text: str
    tone: str = ""
    experiment: Experiment | None = None


def lines(
    task: TuningTask, experiments: Sequence[Experiment], vetoes: Sequence[Mapping[str, Any]]
) -> list[Line]:
    """The newest events: moves of experiments, what people did, vetoes. Two queries."""
    found = [
        *of_task(task),
        *of_people(task),
        *of_experiments(task, experiments),
        *(Line(veto["at"], f"veto {veto['number']}: {veto['reason']}", "soft") for veto in vetoes),
    ]
    found.sort(key=lambda line: line.at, reverse=True)
    return [line._replace(text=line.text[:LONGEST]) for line in found[:SHOWN]]


def of_task(task: TuningTask) -> Iterator[Line]:
    if task.finished_at:
        said = f"{task.status}: {task.message}" if task.message else task.status
        yield Line(task.finished_at, said, TONES.get(TaskStatus(task.status), "bad"))
    if task.started_at:
        yield Line(task.started_at, "the search starts", "busy")
    yield Line(task.created_at, "the task is made")


def of_people(task: TuningTask) -> Iterator[Line]:
    """Not by whom: that is in the audit, for those who may read it."""
    since = AuditEntry.objects.filter(target=task.name, at__gte=task.created_at)
    for entry in since.exclude(action__in=OF_THE_POOL).order_by("-id")[:SHOWN]:
        words = WORDS.get(Action(entry.action), entry.action)
        yield Line(entry.at, f"{words}: {entry.detail}" if entry.detail else words)


def of_experiments(task: TuningTask, experiments: Sequence[Experiment]) -> Iterator[Line]:
    """The newest moves are among those of the experiments that moved last: only these are asked
    for, since the index is by experiment."""
    latest = {one.pk: one for one in sorted(experiments, key=last_moved)[-SHOWN:]}
    for move in Move.objects.filter(experiment__in=list(latest)).order_by("-id")[:SHOWN]:
        experiment = latest[move.experiment_id]
        text, tone = said(task, experiment, move)
        yield Line(move.at, text, tone, experiment)


def last_moved(experiment: Experiment) -> datetime:
    moments = (
        *(experiment.placed_at, experiment.started_at, experiment.benchmarking_at),
        *(experiment.finished_at, experiment.queued_at),
    )
    return max((at for at in moments if at), default=NEVER)


def said(task: TuningTask, experiment: Experiment, move: Move) -> tuple[str, str]:
    """A move in words, and its tone. What the row has is of its last attempt."""
    is_last = move.attempt == experiment.attempt
    if move.new == Status.SUCCESS:
        remarks = {"missed": "misses the objectives", "pruned": "pruned", "met": ""}
        parts = (score(task, experiment), remarks.get(kind(experiment)), move.reason)
        return ", ".join(filter(None, parts)) or "succeeded", (
            "soft" if kind(experiment) == "missed" else "good"
        )
    if move.new == Status.FAILED:
        return f"failed: {move.reason}", "bad"
    if move.new == Status.CANCELLED:
        return "cancelled", "gone"
    if move.new == Status.PENDING:
        return f"waits again: {move.reason}" if move.reason else "waits again", "soft"
    if not is_last:
        return f"{move.new.lower()} (attempt {move.attempt})", ""
    return in_progress(task, experiment, move), "busy"


def in_progress(task: TuningTask, experiment: Experiment, move: Move) -> str:
    """What its last attempt does."""
    if move.new == Status.PLACED:
        gpus = len(experiment.gpu_uuids)
        return f"has {gpus} GPU{'' if gpus == 1 else 's'} on {experiment.node}"
    if move.new == Status.DEPLOYING:
        return "starts" if task.engine == "job" else "starts its engine"
    begun, ready = experiment.started_at, experiment.benchmarking_at
    if task.engine == "job" or begun is None or ready is None:
        return "is measured"
    return f"its engine answers after {span((ready - begun).total_seconds())}; it is measured"
