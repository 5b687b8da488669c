"""A task's results as documents: for `show --json`, for exports, and for people."""

import math
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils import timezone

from experiments import (
    effects,
    explaining,
    findings,
    gpu_readings,
    interference,
    launching,
    masking,
    progress,
    vetoes,
)
from experiments.confidence import Gain
from experiments.findings import Found
from experiments.fronts import Member
from experiments.models import Experiment, TuningTask
from experiments.objectives import unit_of
from experiments.repeats import Certainty

# Which of a Pareto front is called the best
KNEE = "The winner is the one whose ratios to the others, multiplied, are the largest"


def document(task: TuningTask) -> dict[str, Any]:
    """Everything about a task, as `show --json` prints it (design part 6), without secrets."""
    return masking.data(_document(task), masking.known_of(task.specification))


def _document(task: TuningTask) -> dict[str, Any]:
    rows = task.experiments.prefetch_related("moves", gpu_readings.summaries()).select_related(
        "reused_from__task"
    )
    experiments = list(rows)
    same = effects.twins(experiments)
    found = findings.found_by(task, experiments)
    best, baseline = found.best, found.baseline
    return {
        **summary(task, experiments, found),
        "description": task.description,
        "objectives": objectives(task),
        "best": None if best is None else result(task, best, found),
        "certainty": certainty(found.sure),
        "explanation": explaining.explanation(task, experiments, found),
        "interference": interference.document(task, experiments),
        "parallelism": parallelism(task, experiments),
        "pareto_front": [one.number for one in found.front],
        "front": [member(task, one) for one in found.members],
        "baseline": None if baseline is None else result(task, baseline, found),
        "specification": task.specification,
        "experiments": [
            {**one_experiment(one), "same_settings_as": same.get(one.number, [])}
            for one in experiments
        ],
        "vetoes": vetoes.document(task),
    }


def summary(task: TuningTask, experiments: Sequence[Experiment], found: Found) -> dict[str, Any]:
    """One task in a list."""
    return {
        "id": task.pk,
        "name": task.name,
        "status": task.status,
        "message": task.message,
        "model": task.model,
        "engine": task.engine,
        "objective": task.objective,
        "created_at": moment(task.created_at),
        "started_at": moment(task.started_at),
        "finished_at": moment(task.finished_at),
        "expected_end": moment(progress.expected_end(task, experiments, timezone.now())),
        "max_parallel_experiments": task.max_parallel_experiments,
        "max_iterations": task.max_experiments,
        "priority": task.priority,
        "ended_experiments": sum(experiment.has_ended for experiment in experiments),
        "best_score": found.score,
        "gain": found.gain,
    }


def certainty(sure: Certainty | None) -> dict[str, Any] | None:
    """How sure the winner is; infinite while the noise is not known is null here."""
    if sure is None:
        return None
    return {
        "score": sure.score,
        "baseline_score": sure.baseline_score,
        "measurements": sure.winner.measurements,
        **gained(sure.gain),
        "within_noise_of": [one.number for one in sure.alike],
        "noise": sure.noise.deviation if sure.noise.freedom else None,
        "noise_is_share": sure.noise.is_share,
        "degrees_of_freedom": sure.noise.freedom,
        "sentence": sure.sentence(),
    }


def gained(gain: Gain | None) -> dict[str, Any]:
    return {
        "gain": None if gain is None else gain.share,
        "plus_minus": gain.plus_minus if gain and math.isfinite(gain.plus_minus) else None,
        "is_real": gain is not None and gain.is_real,
    }


def member(task: TuningTask, one: Member) -> dict[str, Any]:
    """One of a Pareto front: each objective, of all its measurements that count."""
    each = zip(objectives(task), one.values, one.gains, strict=True)
    return {
        "number": one.number,
        "measurements": one.measurements,
        "objectives": [
            {"metric": objective["metric"], "value": value, **gained(gain)}
            for objective, value, gain in each
        ],
    }


def parallelism(task: TuningTask, experiments: Sequence[Experiment]) -> dict[str, Any] | None:
    """How the degree of parallelism was used; None before two experiments have ended."""
    used = progress.parallel_use(experiments)
    if used is None:
        return None
    return {
        "at_most": task.max_parallel_experiments,
        "on_average": used[0],
        "chosen_while_others_ran": used[1],
        "experiments": len(experiments),
    }


def result(task: TuningTask, experiment: Experiment, found: Found) -> dict[str, Any]:
    """A measured configuration with its launch command; its figures are those of one of its
    measurements, `measured_by`.
    """
    shown = found.shown(experiment)
    return {
        "number": experiment.number,
        "parameters": experiment.parameters,
        "measured_by": shown.number,
        "objective_score": shown.objective_score,
        "objective_values": shown.objective_values,
        "metrics": shown.metrics,
        "command": launch_line(task, experiment),
    }


def objectives(task: TuningTask) -> list[dict[str, Any]]:
    """Each objective, in the order of `objective_values`, with its share of the score."""
    every = task.objectives
    return [
        {
            "metric": one.metric,
            "unit": unit_of(one.metric) if task.engine != "job" else "",
            "maximize": one.maximize,
            "weight": share,
        }
        for one, share in zip(every.each, every.shares(), strict=True)
    ]


def source(experiment: Experiment) -> dict[str, Any] | None:
    """Whose measurement it has, if it was not measured itself; `task` is null once that is gone."""
    if not experiment.measured_as:
        return None
    other = experiment.reused_from
    return {
        "task": None if other is None else other.task_id,
        "number": None if other is None else other.number,
        "says": experiment.measured_as,
    }


def one_experiment(experiment: Experiment) -> dict[str, Any]:
    error = {
        "kind": experiment.error_kind,
        "message": experiment.error_message,
        "lines": experiment.error_lines.splitlines(),
        "where": experiment.error_where,
        "may_pass": experiment.error_may_pass,
    }
    return {
        "number": experiment.number,
        "attempt": experiment.attempt,
        "status": experiment.status,
        "is_baseline": experiment.is_baseline,
        "repeat_of": experiment.repeat_of,
        "parameters": experiment.parameters,
        "metrics": experiment.metrics,
        "levels": experiment.levels,
        "objective_score": experiment.objective_score,
        "objective_values": experiment.objective_values,
        "penalty": experiment.penalty,
        "feasible": experiment.feasible,
        "holds_at": experiment.holds_at or None,
        "pruned": experiment.pruned,
        "pruned_why": experiment.pruned_why or None,
        "error": error if experiment.error_kind else None,
        "gpus": experiment.gpu_uuids,
        "node": experiment.node,
        "command": experiment.command,
        "environment": experiment.environment,
        "effective": experiment.effective,
        "without_effect": effects.without_effect(experiment),
        "reused_from": source(experiment),
        "started_at": moment(experiment.started_at),
        "finished_at": moment(experiment.finished_at),
        "phases": progress.phases(experiment, timezone.now()),
        "gpu_readings": gpu_readings.documents(experiment.gpu_readings.all()),
        "moves": [
            {"from": move.old, "to": move.new, "at": moment(move.at), "reason": move.reason}
            for move in experiment.moves.all()
        ],
    }


def values_in_words(task: TuningTask, values: Sequence[float]) -> list[str]:
    """`output_throughput 512 tok/s` for each of several objectives."""
    return [
        f"{one['metric']} {value:.4g} {one['unit']}".rstrip()
        for one, value in zip(objectives(task), values, strict=False)
    ]


def of_all_measurements(found: Found, experiment: Experiment) -> Sequence[float]:
    """The values of several objectives, of all that was measured of a configuration."""
    return found.values.get(experiment.number) or experiment.objective_values


def launch_line(task: TuningTask, experiment: Experiment) -> str:
    """How to start the engine with this configuration, by hand."""
    return launching.shell_line(
        task.file,
        experiment.parameters,
        gpus=experiment.gpus,
        executables=settings.ENGINE_EXECUTABLES,
    )


def moment(at: Any) -> str | None:
    return None if at is None else at.isoformat()
