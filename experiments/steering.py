"""What a person does to a tuning task and its experiments: each one move, and one audit entry.

The row is the truth: it is moved even while Redis is away, and `heal` does the rest when it is
back. What was done already is not done again, and not written down twice.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from experiments import audit, dispatch, planning
from experiments.errors import BadInput, IllegalMove, MovedElsewhere
from experiments.models import Experiment, TuningTask
from experiments.operations import whole_number
from experiments.pool import gpu_pool
from experiments.sections import HIGHEST_PRIORITY
from experiments.states import ENDED, Action, Status, TaskStatus
from experiments.taskfile import from_dict
from experiments.validation import LARGEST
from gpupool import PoolUnreachable

log = logging.getLogger(__name__)

Said = Mapping[str, Any]  # What was written, by field
NO_REDIS = "; Redis does not answer: its GPUs are free when their leases end"


@contextmanager
def one_action(actor: str, action: Action, target: object, detail: str = "") -> Iterator[None]:
    """What is done inside, and its audit entry: both or neither. Raises BadInput for an illegal
    move, and for a row that somebody else has just moved."""
    try:
        with transaction.atomic():
            audit.record(actor, action, target, detail)
            yield
    except (IllegalMove, MovedElsewhere) as error:
        raise BadInput("ID", str(error)) from error


# ── a task ──────────────────────────────────────────────────────────────────────────────────


def start(actor: str, task: TuningTask, said: Said) -> str:
    """Raises BadInput also when this site cannot run the task as it is."""
    if task.status == TaskStatus.PENDING:
        planning.check(task.file, planning.pool_now())
    with one_action(actor, Action.START, task):
        task.start()
    return f"{task} is started"


def pause(actor: str, task: TuningTask, said: Said) -> str:
    if task.status == TaskStatus.PAUSED:
        return f"{task} is paused already"
    with one_action(actor, Action.PAUSE, task):
        task.pause()
    without_redis = take_back(task)
    running = task.experiments.exclude(status__in={*ENDED, Status.PENDING}).count()
    goes_on = f"; {count(running)} on to the end" if running else ""
    return f"{task} is paused, and nothing new starts{goes_on}{without_redis}"


def resume(actor: str, task: TuningTask, said: Said) -> str:
    if task.status == TaskStatus.RUNNING:
        return f"{task} runs already"
    with one_action(actor, Action.RESUME, task):
        task.resume()
    return f"{task} goes on"


def cancel(actor: str, task: TuningTask, said: Said) -> str:
    """The task, or only the experiments that are named."""
    if said.get("experiment"):
        return cancel_experiments(actor, task, named(task, said["experiment"]))
    if task.status == TaskStatus.CANCELLED:
        return f"{task} is cancelled already"
    with one_action(actor, Action.CANCEL, task):
        task.cancel()
    return f"{task} is cancelled{take_back(task)}"


def take_back(task: TuningTask) -> str:
    """Take back what the pool gave a task that does not run; what to say when Redis is away."""
    try:
        dispatch.take_back(task)
    except PoolUnreachable as error:
        log.warning("What %s holds or waits for ends by itself: %s", task, error)
        return NO_REDIS
    return ""


def extend(actor: str, task: TuningTask, said: Said) -> str:
    """A budget that is absolute, so that a second click adds nothing."""
    most = whole_number("number", said["number"])
    before = task.max_experiments
    if task.status == TaskStatus.PENDING:
        raise BadInput("ID", f"{task} is not started; its task file says how many")
    if not before <= most <= LARGEST:
        raise BadInput("number", f"{most} is not between {before}, as now, and {LARGEST}")
    if most == before:
        return f"{task} has a budget of {most} experiments already"
    with one_action(actor, Action.EXTEND, task, f"{before} → {most} experiments"):
        change = task.reopen if task.has_ended else task.change
        change(max_experiments=most)
    return f"{task} tries {most} experiments in all"


def set_priority(actor: str, task: TuningTask, said: Said) -> str:
    priority = whole_number("number", said["number"])
    before = task.priority
    if task.status == TaskStatus.PENDING:
        raise BadInput("ID", f"{task} is not started; its task file says its priority")
    if abs(priority) > HIGHEST_PRIORITY:
        limits = f"-{HIGHEST_PRIORITY} and {HIGHEST_PRIORITY}"
        raise BadInput("number", f"{priority} is not between {limits}")
    if priority != before:
        with one_action(actor, Action.PRIORITY, task, f"{before} → {priority}"):
            task.change(priority=priority)
    return f"{task} has the priority {priority}"


def set_max_parallel(actor: str, task: TuningTask, said: Said) -> str:
    """Change how many experiments may run at once, while they do. Needs Redis."""
    most = whole_number("number", said["number"])
    check_max_parallel(task, most)
    before = task.max_parallel_experiments
    if most != before:
        with one_action(actor, Action.LIMIT, task, f"{before} → {most} experiments at once"):
            task.change(max_parallel_experiments=most)
            gpu_pool().set_limit(task.group, most)
    return f"{task} runs at most {most} experiments at once"


def check_max_parallel(task: TuningTask, most: int) -> None:
    """Raise BadInput when this task may not run so many experiments at once here and now."""
    if task.status == TaskStatus.PENDING:
        raise BadInput("ID", f"{task} is not started; its task file says how many")
    if most < 1:
        raise BadInput("max_parallel_experiments", f"{most} is not 1 or more")
    pool = planning.pool_now()
    if most > planning.parallel_limit(pool):
        optimization = task.file.optimization.model_copy(update={"max_parallel_experiments": most})
        # It raises, and says where the limit is from
        planning.check(task.file.model_copy(update={"optimization": optimization}), pool)


def clone(actor: str, task: TuningTask, said: Said) -> str:
    """A new task with the same file under another name, not started, to be changed as one likes."""
    name = str(said["name"]).strip()
    # Checked as any file is, also the name
    file = from_dict({**task.specification, "task_name": name})
    planning.check_name(file)
    twin = TuningTask(created_by=said.get("user"))
    twin.describe(file)
    with one_action(actor, Action.CLONE, name, f"of {task}"):
        twin.save()
    return f"{name} is a clone of {task}, not started (task {twin.pk})"


# ── experiments ─────────────────────────────────────────────────────────────────────────────


def cancel_experiments(actor: str, task: TuningTask, experiments: Sequence[Experiment]) -> str:
    left = [one for one in experiments if not (one.has_ended or one.cancel_requested)]
    if not left:
        return f"{numbers(experiments)} of {task} has nothing left to cancel"
    with one_action(actor, Action.CANCEL, task, numbers(left)):
        for experiment in left:
            experiment.request_cancel()
    try:
        for experiment in left:
            if experiment.has_ended:  # It waited; what runs is stopped by its worker
                dispatch.give_back(experiment)
    except PoolUnreachable as error:
        log.warning("What %s of %s waits for ends by itself: %s", numbers(left), task, error)
    return f"{numbers(left)} of {task} is cancelled"


def retry(actor: str, task: TuningTask, said: Said) -> str:
    """Experiments wait again as their next attempt: those that are named, or all that failed."""
    if said.get("experiment"):
        experiments = named(task, said["experiment"])
    else:
        experiments = list(task.experiments.filter(status=Status.FAILED))
    if not experiments:
        raise BadInput("ID", f"no experiment of {task} has failed")
    with one_action(actor, Action.RETRY, task, numbers(experiments)):
        task = task.locked()  # Its last experiment may end it at this moment
        if task.has_ended:
            task.reopen()
        for experiment in experiments:
            experiment.retry(f"{actor} wants it tried again")
    waits = "when it is resumed" if task.status == TaskStatus.PAUSED else "as GPUs are free"
    return f"{numbers(experiments)} of {task} is tried again {waits}"


def named(task: TuningTask, text: object) -> list[Experiment]:
    """The experiments of these numbers, as `3` or `3,5`."""
    wanted = [whole_number("experiment", part) for part in str(text).split(",")]
    found = {one.number: one for one in task.experiments.filter(number__in=wanted)}
    for number in wanted:
        if number not in found:
            raise BadInput("experiment", f"{task} has no experiment {number}")
    return [found[number] for number in dict.fromkeys(wanted)]


def numbers(experiments: Sequence[Experiment]) -> str:
    return ", ".join(f"#{experiment.number}" for experiment in experiments)


def count(running: int) -> str:
    return "one experiment goes" if running == 1 else f"{running} experiments go"


# ── the verbs of every door ─────────────────────────────────────────────────────────────────

VERBS: dict[str, Callable[[str, TuningTask, Said], str]] = {
    "start": start,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
    "clone": clone,
    "extend": extend,
    "priority": set_priority,
    "parallel": set_max_parallel,
}


def act(verb: str, actor: str, task: TuningTask, said: Said) -> str:
    """Do it to the task as it is now; what was done, for people. Raises BadInput."""
    task.refresh_from_db()
    return VERBS[verb](actor, task, said)
