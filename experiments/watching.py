"""Follows a task in the terminal until it ends."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments import budget, effects, findings, masking, progress, reports
from experiments.figures import remaining, span
from experiments.findings import Found
from experiments.fronts import Member
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus

LOOK_EVERY = 0.5  # seconds


def watch(
    task: TuningTask, console: Console, meanwhile: Callable[[], None] = lambda: None
) -> TuningTask:
    """Print each experiment as it ends, until the task has; return the task as it ended."""
    said: set[tuple[int, int]] = set()
    was_paused = False
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(task.name)
        say = partial(bars.console.print, highlight=False, markup=False, soft_wrap=True)
        while True:
            try:
                task.refresh_from_db()
                experiments = list(task.experiments.order_by("finished_at"))
            except (OperationalError, InterfaceError):  # Whoever runs the experiments waits, too
                bars.update(bar, description=f"{task.name}: the database does not answer")
                connection.close()  # The next look connects anew
                time.sleep(LOOK_EVERY)
                continue
            ended = [experiment for experiment in experiments if experiment.has_ended]
            for experiment in ended:
                if (end := (experiment.pk, experiment.attempt)) not in said:
                    said.add(end)
                    say(one_line(experiment))
            is_paused = task.status == TaskStatus.PAUSED
            if is_paused and not was_paused:
                say(f"{task.name} is paused: `manage.py resume {task.pk}` lets it go on")
            was_paused = is_paused
            running = sum(not e.has_ended and e.status != Status.PENDING for e in experiments)
            bars.update(
                bar,
                total=budget.most_experiments(task),  # It may be extended meanwhile
                completed=len(ended),
                description=f"{task.name}: {running} now{how_long(task, experiments)}",
            )
            if task.has_ended and len(ended) == len(experiments):
                return task
            meanwhile()
            time.sleep(LOOK_EVERY)


def how_long(task: TuningTask, experiments: Sequence[Experiment]) -> str:
    """When it will have ended, if that can be said."""
    if task.status == TaskStatus.PAUSED:
        return ", paused: `manage.py resume` lets it go on"
    now = timezone.now()
    end = progress.expected_end(task, experiments, now)
    return "" if end is None else f", {remaining(end, now)}"


def one_line(experiment: Experiment) -> str:
    """An ended experiment, in one line."""
    name = f"#{experiment.number:<3} {experiment.status.lower():<10}"
    chosen = " ".join(
        f"{key}={value}" for key, value in masking.data(experiment.parameters).items()
    )
    chosen = chosen or ("engine's defaults" if experiment.is_baseline else "")
    if experiment.error_kind:
        return f"{name} {chosen}  {experiment.error_kind}: {experiment.error_message}"
    mark = "" if experiment.feasible else "  misses the objectives"
    if experiment.pruned:
        mark += f"  pruned {experiment.pruned_why}"
    said = [experiment.measured_as, *effects.without_effect(experiment)]
    mark += "".join(f"  {words}" for words in said if words)
    score = f"score {experiment.objective_score:<10.4g}"
    if experiment.task.objectives.several:
        values = reports.values_in_words(experiment.task, experiment.objective_values)
        score = ", ".join(values) + " "
    return f"{name} {score} {chosen}{mark}"


def one_that_goes_on(experiment: Experiment) -> str:
    """An experiment that has not ended, in one line: what it does, and where the time went."""
    times = progress.phases(experiment, timezone.now())
    went = ", ".join(f"{name} {span(seconds)}" for name, seconds in times.items())
    again = f", attempt {experiment.attempt}" if experiment.attempt > 1 else ""
    return f"#{experiment.number:<3} {experiment.status.lower():<12} {went}{again}"


def outcome(task: TuningTask) -> list[str]:
    """The end of a task for people: winner, gain, launch command."""
    experiments = list(task.experiments.all())
    found = findings.found_by(task, experiments)
    best = found.best
    if best is None and not task.has_ended:
        return [f"{task.name} is {task.status.lower()}; nothing has met the objectives yet"]
    if best is None:
        why = f": {task.message}" if task.message else ""
        return [f"{task.name} {task.status.lower()}{why}; no configuration won"]
    chosen = " ".join(f"{key}={value}" for key, value in masking.data(best.parameters).items())
    lines = [
        f"winner          #{best.number} {chosen or 'the engine’s defaults'}",
        *scored(task, best, found),
        f"launch command  {reports.launch_line(task, best)}",
    ]
    lines[-1:-1] = how_sure(task, found)
    return lines


def how_sure(task: TuningTask, found: Found) -> list[str]:
    """The winner's gain over the defaults, and whether it is real."""
    sure, baseline = found.sure, found.baseline
    if sure is None:
        return []
    defaults = ""
    if baseline and sure.baseline_score is not None and not sure.winner.is_baseline:
        defaults = f"{sure.baseline_score:.4g}"
        if task.objectives.several:
            values = reports.of_all_measurements(found, baseline)
            defaults = ", ".join(reports.values_in_words(task, values))
    if not (defaults or sure.noise.freedom):
        return []
    return [f"gain            {sure.sentence()}" + (f" ({defaults})" if defaults else "")]


def scored(task: TuningTask, best: Experiment, found: Found) -> list[str]:
    """The winner's score; of several objectives each one, and the front that it is on."""
    if not task.objectives.several:
        return [f"{task.objective:<15} {found.score:.4g}"]
    values = reports.of_all_measurements(found, best)
    lines = [f"objectives      {', '.join(reports.values_in_words(task, values))}"]
    for index, one in enumerate(found.members):
        lines.append(f"{'' if index else 'Pareto front':<16}{on_front(task, one)}")
    if found.members:
        lines += [
            f"{'':<16}{says}" for says in ("nothing beats these beyond the noise", reports.KNEE)
        ]
    return lines


def on_front(task: TuningTask, one: Member) -> str:
    """`#4   output_throughput 300 tok/s (+12.0% ± 3.1%), …, measured 2 ×`."""
    each = ", ".join(one.with_gains(reports.values_in_words(task, one.values)))
    return f"#{one.number:<3} {each}, measured {one.measurements} ×"
