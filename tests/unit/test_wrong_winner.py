"""Configurations that must never win, however good their best moment is, whoever ends first."""

import itertools
from typing import Any

import pytest

from experiments import findings, scoring
from experiments.errors import ExperimentFailed
from experiments.models import Experiment, TuningTask
from experiments.objectives import write_objectives
from experiments.scoring import LevelResult
from experiments.slo import Slo
from experiments.states import FailureKind, Status

SLO = Slo.model_validate(
    {
        "ttft": {"p90": {"threshold": 1.0, "hard_fail": True, "fail_ratio": 0.1}},
        "throughput": {"threshold": 20, "hard_fail": True},
    }
)
OBJECTIVES = [
    "maximize_throughput",
    "minimize_ttft_p90",
    ["maximize_throughput", "minimize_ttft_p90"],
    {"maximize_throughput": 1, "minimize_ttft_p90": 3},
]


def level(label: str, throughput: float, ttft: float, errors: float = 0.0) -> LevelResult:
    measured = {"output_throughput": throughput, "ttft_p90": ttft, "error_rate": errors}
    return LevelResult(label, measured)


HONEST = [level("1", 100, 0.5), level("8", 300, 0.9)]
BETTER = [level("1", 110, 0.4), level("8", 330, 0.8)]
LIARS = {
    "collapses above concurrency 1": [level("1", 5000, 0.01), level("8", 4000, 9.0)],
    "stalls above concurrency 1": [level("1", 5000, 0.01), level("8", 3, 0.01)],
    "answers errors quickly": [level("1", 900, 0.01, 0.5), level("8", 9000, 0.01, 0.9)],
    "answers errors quickly at one level": [level("1", 900, 0.01), level("8", 9000, 0.01, 0.02)],
    "answers nothing": [level("1", 0, 0.01, 1.0), level("8", 0, 0.01, 1.0)],
    "cannot say its errors": [level("1", 900, 0.01, float("nan")), level("8", 9000, 0.01)],
    "measured one level of nothing": [level("1", 900, float("nan")), level("8", 9000, 0.01)],
}


def experiment(task: TuningTask, number: int, levels: list[LevelResult] | None) -> Experiment:
    """The row that a worker writes; without levels that of one that failed within a second."""
    row = Experiment(task=task, number=number, pk=number, status=Status.FAILED, feasible=False)
    if levels is None:
        row.error_kind = FailureKind.ENGINE_CRASHED
        return row
    try:
        score = scoring.score(levels, task.objectives, SLO)
    except ExperimentFailed:
        return row
    row.status, row.feasible = Status.SUCCESS, score.feasible
    row.objective_score, row.objective_values = score.objective_score, list(score.values)
    row.penalty = score.penalty
    return row


@pytest.mark.parametrize("objective", OBJECTIVES, ids=write_objectives)
def test_a_liar_never_wins_whoever_ends_first(objective: Any) -> None:
    task = TuningTask(engine="vllm", objective=write_objectives(objective))
    rows = [experiment(task, number, levels) for number, levels in enumerate(LIARS.values())]
    rows += [experiment(task, 20, None), experiment(task, 21, HONEST), experiment(task, 22, BETTER)]
    for some in itertools.combinations(rows[:-2], 3):
        for ended in itertools.permutations([*some, *rows[-2:]]):
            best = findings.best_of(task, ended)
            assert best is not None and best.number == 22
            assert {one.number for one in findings.front_of(task, ended)} <= {22}


@pytest.mark.parametrize("objective", OBJECTIVES, ids=write_objectives)
def test_among_liars_nobody_wins(objective: Any) -> None:
    task = TuningTask(engine="vllm", objective=write_objectives(objective))
    rows = [experiment(task, number, levels) for number, levels in enumerate(LIARS.values())]
    rows.append(experiment(task, 20, None))
    assert findings.best_of(task, rows) is None
    assert findings.front_of(task, rows) == []


def test_a_pruned_one_never_wins_though_its_estimate_is_the_best() -> None:
    task = TuningTask(engine="vllm", objective="maximize_throughput, minimize_ttft_p90")
    honest, pruned = experiment(task, 1, HONEST), experiment(task, 2, BETTER)
    pruned.pruned = True
    assert findings.best_of(task, [honest, pruned]) == honest
    assert findings.front_of(task, [honest, pruned]) == [honest]


def test_a_crash_at_once_is_no_fast_answer() -> None:
    """Time is no objective of an experiment that failed, even where less of it is better."""
    task = TuningTask(engine="vllm", objective="minimize_duration")
    crashed = experiment(task, 1, None)
    honest = experiment(task, 2, [LevelResult("1", {**HONEST[0].metrics, "duration": 60.0})])
    assert findings.best_of(task, [crashed, honest]) == honest
