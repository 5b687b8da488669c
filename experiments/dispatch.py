"""Who gets GPUs: by priority, then the oldest first, each task within its limit."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from statistics import mean

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from experiments.errors import IllegalMove, MovedElsewhere
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import ENDED, Status, TaskStatus
from gpupool import Lease

LAST = 50  # Experiments that say how long the next one will take
HOLDERS = "experiment:*"  # The pool's pattern for all of them


def waiting() -> list[Experiment]:
    """The experiments that want GPUs now: the higher priority first, then the older."""
    # Only a later attempt can have a pause: the first one depends on nobody's clock
    is_due = Q(attempt=1) | Q(queued_at__lte=timezone.now())
    return list(
        Experiment.objects.filter(is_due, status=Status.PENDING, task__status=TaskStatus.RUNNING)
        .select_related("task")
        .defer("task__specification")  # The longest column, and not needed here
        .order_by("-task__priority", "created_at", "id")
    )


def fill() -> list[Experiment]:
    """Lease GPUs to waiting experiments; return those that are now PLACED."""
    experiments = waiting()
    usual = usual_duration({experiment.task_id for experiment in experiments})
    return [
        experiment
        for experiment in experiments
        if request(experiment, usual.get(experiment.task_id, 0.0))
    ]


def usual_duration(tasks: Collection[int]) -> dict[int, float]:
    """How many seconds an experiment of each task took, if any has ended: the last ones' mean."""
    usual = {}
    for task in tasks:
        ended = Experiment.objects.filter(
            task=task, started_at__isnull=False, finished_at__isnull=False
        )
        # Not all of them: who waits for GPUs must not wait longer because the task is long
        last = ended.order_by("-number").values_list("started_at", "finished_at")[:LAST]
        seconds = [(end - start).total_seconds() for start, end in last if start and end]
        if seconds:
            usual[task] = mean(seconds)
    return usual


def request(experiment: Experiment, expected: float = 0.0) -> bool:
    """Lease this experiment's GPUs, if it is its turn. Safe to call twice at once.

    `expected` is how many seconds it will take, 0: not known.
    """
    lease = gpu_pool().acquire(
        experiment.holder,
        gpus=experiment.gpus,
        min_memory_mb=experiment.min_memory_mb,
        min_host_memory_mb=experiment.min_host_memory_mb,
        group=experiment.task.group,
        group_limit=experiment.task.max_parallel_experiments,
        expected=expected,
        priority=experiment.task.priority,
        # The row's age, not the request's: a pause, or a Redis that lost its data, costs no place
        since=experiment.queued_at.timestamp(),
    )
    return lease is not None and place(experiment, lease)


def take(lease: Lease) -> Experiment | None:
    """Place the experiment that was granted this lease; None when it is not to be run."""
    _, number, _ = lease.holder.split(":")
    experiment = Experiment.objects.select_related("task").filter(pk=number).first()
    if experiment is None:
        gpu_pool().release(lease.id)
        return None
    return experiment if place(experiment, lease) else None


def place(experiment: Experiment, lease: Lease) -> bool:
    """Let the experiment have this lease; whether it is to be started with it now.

    A lease that it cannot use is given back.
    """
    try:
        if experiment.holder != lease.holder:
            raise MovedElsewhere(f"{experiment} is at another attempt")
        with transaction.atomic():
            # The row lock orders this against a pause and a cancel
            task = TuningTask.objects.select_for_update().filter(status=TaskStatus.RUNNING)
            if task.filter(pk=experiment.task_id).first() is None:
                raise MovedElsewhere(f"{experiment}: its task does not run")
            experiment.place(lease)
    except (MovedElsewhere, IllegalMove):
        # Its task was paused, or it was cancelled, or somebody else placed it with this same lease
        give_back_unless_used(experiment, lease)
        return False
    return True


def give_back_unless_used(experiment: Experiment, lease: Lease) -> None:
    """Release a lease, unless it is the one that the experiment has now."""
    row = Experiment.objects.filter(pk=experiment.pk, lease_id=lease.id)
    if not row.exclude(status__in=ENDED).exists():
        gpu_pool().release(lease.id)


def unplace(task: TuningTask) -> None:
    """Let the placed experiments of a paused task wait again, but what a worker has just started.

    The caller withdraws them.
    """
    for experiment in task.experiments.filter(status=Status.PLACED):
        with suppress(MovedElsewhere):
            experiment.put_back("its task is paused")


def withdraw(experiments: Iterable[Experiment]) -> None:
    """Take back what the pool gave, or would give, experiments that are not to be run now."""
    for experiment in experiments:
        granted = gpu_pool().stop_waiting(experiment.holder)
        if granted:
            give_back_unless_used(experiment, granted)
