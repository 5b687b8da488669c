"""What a task tries next, and when it has ended."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from django.db import IntegrityError, transaction

from experiments import fronts, knowledge, pareto, planning, repeats, reuse
from experiments.budget import search_budget, to_search
from experiments.errors import MovedElsewhere
from experiments.estimate import estimate
from experiments.models import Experiment, TuningTask
from experiments.objectives import Objectives
from experiments.space import Configuration
from experiments.states import ENDED, Status, TaskStatus
from experiments.strategies import STRATEGIES
from experiments.strategies.base import Trial
from experiments.strategies.gp import expected_scores


class Past(NamedTuple):
    """What a strategy wants to know of an experiment; the measurements stay in the database."""

    number: int
    repeat_of: int | None
    is_baseline: bool
    pruned: bool
    status: str
    parameters: Configuration
    objective_score: float | None
    objective_values: list[float]
    penalty: float | None
    feasible: bool | None
    error_kind: str
    error_may_pass: bool
    reached: float | None


class Step(NamedTuple):
    """The next experiment: a configuration, and whose it is when it is measured again.

    `alone`: only when nothing else of the task runs, as neighbours disturb each other.
    """

    configuration: Configuration
    repeat_of: int | None = None
    alone: bool = False


def advance(task_id: int) -> None:
    """Bring a running task up to its number of experiments in flight, or end it.

    Any number of processes may do this at once: a new experiment takes the number that follows
    what its process saw, so of two that saw the same history one fails and looks again.
    """
    while True:
        task = TuningTask.objects.get(pk=task_id)
        experiments = history(task)
        if task.status != TaskStatus.RUNNING:
            return
        unfinished = sum(experiment.status not in ENDED for experiment in experiments)
        if unfinished >= task.max_parallel_experiments:
            return
        step = next_step(task, experiments)
        if step is None and not unfinished:
            return finish(task, experiments)
        if step is None or (step.alone and unfinished):
            return
        added = add_experiment(task, len(experiments) + 1, step)
        # What was taken over has ended already, and makes room for another one
        is_full = unfinished + 1 >= task.max_parallel_experiments
        if added and (step.alone or (is_full and not task.file.optimization.reuse)):
            return


def history(task: TuningTask) -> list[Past]:
    """All experiments of a task, as plain rows: objects would take most of a long one's time."""
    return [
        Past._make(row) for row in task.experiments.order_by("number").values_list(*Past._fields)
    ]


def next_step(task: TuningTask, experiments: Sequence[Past]) -> Step | None:
    """What to measure after `experiments`; None when there is nothing, or not yet.

    First the search, between which the baseline is measured again; then, one by one, what may be
    the winner, until it is certain.
    """
    baseline = repeats.next_repeat(task, experiments)
    if baseline is not None:
        return _again(experiments, baseline)
    searched = [one for one in experiments if one.repeat_of is None]
    if len(searched) < to_search(task) and len(experiments) < task.max_experiments:
        configuration = next_configuration(task, experiments)
        if configuration is not None:
            return Step(configuration)
    if any(one.status not in ENDED for one in experiments):
        return None
    finalist = next_finalist(task, experiments)
    return None if finalist is None else _again(experiments, finalist, alone=True)


def next_finalist(task: TuningTask, experiments: Sequence[Past]) -> int | None:
    """What may have won and is measured again now, by number: of a Pareto front each member once,
    then as for one winner.
    """
    if not repeats.are_left(task, experiments):
        return None
    if task.objectives.has_front:
        member = fronts.next_to_repeat(experiments, task.objectives)
        if member is not None:
            return member
    searched = [one for one in experiments if one.repeat_of is None]
    return repeats.next_finalist(task, experiments, expected(task, searched))


def _again(experiments: Sequence[Past], number: int, alone: bool = False) -> Step:
    again = next(one for one in experiments if one.number == number)
    return Step(again.parameters, number, alone)


def next_configuration(task: TuningTask, experiments: Sequence[Past]) -> Configuration | None:
    """A configuration that was not tried; None when there is none left."""
    file = task.file
    optimization = file.optimization
    if not experiments and file.base_runtime != "job":
        return {}  # The baseline: the engine's defaults
    ask = partial(
        STRATEGIES[optimization.strategy].ask,
        file.space(),
        maximize=task.objectives.maximize,
        seed=optimization.seed,
    )
    searched = [one for one in experiments if one.repeat_of is None]
    trials = [trial(experiment, task.objectives) for experiment in searched]
    return knowledge.allowed(task, trials, ask)


def expected(task: TuningTask, searched: Sequence[Past]) -> dict[int, float]:
    """The score that all results together let expect of each configuration, by number."""
    trials = [trial(experiment, task.objectives) for experiment in searched]
    scores = expected_scores(
        task.file.space(),
        trials,
        maximize=task.objectives.maximize,
        seed=task.file.optimization.seed,
    )
    return {searched[index].number: score for index, score in scores.items()}


def trial(experiment: Past | Experiment, objectives: Objectives) -> Trial:
    """An experiment as a strategy sees it. What was lost, cancelled, or failed for a reason that
    may pass says nothing of its configuration."""
    succeeded = experiment.status == Status.SUCCESS
    known = experiment.status in ENDED and not repeats.is_innocent(experiment)
    return Trial(
        configuration=experiment.parameters,
        score=experiment.objective_score if succeeded else None,
        feasible=(bool(experiment.feasible) and succeeded) if known else None,
        reached=experiment.reached or 0.0,
        scores=scores_of(experiment, objectives) if succeeded else (),
    )


def scores_of(experiment: Past | Experiment, objectives: Objectives) -> tuple[float, ...]:
    """What it reached, as numbers of which each is better when it is higher."""
    return pareto.turned(
        experiment.objective_score, experiment.objective_values, experiment.penalty, objectives
    )


def add_experiment(task: TuningTask, number: int, step: Step) -> bool:
    """A new PENDING row, unless the task stopped or another process took the number."""
    need = estimate(task.file, step.configuration)
    memory = planning.memory_minimum(task.file, need, planning.gpus_now())
    try:
        with transaction.atomic():
            # The row lock (SQLite: the write lock) orders this against a cancel.
            running = TuningTask.objects.select_for_update().filter(
                pk=task.pk, status=TaskStatus.RUNNING
            )
            if running.first() is None:
                return False
            experiment = Experiment.objects.create(
                task=task,
                number=number,
                parameters=step.configuration,
                repeat_of=step.repeat_of,
                is_baseline=number == 1 and task.engine != "job",
                gpus=need.gpus,
                min_memory_mb=memory,
                min_host_memory_mb=task.file.resources.min_host_memory_mb,
            )
            reuse.take_over(experiment)
            return True
    except IntegrityError:
        if not task.experiments.filter(number=number).exists():
            raise
        return False


def finish(task: TuningTask, experiments: Sequence[Past]) -> None:
    """End the task; another process may have done so."""
    message = ""
    if sum(one.repeat_of is None for one in experiments) < search_budget(task):
        known = knowledge.untried(task)
        others = f", but {known} that would have failed: see its vetoes" if known else ""
        message = f"every configuration was tried{others}"
    try:
        task.finish(message)
    except MovedElsewhere:
        return
