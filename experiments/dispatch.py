"""Who gets GPUs: the oldest waiting experiment first, each task within its limit."""

from experiments.errors import MovedElsewhere
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Status, TaskStatus


def waiting() -> list[Experiment]:
    """The experiments that want GPUs now, oldest first."""
    return list(
        Experiment.objects.filter(status=Status.PENDING, task__status=TaskStatus.RUNNING)
        .select_related("task")
        .order_by("created_at", "id")
    )


def fill() -> list[Experiment]:
    """Lease GPUs to waiting experiments; return those that are now PLACED."""
    return [experiment for experiment in waiting() if place(experiment)]


def place(experiment: Experiment) -> bool:
    """Lease this experiment's GPUs, if it is its turn. Safe to call twice at once."""
    pool = gpu_pool()
    lease = pool.acquire(
        experiment.holder,
        gpus=experiment.gpus,
        min_memory_mb=experiment.min_memory_mb,
        group=experiment.task.group,
        group_limit=experiment.task.max_parallel_experiments,
    )
    if lease is None:
        return False
    try:
        experiment.place(lease)
    except MovedElsewhere:
        # Somebody else placed it, with this same lease, or it was cancelled meanwhile.
        experiment.refresh_from_db()
        if experiment.lease_id != lease.id or experiment.has_ended:
            pool.release(lease.id)
        return False
    return True


def cancel(task: TuningTask) -> None:
    """Cancel a task and give back what its waiting experiments hold or wait for.

    What runs is stopped by its worker, which gives its lease back itself.
    Raises IllegalMove when the task has ended, MovedElsewhere when it just did.
    """
    idle = list(task.experiments.filter(status__in=(Status.PENDING, Status.PLACED)))
    task.cancel()
    for experiment in Experiment.objects.filter(
        pk__in=[e.pk for e in idle], status=Status.CANCELLED
    ):
        give_back(experiment)


def give_back(experiment: Experiment) -> None:
    """Give back what an experiment that will not run holds, or waits for."""
    gpu_pool().stop_waiting(experiment.holder)
    if experiment.lease_id:
        gpu_pool().release(experiment.lease_id)
