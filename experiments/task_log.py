"""What happened in a task, the newest first: for the log on its page."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from experiments import lanes
from experiments.figures import span
from experiments.models import AuditEntry, Experiment, Move, TuningTask
from experiments.moments import moment
from experiments.operations import shortened
from experiments.states import OF_THE_POOL, Action, Status, TaskStatus
from experiments.task_table import score
from experiments.tones import TONES, kind

SHOWN = 60  # lines
LONGEST = 300  # characters of one
SYSTEM = "the system"
NEVER = datetime.min.replace(tzinfo=UTC)
LINE = '<li{number}>{at} {link}<span class="at-text-{tone}">{text}</span>{by}</li>'
BY = ' <span class="at-by">by {}</span>'
LINK = '<a class="at-link" href="{}">#{}</a> '
WORDS = {
    Action.START: "the search starts",
    Action.ADD: "the task is made",
    Action.EDIT: "edited",
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
    Action.QUARANTINE: "GPU quarantined",
    Action.RETURN: "GPU returned",
    Action.DRAIN: "node drained",
    Action.UNDRAIN: "node back in service",
    Action.RELEASE: "lease taken away",
    Action.LIMIT: "limit changed",
    Action.PRIORITY: "priority changed",
    Action.EXTEND: "budget extended",
    Action.OVERRULE: "veto overruled",
    Action.CLONE: "made as a clone",
    Action.RETRY: "tried again",
}


class Line(NamedTuple):
    """One event. `experiment` is None where it is about the task; `by` is empty where nobody
    decides it."""

    at: datetime
    text: str
    tone: str = ""
    experiment: Experiment | None = None
    by: str = ""


def lines(
    task: TuningTask, experiments: Sequence[Experiment], vetoes: Sequence[Mapping[str, Any]]
) -> list[Line]:
    """The newest events: moves of experiments, what people did, vetoes. Two queries."""
    entries = entries_of(task, experiments)
    found = [
        *of_task(task, entries),
        *of_people(entries),
        *of_experiments(task, experiments, entries),
        *(Line(veto["at"], f"veto {veto['number']}: {veto['reason']}", "soft") for veto in vetoes),
    ]
    found.sort(key=lambda line: line.at, reverse=True)
    return [line._replace(text=line.text[:LONGEST]) for line in found[:SHOWN]]


def html(found: Sequence[Line]) -> SafeString:
    """As a list's items: here, for a template takes three times as long."""
    return mark_safe("".join(map(_item, found)))


def _item(line: Line) -> str:
    one = line.experiment
    return LINE.format(
        number=f' data-n="{one.number}"' if one else "",
        at=moment(line.at, "clock"),
        link=LINK.format(lanes.address(one.pk), one.number) if one else "",
        tone=line.tone,
        text=escape(line.text),
        by=format_html(BY, told(line.by)) if line.by else "",
    )


def told(by: str) -> str:
    """`shell:ann` in words."""
    kind, _, name = by.rpartition(":")
    return f"{name} at the shell" if kind == "shell" else by


def entries_of(task: TuningTask, experiments: Sequence[Experiment]) -> list[AuditEntry]:
    """What people did to the task, and to the GPUs, nodes and leases of what ran last; the newest
    first."""
    ran = experiments[-SHOWN:]
    touched = {name for one in ran for name in (*one.gpu_uuids, one.node, one.lease_id)}
    is_here = Q(target=task.name) & ~Q(action__in=OF_THE_POOL)
    is_there = Q(action__in=OF_THE_POOL, target__in=touched - {""})
    is_there &= Q(at__lte=task.finished_at or timezone.now())
    since = AuditEntry.objects.filter(is_here | is_there, at__gte=task.created_at)
    return list(since.order_by("-id")[:SHOWN])


def of_task(task: TuningTask, entries: Sequence[AuditEntry]) -> Iterator[Line]:
    if task.finished_at:
        said = f"{task.status}: {task.message}" if task.message else task.status
        is_cancelled = task.status == TaskStatus.CANCELLED
        by = actor(entries, Action.CANCEL, task.finished_at) if is_cancelled else SYSTEM
        yield Line(task.finished_at, said, TONES.get(TaskStatus(task.status), "bad"), by=by)
    if task.started_at and all(entry.action != Action.START for entry in entries):
        yield Line(task.started_at, WORDS[Action.START], "busy", by=SYSTEM)
    if all(entry.action not in (Action.ADD, Action.CLONE) for entry in entries):
        by = task.created_by.get_username() if task.created_by else ""
        yield Line(task.created_at, WORDS[Action.ADD], by=by)


def of_people(entries: Sequence[AuditEntry]) -> Iterator[Line]:
    """What they did, in words, and who."""
    for entry in entries:
        action = Action(entry.action)
        words = [WORDS.get(action, entry.action)]
        words += [shortened(entry.target)] if action in OF_THE_POOL else []
        said = " ".join(words) + (f": {entry.detail}" if entry.detail else "")
        yield Line(entry.at, said, "busy" if action == Action.START else "", by=entry.actor)


def actor(
    entries: Sequence[AuditEntry], action: Action, until: datetime, number: int | None = None
) -> str:
    """Who did this last before then, to the task or to the experiment of this number."""
    for entry in entries:
        is_meant = not entry.detail or number is None or names(entry.detail, number)
        if entry.action == action and entry.at <= until and is_meant:
            return entry.actor
    return SYSTEM


def names(detail: str, number: int) -> bool:
    """Whether `#3, #4` has this number; of many the last ones are not told."""
    return f"#{number}" in detail.replace(" and", ",").split(", ") or detail.endswith(" more")


def of_experiments(
    task: TuningTask, experiments: Sequence[Experiment], entries: Sequence[AuditEntry]
) -> Iterator[Line]:
    """The newest moves are among those of the experiments that moved last: only these are asked
    for, since the index is by experiment."""
    latest = {one.pk: one for one in sorted(experiments, key=last_moved)[-SHOWN:]}
    for move in Move.objects.filter(experiment__in=list(latest)).order_by("-id")[:SHOWN]:
        experiment = latest[move.experiment_id]
        text, tone = said(task, experiment, move)
        yield Line(move.at, text, tone, experiment, decided_by(entries, move, experiment.number))


def decided_by(entries: Sequence[AuditEntry], move: Move, number: int) -> str:
    """Whoever stopped it or made it wait again; the other moves are its own."""
    action = {Status.CANCELLED: Action.CANCEL, Status.PENDING: Action.RETRY}.get(Status(move.new))
    if action is None:
        return ""
    by = actor(entries, action, move.at, number)
    # A retry says itself who wants it; what waits again for another reason is nobody's wish
    if action == Action.RETRY and not move.reason.startswith(f"{by} "):
        return SYSTEM
    return "" if action == Action.RETRY else by


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
