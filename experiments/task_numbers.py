"""The numbers on top of a task's page, and the strip of all its experiments."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.html import format_html

from experiments import progress
from experiments.figures import elapsed, number, objective, percent, remaining, seconds_since
from experiments.findings import Found
from experiments.models import Experiment, TuningTask
from experiments.moments import moment
from experiments.repeats import Certainty
from experiments.states import Status, TaskStatus
from experiments.task_table import SUCCEEDED, remark, score
from experiments.tones import kind, tone

BLOCKS = 400  # in the strip of all experiments

Figure = dict[str, Any]


def numbers(
    task: TuningTask, experiments: Sequence[Experiment], found: Found, now: datetime
) -> list[Figure]:
    """The key figures, each with its note."""
    figures = [
        how_far(task, experiments),
        best_number(task, found),
        gain_number(task, experiments, found),
        share_that_meets(experiments),
        gpu_use(task, experiments, now),
        {
            "label": "Elapsed",
            "value": elapsed(task.started_at, task.finished_at, now) or "–",
            "runs_for": None if task.finished_at else seconds_since(task.started_at, now),
            "note": how_long(task, experiments, now),
        },
    ]
    if task.engine == "job":  # Which has no defaults
        del figures[2]
    return figures


def how_far(task: TuningTask, experiments: Sequence[Experiment]) -> Figure:
    """Of the budget, what has ended; and what goes on."""
    counts = Counter(map(kind, experiments))
    ended = sum(experiment.has_ended for experiment in experiments)
    notes = [f"{counts[word]} {word}" for word in ("running", "waiting", "failed") if counts[word]]
    return {
        "label": "Experiments",
        "value": f"{ended} / {task.max_experiments}",
        "note": ", ".join(notes) or "ended, of the budget",
        "part": ended,
        "whole": task.max_experiments,
    }


def best_number(task: TuningTask, found: Found) -> Figure:
    words, unit, factor = objective(task)
    value = found.score
    return {
        "label": f"Best {words}",
        "value": "–" if value is None else number(value * factor),
        "unit": "" if value is None else unit,
        "note": f"experiment #{found.best.number}" if found.best else "nothing measured yet",
    }


def gain_number(task: TuningTask, experiments: Sequence[Experiment], found: Found) -> Figure:
    """The gain over the defaults, or why there is none."""
    share = found.gain
    value, note = "–", "once the defaults are measured"
    if share is not None:
        value, note = percent(share), certain(found.sure)
    elif found.baseline is not None and not found.baseline.feasible:
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


def share_that_meets(experiments: Sequence[Experiment]) -> Figure:
    """Of what was tried to its end: what failed did not meet them either."""
    counts = Counter(map(kind, experiments))
    tried = sum(counts[word] for word in (*SUCCEEDED, "failed"))
    others = {"missed": "missed", "pruned": "pruned", "failed": "failed"}
    notes = [f"{counts[word]} {text}" for word, text in others.items() if counts[word]]
    return {
        "label": "Meet the objectives",
        "value": f"{counts['met'] / tried:.0%}" if tried else "–",
        "note": ", ".join(notes) or (f"all {tried} that ended" if tried else "none has ended yet"),
    }


def gpu_use(task: TuningTask, experiments: Sequence[Experiment], now: datetime) -> Figure:
    """The share of the time of its GPUs in which they were leased, and how many ran at once."""
    used = progress.gpu_use(experiments, now)
    note = f"at most {task.max_parallel_experiments} at once"
    at_once = progress.parallel_use(experiments)
    if at_once is not None and task.has_ended:
        note = (
            f"{at_once[0]:.2g} at once on average, of at most {task.max_parallel_experiments}; "
            f"{at_once[1]} of {len(experiments)} chosen while others ran"
        )
    return {
        "label": "GPU use",
        "value": "–" if used is None else f"{used.share:.0%}",
        "unit": "" if used is None else f"of {used.gpus} GPU{'' if used.gpus == 1 else 's'}",
        "note": note,
        "title": "the share of the time, since the first had its GPU, in which the GPUs of this "
        "task were leased to its experiments",
    }


def how_long(task: TuningTask, experiments: Sequence[Experiment], now: datetime) -> str:
    """When it will have ended; while that is not known, since when it goes on."""
    if task.started_at is None:
        return "not started"
    if task.status == TaskStatus.PAUSED:
        return "paused: nothing new starts"
    end = progress.expected_end(task, experiments, now)
    if end is None:
        return format_html("since {}", moment(task.started_at, "minute"))
    return remaining(end, now)


# ── the strip ───────────────────────────────────────────────────────────────────────────────


def strip(
    task: TuningTask, experiments: Sequence[Experiment], best: Experiment | None
) -> list[dict[str, Any]]:
    """A block for each of the newest experiments."""
    blocks = []
    for one in experiments[-BLOCKS:]:
        remarked, scored = remark(one), score(task, one)
        title = f"#{one.number} {one.status}" + (f", {remarked}" if remarked else "")
        blocks.append(
            {
                "number": one.number,
                "kind": kind(one),
                "tone": tone(one),
                "is_best": best is not None and one.pk == best.pk,
                "title": f"{title} · {scored}" if scored else title,
            }
        )
    return blocks


def planned(task: TuningTask, experiments: Sequence[Experiment]) -> range:
    """The numbers of the experiments that may still come, as far as the strip has room."""
    following = experiments[-1].number + 1 if experiments else 1
    room = min(task.max_experiments, BLOCKS) - len(experiments)
    return range(following, following + (0 if task.has_ended else max(0, room)))
