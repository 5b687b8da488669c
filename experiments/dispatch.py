"""Who gets GPUs: by priority, then the oldest first, each task within its limit."""

from collections.abc import Collection

from django.db.models import Avg, F, Q

from experiments.errors import IllegalMove, MovedElsewhere
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Status, TaskStatus
from gpupool import Lease

HOLDERS = "experiment:*"  # The pool's pattern for all of them


def waiting() -> list[Experiment]:
    """The experiments that want GPUs now: the higher priority first, then the older."""
    return list(
        Experiment.objects.filter(status=Status.PENDING, task__status=TaskStatus.RUNNING)
        .select_related("task")
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
    """How many seconds an experiment of each task takes, if any has ended."""
    ended = Experiment.objects.filter(
        task__in=tasks, started_at__isnull=False, finished_at__isnull=False
    ).values("task")
    means = ended.annotate(mean=Avg(F("finished_at") - F("started_at"))).order_by()
    return {row["task"]: row["mean"].total_seconds() for row in means}


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
        experiment.place(lease)
    except (MovedElsewhere, IllegalMove):
        # Somebody else placed it, with this same lease, or it was cancelled meanwhile.
        experiment.refresh_from_db()
        if experiment.lease_id != lease.id or experiment.has_ended:
            gpu_pool().release(lease.id)
        return False
    return True


def take_back(task: TuningTask) -> None:
    """Take back what the pool gave, or would give, a task that is paused or was cancelled.

    What a worker has goes on, or is stopped by that worker, which gives its lease back itself.
    """
    for experiment in task.experiments.filter(status=Status.PLACED):
        hold_back(experiment)
    idle = Q(status=Status.PENDING) | Q(status=Status.CANCELLED, started_at=None)
    for experiment in task.experiments.filter(idle):
        give_back(experiment)


def hold_back(experiment: Experiment) -> None:
    """Let a placed experiment of a task that is paused wait again, unless a worker has it."""
    lease_id = experiment.lease_id
    try:
        experiment.requeue("its task is paused")
    except MovedElsewhere:
        return
    gpu_pool().release(lease_id)


def give_back(experiment: Experiment) -> None:
    """Give back what an experiment that will not run holds, or waits for."""
    granted = gpu_pool().stop_waiting(experiment.holder)
    if granted:
        gpu_pool().release(granted.id)
    elif experiment.lease_id:
        gpu_pool().release(experiment.lease_id)
