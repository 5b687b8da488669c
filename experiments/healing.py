"""What a dead worker, a lost message or an ended lease left undone, made good."""

import logging
from contextlib import suppress
from datetime import timedelta

from django.db import DataError
from django.db.models import Q
from django.utils import timezone

from experiments import dispatch, tuning
from experiments.errors import BadInput, MovedElsewhere
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import LEASED, TASK_ENDED, Status, TaskStatus

log = logging.getLogger(__name__)

RING_AGAIN_AFTER = timedelta(seconds=5)


def end_what_lost_its_lease() -> None:
    """Experiments whose lease has ended wait again, or are cancelled with their task."""
    # The rows first: a lease that is granted after the look at the pool has no row in this list.
    experiments = list(Experiment.objects.filter(status__in=LEASED).select_related("task"))
    pool = gpu_pool().snapshot()
    if pool.opens_in > 0:
        return  # It lost its data, and every holder has still time to say what it holds
    alive = {lease.id for lease in pool.leases}
    for experiment in experiments:
        if experiment.lease_id not in alive:
            try:
                give_back(experiment, f"its lease ended while it was {experiment.status}")
            except MovedElsewhere:
                log.info("Experiment %s moved on by itself", experiment)


def give_back(experiment: Experiment, why: str) -> None:
    """The next attempt of an experiment that nobody runs any more."""
    log.warning("Experiment %s is lost: %s", experiment, why)
    if experiment.cancel_requested or experiment.task.status in TASK_ENDED:
        experiment.cancel()
    else:
        experiment.requeue(why)


def cancel_what_nobody_wants() -> None:
    """Experiments that wait, though they or their task were cancelled in another moment."""
    unwanted = Q(cancel_requested=True) | Q(task__status__in=TASK_ENDED)
    for experiment in Experiment.objects.filter(
        unwanted, status__in=(Status.PENDING, Status.PLACED)
    ):
        try:
            experiment.cancel()
        except MovedElsewhere:
            continue  # A worker was faster, and will see the request
        dispatch.withdraw([experiment])


def hold_back_what_is_paused() -> None:
    """Experiments that are placed though their task is paused: a worker of the version before."""
    paused = TuningTask.objects.filter(
        status=TaskStatus.PAUSED, experiments__status=Status.PLACED
    ).distinct()
    for task in paused:
        dispatch.unplace(task)
        dispatch.withdraw(task.experiments.filter(status=Status.PENDING))


def advance_all() -> None:
    """Bring every running task on. One that cannot go on ends, and holds up no other."""
    for task in TuningTask.objects.filter(status=TaskStatus.RUNNING):
        try:
            tuning.advance(task.pk)
        except (BadInput, DataError, OverflowError) as error:
            log.exception("Task %s cannot go on", task)
            with suppress(MovedElsewhere):  # A person has paused or cancelled it
                task.give_up(f"it cannot go on: {error}")
        except Exception:  # Whatever a strategy raises must not stop the other tasks
            log.exception("Task %s could not be advanced", task)


def placed_but_not_started() -> list[Experiment]:
    """Experiments whose message to the node may have been lost."""
    return list(
        Experiment.objects.filter(
            status=Status.PLACED, placed_at__lt=timezone.now() - RING_AGAIN_AFTER
        )
    )
