"""The best configuration of a task on its page: how to launch it, and how it compares."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from experiments import masking, reports
from experiments.errors import BadInput
from experiments.figures import ENGINE_COLUMNS, Column, goals, number, percent, plain, reached
from experiments.findings import Found
from experiments.models import Experiment, TuningTask
from experiments.objectives import THROUGHPUTS

Levels = Sequence[Mapping[str, Any]]


def winner(task: TuningTask, found: Found, columns: Sequence[Column]) -> dict[str, Any] | None:
    """None before there is one."""
    best, other = found.best, found.baseline
    if best is None:
        return None
    if other is not None and other.pk == best.pk:
        other = None
    try:
        command = reports.launch_line(task, best)
    except BadInput as problem:  # Written by another version, whose file we cannot read
        command = f"# {problem}"
    own, others = found.shown(best), found.shown(other) if other else None
    values = partial(reports.of_all_measurements, found)
    theirs = reached(task, values(other)) if other else [("", "")] * len(goals(task))
    pairs = zip(theirs, reached(task, values(best)), strict=True)
    compared = [(title, before, now) for (_, before), (title, now) in pairs]
    compared += [
        (column.title, column.text(others.metrics) if others else "", column.text(own.metrics))
        for column in columns
    ]
    return {
        "number": best.number,
        "parameters": [(k, plain(v)) for k, v in masking.data(best.parameters).items()],
        "command": command,
        "has_other": other is not None,
        "compared": [line for line in compared if line[2]],
        "level_titles": [column.title for column in ENGINE_COLUMNS],
        "levels": level_by_level(own, others) if task.engine != "job" else [],
        "figures": found.whose_figures(),
    }


def front(task: TuningTask, found: Found) -> list[dict[str, Any]]:
    """The Pareto front, a line each: every objective by all measurements, and its gain."""
    return [
        {
            "experiment": experiment,
            "is_best": found.best is not None and experiment.number == found.best.number,
            "measurements": member.measurements,
            "goals": [
                {"title": title, "value": number(value * factor), "gain": gain}
                for (title, factor), value, gain in zip(
                    goals(task), member.values, member.gains, strict=True
                )
            ],
        }
        for experiment, member in zip(found.front, found.members, strict=True)
    ]


def level_by_level(best: Experiment, other: Experiment | None) -> list[dict[str, Any]]:
    """Each load level of the winner, beside the same level of the defaults. One query."""
    wanted = [one.pk for one in (best, other) if one is not None]
    found = dict(Experiment.objects.filter(pk__in=wanted).values_list("pk", "levels"))
    before = {level["label"]: level for level in found.get(other.pk, ())} if other else {}
    return [
        {
            "label": level["label"],
            "cells": [
                compared(
                    column, before.get(level["label"], {}).get("metrics", {}), level["metrics"]
                )
                for column in ENGINE_COLUMNS
            ],
        }
        for level in found.get(best.pk, ())
    ]


def compared(column: Column, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """A figure before and now; `tone` says whether it is better now."""
    old, new = before.get(column.metric), now.get(column.metric)
    change, tone = "", ""
    if old and new is not None:
        share = new / old - 1
        is_better = (share > 0) == (column.metric in THROUGHPUTS)
        change = percent(share)
        tone = "" if abs(share) < 0.0005 else "good" if is_better else "bad"
    return {"before": column.text(before), "now": column.text(now), "change": change, "tone": tone}
