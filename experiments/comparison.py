"""Experiments side by side: their parameters and what they measured, with what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments import findings, launching, masking, summaries
from experiments.errors import BadInput
from experiments.figures import number, plain
from experiments.models import Experiment

FEWEST, MOST = 2, 6
ABSENT = "–"


@dataclass(frozen=True)
class Row:
    """One name, what each experiment has there, and whether they are not all the same."""

    name: str
    values: list[str]
    differs: bool


@dataclass(frozen=True)
class Column:
    """One experiment: what it is called here."""

    title: str
    experiment: Experiment


def parameters(experiments: Sequence[Experiment]) -> list[Row]:
    """The configurations, those that differ first."""
    found = [
        {name: plain(value) for name, value in masking.data(e.parameters).items()}
        for e in experiments
    ]
    return sorted(rows(found), key=lambda row: not row.differs)


def metrics(experiments: Sequence[Experiment]) -> list[Row]:
    """What was measured, in the database's units."""
    found: list[dict[str, str]] = []
    for e in experiments:
        score = {} if e.objective_score is None else {"score": e.objective_score}
        values = {**score, **e.metrics}
        found.append({name: text(value) for name, value in values.items()})
    return rows(found)


def text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else plain(value)


def rows(found: Sequence[Mapping[str, str]]) -> list[Row]:
    names = dict.fromkeys(name for one in found for name in one)
    return [
        Row(name, values, len(set(values)) > 1)
        for name in names
        for values in [[one.get(name, ABSENT) for one in found]]
    ]


def relatives(experiment: Experiment) -> list[Column]:
    """It, and what one wants to compare it with: the baseline and the best of its task."""
    others = list(summaries.narrow().filter(task=experiment.task_id))
    found = findings.found_by(experiment.task, others)
    named = {found.shown(one).pk: title for title, one in reversed(found.named)}
    named.pop(experiment.pk, None)
    whole = Experiment.objects.select_related("task").in_bulk(named)
    shown = [(named[pk], whole[pk]) for pk in reversed(named)]
    columns = [Column(f"{title}, #{other.number}", other) for title, other in shown]
    return [Column("this one", experiment), *columns]


def own_environment(experiment: Experiment) -> dict[str, str]:
    """What the task file and the configuration add; nothing for a file we cannot read."""
    try:
        return launching.own_environment(experiment.task.file, experiment.parameters)
    except BadInput:  # Written by another version
        return {}
