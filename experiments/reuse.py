"""A configuration that an earlier task has measured in the same way is not measured again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from experiments import scoring
from experiments.benchmarks.samples import goodput
from experiments.elsewhere import same
from experiments.energy import with_cost
from experiments.errors import ExperimentFailed
from experiments.models import Experiment
from experiments.objectives import parse_objectives
from experiments.provenance import asked, workload
from experiments.scoring import LevelResult
from experiments.states import Status
from experiments.taskfile import TaskFile

# Of a level, what depends on the objectives and prices of the task that asks
JUDGED = ("goodput", "cost_per_million_tokens")


def take_over(experiment: Experiment) -> bool:
    """Let a new experiment have the measurement of an earlier task, if there is one.

    Only when the user allows it, and once it is known on what this task runs: its baseline, and
    whatever is measured again to learn its noise, run here. Its score is its own task's.
    """
    file = experiment.task.file
    repeated = experiment.is_baseline or experiment.repeat_of is not None
    if not file.optimization.reuse or repeated or file.benchmark.rate_search:
        return False
    found = measured_before(experiment)
    if found is None:
        return False
    try:
        columns = results(file, found)
    except ExperimentFailed:  # An objective was not measured then
        return False
    samples = [(one.level, one.superseded, one.data) for one in found.samples.all()]
    experiment.take_over(found, samples, **columns)
    return True


def measured_before(experiment: Experiment) -> Experiment | None:
    """The newest measurement of the same flags and requests on the same engine and hardware."""
    task, file = experiment.task, experiment.task.file
    own = task.experiments.exclude(fingerprint="").values_list("fingerprint", flat=True)
    fingerprints = set(own)
    if len(fingerprints) != 1:
        return None  # Not known yet, or of several kinds
    candidates = Experiment.objects.filter(
        fingerprint__in=fingerprints, status=Status.SUCCESS, pruned=False, gpus=experiment.gpus
    )
    flags = in_words(asked(file, experiment.parameters))
    for pk, on in candidates.exclude(task=task).order_by("-pk").values_list("pk", "environment"):
        if on.get("workload") == workload(file) and in_words(on.get("flags", {})) == flags:
            found = Experiment.objects.select_related("task").get(pk=pk)
            if is_whole(file, found):
                return found
    return None


def in_words(flags: Mapping[str, Any]) -> dict[str, str]:
    return {name: same(name, value) for name, value in flags.items()}


def is_whole(file: TaskFile, found: Experiment) -> bool:
    """Whether each load level was measured to its end."""
    labels = [level["label"] for level in found.levels if not level.get("stopped_early")]
    return labels == [level.label for level in file.levels()]


def results(file: TaskFile, found: Experiment) -> dict[str, Any]:
    """What was measured, judged by this task file. Raises ExperimentFailed."""
    samples = {one.level: one.data for one in found.samples.filter(superseded=False)}
    levels = []
    for level in found.levels:
        metrics = judged(file, found, level["metrics"], samples.get(level["label"], {}))
        errors, disturbed = level.get("standard_errors", {}), level.get("disturbed", False)
        levels.append(LevelResult(level["label"], metrics, errors, disturbed))
    score = scoring.score(
        levels,
        parse_objectives(file.optimization.objective),
        file.slo,
        gpus=found.gpus,
        max_error_rate=file.benchmark.max_error_rate,
        per_gpu=file.per_gpu,
    )
    documents = [
        {**before, **asdict(verdict), "metrics": dict(level.metrics)}
        for before, verdict, level in zip(found.levels, score.levels, levels, strict=True)
    ]
    return {
        "metrics": scoring.overall(levels),
        "levels": documents,
        **score.columns(),
    }


def judged(
    file: TaskFile, found: Experiment, metrics: Mapping[str, float], samples: Mapping[str, Any]
) -> dict[str, float]:
    """A level's metrics, with those that its own task's objectives and prices decided anew."""
    known = {name: value for name, value in metrics.items() if name not in JUDGED}
    limits = file.slo.per_request() if file.slo else {}
    if limits and samples and "duration" in metrics:
        known["goodput"] = goodput(dict(samples), metrics["duration"], limits)
    return with_cost(known, found.gpus, file.resources.price_per_gpu_hour)
