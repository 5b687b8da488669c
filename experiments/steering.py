"""What a person does to a tuning task and its experiments: each one move, and one audit entry.

The task's row is locked first: of two who click at once, the second finds done what it wanted,
does nothing, and nothing is written down twice. The row is the truth: it is moved even while
Redis is away, and `heal` does the rest when it is back.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from django.db import IntegrityError, transaction

from experiments import audit, dispatch, overruling, planning
from experiments.actions import Done, Said, held, reopen
from experiments.errors import BadInput
from experiments.models import Experiment, TuningTask
from experiments.operations import whole_number, whole_numbers
from experiments.pool import gpu_pool
from experiments.sections import HIGHEST_PRIORITY
from experiments.states import ON_A_WORKER, Action, Status, TaskStatus
from experiments.taskfile import TaskFile, from_dict
from experiments.validation import LARGEST
from gpupool import PoolUnreachable

log = logging.getLogger(__name__)

MOST_LISTED = 20  # numbers of experiments in one sentence


def expect(task: TuningTask, status: TaskStatus, what: str) -> None:
    """Raise BadInput when only a task in another status can be started, paused …"""
    if task.status != status:
        raise BadInput("ID", f"{task} is {task.status}, and only a {status} task {what}")


# ── a task ──────────────────────────────────────────────────────────────────────────────────


def start(actor: str, task: TuningTask, said: Said) -> Done:
    """Raises BadInput also when this site cannot run the task as it is."""
    if task.status == TaskStatus.PENDING:
        planning.check(task.file, planning.pool_now())
    with held(task) as task:
        if task.status == TaskStatus.RUNNING:
            return Done(f"{task} runs already", task)
        expect(task, TaskStatus.PENDING, "can be started")
        audit.record(actor, Action.START, task)
        task.start()
    return Done(f"{task} is started", task)


def pause(actor: str, task: TuningTask, said: Said) -> Done:
    with held(task) as task:
        if task.status == TaskStatus.PAUSED:
            return Done(f"{task} is paused already", task)
        expect(task, TaskStatus.RUNNING, "can be paused")
        audit.record(actor, Action.PAUSE, task)
        task.pause()
        dispatch.unplace(task)
    take_back(task.experiments.filter(status=Status.PENDING))
    running = task.experiments.filter(status__in=ON_A_WORKER).count()
    goes_on = {0: "nothing of it runs", 1: "the experiment that runs goes on to its end"}
    rest = goes_on.get(running, f"the {running} experiments that run go on to their end")
    return Done(f"{task} is paused; {rest}", task)


def resume(actor: str, task: TuningTask, said: Said) -> Done:
    with held(task) as task:
        if task.status == TaskStatus.RUNNING:
            return Done(f"{task} runs already", task)
        expect(task, TaskStatus.PAUSED, "can be resumed")
        audit.record(actor, Action.RESUME, task)
        task.resume()
    return Done(f"{task} goes on", task)


def cancel(actor: str, task: TuningTask, said: Said) -> Done:
    """The task, or only the experiments that are named."""
    if said.get("experiment") is not None:
        return cancel_experiments(actor, task, said["experiment"])
    with held(task) as task:
        if task.status == TaskStatus.CANCELLED:
            return Done(f"{task} is cancelled already", task)
        idle = list(task.experiments.filter(status__in=(Status.PENDING, Status.PLACED)))
        audit.record(actor, Action.CANCEL, task)
        task.cancel()
    take_back(idle)
    return Done(f"{task} is cancelled", task)


def take_back(experiments: Iterable[Experiment]) -> None:
    """Take back what the pool gave those that are not to be run now."""
    try:
        dispatch.withdraw(experiments)
    except PoolUnreachable as error:
        log.warning("What they hold, or wait for, ends by itself: %s", error)


def extend(actor: str, task: TuningTask, said: Said) -> Done:
    """`30` is the budget in all, so that a second click adds nothing; `+10` is ten more."""
    text = str(said["number"]).strip()
    number = whole_number("number", text)
    with held(task) as task:
        before = task.max_experiments
        most = before + number if text.startswith("+") else number
        if task.status == TaskStatus.PENDING:
            raise BadInput("ID", f"{task} is not started; its task file says how many")
        if not before <= most <= LARGEST:
            raise BadInput("number", f"{most} is not between {before}, as now, and {LARGEST}")
        if most == before:
            return Done(f"{task} has a budget of {most} experiments already", task)
        audit.record(actor, Action.EXTEND, task, f"{before} → {most} experiments")
        if task.has_ended:
            reopen(task, max_experiments=most)
        else:
            task.change(max_experiments=most)
    return Done(f"{task} may try {most} experiments in all", task)


def set_priority(actor: str, task: TuningTask, said: Said) -> Done:
    priority = whole_number("number", said["number"])
    if abs(priority) > HIGHEST_PRIORITY:
        limits = f"-{HIGHEST_PRIORITY} and {HIGHEST_PRIORITY}"
        raise BadInput("number", f"{priority} is not between {limits}")
    with held(task) as task:
        if task.status == TaskStatus.PENDING:
            raise BadInput("ID", f"{task} is not started; its task file says its priority")
        if priority != task.priority:
            audit.record(actor, Action.PRIORITY, task, f"{task.priority} → {priority}")
            task.change(priority=priority)
    return Done(f"{task} has the priority {priority}", task)


def set_max_parallel(actor: str, task: TuningTask, said: Said) -> Done:
    """Change how many experiments may run at once, while they do. Needs Redis: else a grant that
    is just made could exceed the new limit."""
    most = whole_number("number", said["number"])
    check_max_parallel(task, most)
    with held(task) as task:
        before = task.max_parallel_experiments
        if most != before:
            audit.record(actor, Action.LIMIT, task, f"{before} → {most} experiments at once")
            task.change(max_parallel_experiments=most)
            gpu_pool().set_limit(task.group, most)
    return Done(f"{task} runs at most {most} experiments at once", task)


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


def change(actor: str, task: TuningTask, said: Said) -> Done:
    """Several of these at once: what the form had when it was opened, and still has, is left alone.

    Somebody else may have changed that meanwhile.
    """
    says = []
    with transaction.atomic():  # All or nothing; what needs Redis is the last
        for name, verb in CHANGES.items():
            if name in said and said[name] != said.get(f"{name}_before"):
                says.append(verb(actor, task, {"number": said[name]}).says)
    return Done("; ".join(says) or f"{task} is as it was", task)


def clone(actor: str, task: TuningTask, said: Said) -> Done:
    """A new task with the same file under another name; not started, unless that is said too."""
    # Checked as any file is, also the name
    file = from_dict({**task.specification, "task_name": str(said["name"]).strip()})
    if said.get("start"):
        planning.check(file, planning.pool_now())
    twin = TuningTask(created_by=said.get("user"))
    twin.describe(file)
    with held(task) as task:
        if (same := untouched_clone(file)) and not said.get("start"):
            return Done(f"{same} is a clone of {task} already, not started (task {same.pk})", same)
        planning.check_name(file)
        audit.record(actor, Action.CLONE, twin, f"of {task}")
        try:
            twin.save()
        except IntegrityError as error:  # Somebody else's new task has just taken the name
            problem = f"there is a task {twin.name!r} already; choose another"
            raise BadInput("task_name", problem) from error
    if said.get("start"):
        start(actor, twin, said)
        return Done(f"{twin} is a clone of {task}, and is started (task {twin.pk})", twin)
    return Done(f"{twin} is a clone of {task}, not started (task {twin.pk})", twin)


def untouched_clone(file: TaskFile) -> TuningTask | None:
    """What the first of two clicks has made."""
    same = TuningTask.objects.filter(name=file.task_name, status=TaskStatus.PENDING).first()
    return same if same is not None and same.specification == file.to_dict() else None


# ── experiments ─────────────────────────────────────────────────────────────────────────────


def cancel_experiments(actor: str, task: TuningTask, text: object) -> Done:
    """What waits is cancelled at once; what runs is stopped by its worker within seconds."""
    with held(task) as task:
        chosen = named(task, text)
        refuse(chosen, {Status.SUCCESS, Status.FAILED}, "can be cancelled no more")
        left = [one for one in chosen if not (one.has_ended or one.cancel_requested)]
        if not left:
            return Done(f"{numbers(chosen)} of {task} is cancelled already", task)
        audit.record(actor, Action.CANCEL, task, numbers(left))
        for experiment in left:
            experiment.request_cancel()
            experiment.refresh_from_db()
        refuse(left, {Status.SUCCESS, Status.FAILED}, "has just ended")
    take_back(one for one in left if one.has_ended)
    return Done(f"{numbers(left)} of {task} is cancelled", task)


def retry(actor: str, task: TuningTask, said: Said) -> Done:
    """Experiments wait again as their next attempt: those that are named, or all that failed."""
    with held(task) as task:
        if said.get("experiment") is None:
            chosen = list(task.experiments.filter(status=Status.FAILED))
        else:
            chosen = named(task, said["experiment"])
        if not chosen:
            raise BadInput("ID", f"no experiment of {task} has failed")
        refuse(chosen, {Status.SUCCESS}, "has a result, and is not tried again")
        ended = [one for one in chosen if one.has_ended]
        if not ended:
            return Done(f"{numbers(chosen)} of {task} has not ended", task)
        audit.record(actor, Action.RETRY, task, numbers(ended))
        if task.has_ended:
            reopen(task)
        for experiment in ended:
            experiment.retry(f"{actor} wants it tried again")
    when = "when the task is resumed" if task.status == TaskStatus.PAUSED else "as GPUs are free"
    return Done(f"{numbers(ended)} of {task} is tried again {when}", task)


def named(task: TuningTask, text: object) -> list[Experiment]:
    """The experiments of these numbers: `3`, `3,5`, or a list of them."""
    wanted = whole_numbers("experiment", text)
    found = {one.number: one for one in task.experiments.filter(number__in=wanted)}
    for number in wanted:
        if number not in found:
            raise BadInput("experiment", f"{task} has no experiment {number}")
    return [found[number] for number in wanted]


def refuse(experiments: Sequence[Experiment], statuses: set[Status], why: str) -> None:
    """Raise BadInput when one of these is there."""
    for one in experiments:
        if one.status in statuses:
            raise BadInput("experiment", f"#{one.number} is {one.status}: it {why}")


def numbers(experiments: Sequence[Experiment]) -> str:
    listed = ", ".join(f"#{experiment.number}" for experiment in experiments[:MOST_LISTED])
    more = len(experiments) - MOST_LISTED
    return f"{listed} and {more} more" if more > 0 else listed


# ── the verbs of every door ─────────────────────────────────────────────────────────────────

CHANGES = {"budget": extend, "priority": set_priority, "parallel": set_max_parallel}
VERBS: dict[str, Callable[[str, TuningTask, Said], Done]] = {
    "start": start,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
    "clone": clone,
    "extend": extend,
    "priority": set_priority,
    "parallel": set_max_parallel,
    "change": change,
    "overrule": overruling.overrule,
}


def act(verb: str, actor: str, task: TuningTask, said: Said) -> Done:
    """Do it to the task as it is now.

    Raises BadInput, and PoolUnreachable for what cannot be done without Redis.
    """
    task.refresh_from_db()
    return VERBS[verb](actor, task, said)
