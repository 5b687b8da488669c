"""How far a task is: when it will have ended, and what each experiment spent its time on."""

import heapq
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean
from typing import NamedTuple

from experiments.budget import most_experiments
from experiments.experiment import Experiment
from experiments.models import TuningTask
from experiments.states import ON_A_WORKER, Status, TaskStatus

LATEST = 20  # ended experiments that say how long the next ones take: a search moves on

# What an experiment does, and since when; each phase ends where the next one begins.
PHASES = (
    ("waiting", "queued_at"),  # for its turn and for GPUs
    ("placed", "placed_at"),  # for its node's worker
    ("starting", "started_at"),  # the engine, until it answers
    ("measuring", "benchmarking_at"),
    ("", "finished_at"),
)


def phases(experiment: Experiment, now: datetime) -> dict[str, float]:
    """The seconds of each phase that this attempt was in, also of the one it is in."""
    moments = [(name, getattr(experiment, column)) for name, column in PHASES]
    begun = [(name, at) for name, at in moments if at is not None]
    if not experiment.has_ended:
        begun.append(("", now))
    return {
        name: max(0.0, (later - at).total_seconds()) for (name, at), (_, later) in pairwise(begun)
    }


def expected_end(
    task: TuningTask, experiments: Sequence[Experiment], now: datetime
) -> datetime | None:
    """When the task will have ended; None while it does not run, or nothing of it has ended.

    Each experiment is expected to take as long as the latest did, and to begin as soon as one of
    those ends that run now; only while GPUs are short do fewer run than may.
    """
    took = usual_seconds(experiments)
    if took is None or task.status != TaskStatus.RUNNING:
        return None
    unfinished = [one for one in experiments if not one.has_ended]
    ends = [left(one, took, now) for one in unfinished if one.status in ON_A_WORKER]
    are_short = any(one.status == Status.PENDING for one in unfinished)
    at_once = task.max_parallel_experiments
    if are_short and ends:
        at_once = min(at_once, len(ends))
    not_begun = most_experiments(task) - len(experiments) + len(unfinished) - len(ends)
    ends += [0.0] * min(at_once - len(ends), not_begun)
    heapq.heapify(ends)
    for _ in range(not_begun):
        heapq.heapreplace(ends, ends[0] + took)
    return now + timedelta(seconds=max(ends, default=0.0))


def usual_seconds(experiments: Sequence[Experiment]) -> float | None:
    """How long the latest ones were on their GPUs; None when none was."""
    spans = sorted(_on_gpus(experiments))
    return mean(seconds for _, seconds in spans[-LATEST:]) if spans else None


def _on_gpus(experiments: Sequence[Experiment]) -> Iterator[tuple[datetime, float]]:
    for one in experiments:
        if one.placed_at and one.finished_at and one.status != Status.CANCELLED:
            yield one.finished_at, (one.finished_at - one.placed_at).total_seconds()


def left(experiment: Experiment, took: float, now: datetime) -> float:
    """How many seconds it needs yet; one that takes longer than usual ends at any moment."""
    since = experiment.placed_at or now
    return max(0.0, took - (now - since).total_seconds())


class GpuUse(NamedTuple):
    """`share` of the time of so many GPUs."""

    share: float
    gpus: int


def gpu_use(experiments: Sequence[Experiment], now: datetime) -> GpuUse | None:
    """The share of the time of a task's GPUs, from the first lease to now or to the last end, in
    which they were leased to it. Its GPUs are all that it ever had. None before the first lease.

    Of an experiment only the last attempt counts: the time of an earlier one is not in its row.
    """
    held = [(e, e.placed_at, e.finished_at or now) for e in experiments if e.placed_at]
    gpus = {uuid for e, _, _ in held for uuid in e.gpu_uuids}
    if not gpus:
        return None
    begin, end = min(start for _, start, _ in held), max(end for _, _, end in held)
    whole = len(gpus) * (end - begin).total_seconds()
    used = math.fsum(len(e.gpu_uuids) * (end - start).total_seconds() for e, start, end in held)
    return GpuUse(min(1.0, used / whole) if whole > 0 else 1.0, len(gpus))


def parallel_use(experiments: Sequence[Experiment]) -> tuple[float, int] | None:
    """How the degree of parallelism was used: how many ran at once on the average, from the first
    start to the last end, and how many were chosen without the result of one that was chosen before
    and still ran. None before two have ended.
    """
    spans = [(e.placed_at, e.finished_at) for e in experiments if e.placed_at and e.finished_at]
    if len(spans) < 2:
        return None
    whole = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    busy = math.fsum((end - start).total_seconds() for start, end in spans)
    open_until: list[datetime] = []  # A heap of the ends of what was chosen before
    blind = 0
    for one in sorted(experiments, key=lambda one: one.number):
        while open_until and open_until[0] <= one.created_at:
            heapq.heappop(open_until)
        blind += bool(open_until)
        heapq.heappush(open_until, one.finished_at or datetime.max.replace(tzinfo=UTC))
    return (busy / whole if whole > 0 else 1.0), blind
