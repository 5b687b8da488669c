"""The start page: tasks, GPUs and who waits, drawn once for all who may see the same of it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone

from experiments import lanes, pool_pages, roles, summaries, usage
from experiments.lanes import Lane
from experiments.latest import latest
from experiments.models import Experiment, TuningTask
from experiments.states import LEASED, Status, TaskStatus

FRESH, LONGEST = 0.9, 5.0  # seconds for which what was drawn is shown to others too
SHARE = 200  # … and longer when it is much: it takes one part in so many of a core
HOURS = 6  # The lanes begin so long ago, or with the oldest experiment that is shown since then
ACTIVE, RECENT = 12, 8  # tasks: so many that run or are paused, and so many others
ON_A_LANE = (
    *("task_id", "number", "status", "feasible", "pruned", "error_kind", "node", "gpu_uuids"),
    *("gpus", "placed_at", "benchmarking_at", "finished_at"),
)
# The parts of the page that change; the last ones are the page of the GPUs'
OWN = {name: f"experiments/dashboard/{name}.html" for name in ("numbers", "tasks", "lanes")}
OF_THE_POOL = {name: f"experiments/pool/{name}.html" for name in ("summary", "gpus", "waiting")}


@dataclass(frozen=True)
class Part:
    """A part of the page as HTML, and a short name of how it is now."""

    html: str
    digest: str


Drawing = dict[str, Part]


@dataclass(frozen=True)
class Drawn:
    """What was drawn, and of what that is in the database and the pool. It is shown to others until
    it is not `fresh` any more, and again as long as it is not `old` and nothing has changed."""

    parts: Drawing
    of: Any
    fresh: float
    old: float


_drawn: dict[tuple[bool, bool], Drawn] = {}  # By what its viewers may see
_drawing = threading.Lock()


def parts(user: Any) -> Drawing:
    """The parts of the page as they are now, or were a moment ago."""
    rights = (roles.may_view_pool(user), roles.may_view_experiments(user))
    with _drawing:
        drawn = _drawn.get(rights)
        if drawn is None or time.monotonic() > drawn.fresh:
            drawn = _drawn[rights] = again(user, drawn)
        return drawn.parts


def forget() -> None:
    """The next look is drawn anew."""
    _drawn.clear()


def draw(user: Any) -> Drawing:
    """Each part, from the database and the pool as they are now."""
    return again(user, None).parts


def again(user: Any, before: Drawn | None) -> Drawn:
    """The pool's parts as they are now, and the own ones too when they are of something else: what
    a GPU reads changes all the time, and is cheap to draw."""
    begun, moment = time.thread_time(), time.monotonic()
    pool = pool_pages.now(user) if roles.may_view_pool(user) else {}
    tasks, known = shown_tasks(), known_gpus(pool)
    of = (latest(), [task.columns for task in tasks], [vars(lane) for lane in known.values()])
    if before and before.of == of and moment < before.old:
        own, old = {name: before.parts[name] for name in OWN}, before.old
    else:
        are_links = roles.may_view_experiments(user)
        shown = now(tasks, known, are_links) | {"may_see_pool": bool(pool)}
        own, old = drawn_parts(OWN, shown), moment + LONGEST
    # It is drawn for many, whose buttons would need tokens of their own: those are elsewhere
    of_pool = drawn_parts(OF_THE_POOL, {**pool, "may_operate": False}) if pool else {}
    fresh = max(FRESH, min(LONGEST, SHARE * (time.thread_time() - begun)))
    return Drawn(own | of_pool, of, time.monotonic() + fresh, old)


def drawn_parts(templates: dict[str, str], context: dict[str, Any]) -> Drawing:
    drawn = {name: render_to_string(template, context) for name, template in templates.items()}
    return {name: Part(html, digest(html)) for name, html in drawn.items()}


def digest(html: str) -> str:
    return sha256(html.encode()).hexdigest()[:12]


def shown_tasks() -> list[TuningTask]:
    """Those that run or are paused, and then the newest of the others."""
    return [
        *TuningTask.objects.filter(status__in=(TaskStatus.RUNNING, TaskStatus.PAUSED))[:ACTIVE],
        *TuningTask.objects.exclude(status__in=(TaskStatus.RUNNING, TaskStatus.PAUSED))[:RECENT],
    ]


def now(tasks: Sequence[TuningTask], known: dict[str, Lane], are_links: bool) -> dict[str, Any]:
    """What is shown of these tasks, of all experiments, and of the GPUs of the pool."""
    at = timezone.now()
    running = list(on_lanes().filter(status__in=LEASED))
    ended = on_lanes().filter(finished_at__gte=at - timedelta(hours=HOURS))
    shown = list(ended.filter(placed_at__isnull=False).order_by("-finished_at")[: lanes.MOST])
    return {
        "figures": figures(tasks, usage.of_last_day(running, at), len(known), running),
        "tasks": summaries.of_tasks(tasks, at),
        "has_more": len(tasks) >= RECENT,
        "chart": chart([*running, *shown], known, at, are_links),
    }


def on_lanes() -> Any:
    """Experiments with what a bar says of one."""
    return Experiment.objects.select_related("task").only(*ON_A_LANE, "task__name")


def chart(
    experiments: Sequence[Experiment], known: dict[str, Lane], now: datetime, are_links: bool
) -> dict[str, Any]:
    """The lanes, from the oldest experiment on that is shown; of an idle pool of the last hour."""
    begun = [one.placed_at for one in experiments if one.placed_at]
    earliest = now - timedelta(hours=HOURS)
    begin = max(earliest, min(begun, default=now - timedelta(hours=1)))
    names = {one.task_id: one.task.name for one in experiments}
    return lanes.chart(experiments, lanes.spread(begin, now), known, names, are_links)


def known_gpus(pool: dict[str, Any]) -> dict[str, Lane]:
    """A lane for each GPU of the pool, in its order."""
    return {
        row["gpu"].uuid: Lane(
            name=f"{block['node'].name} {row['gpu'].index}",
            title=f"GPU {row['gpu'].index} of {block['node'].name}, {row['gpu'].uuid}",
            note=row["gpu"].state,
            tone=row["tone"],
        )
        for block in pool.get("nodes", ())
        for row in block["gpus"]
    }


def figures(
    tasks: Sequence[TuningTask], used: usage.Usage, gpus: int, running: Sequence[Experiment]
) -> list[dict[str, Any]]:
    """The numbers on top, each with its note."""
    active = [task for task in tasks if task.status == TaskStatus.RUNNING]
    paused = sum(task.status == TaskStatus.PAUSED for task in tasks)
    measuring = sum(one.status == Status.BENCHMARKING for one in running)
    idle = used.idle(gpus)
    hours = used.seconds / 3600
    over = f"{hours:.0f} h" if hours >= 1 else f"{used.seconds / 60:.0f} min"
    return [
        {
            "label": "Running tasks",
            "value": str(len(active)),
            "note": f"{paused} paused" if paused else "none is paused",
        },
        {
            "label": "Running experiments",
            "value": str(len(running)),
            "note": f"{measuring} benchmarking, {len(running) - measuring} loading",
        },
        {
            "label": f"Experiments, {over}",
            "value": f"{used.ended:,}",
            "note": f"{used.succeeded:,} succeeded, {used.failed:,} failed",
        },
        {
            "label": f"GPU-hours, {over}",
            "value": f"{used.gpu_seconds / 3600:.3g}",
            "note": f"of {gpus * hours:.3g} that {gpus} GPUs have"
            if gpus
            else "held by experiments",
        },
        {
            "label": f"GPUs idle, {over}",
            "value": "–" if idle is None else f"{idle:.0%}",
            "note": "of the time of the GPUs there are now" if gpus else "no GPU is known",
        },
    ]
