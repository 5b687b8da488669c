"""Every Celery job on one screen. A job looks up, calls one verb, and rings the next one."""

import logging
from typing import Any

from celery import current_app, shared_task
from celery.signals import worker_process_init
from django.db import DatabaseError
from kombu.exceptions import OperationalError

from experiments import dispatch, execution, healing, tuning
from experiments.models import Experiment
from experiments.pool import gpu_pool
from gpupool import Lease, PoolUnreachable

log = logging.getLogger(__name__)


def queue_of(node: str) -> str:
    """The queue of the experiments that are placed on one node."""
    return f"node.{node}"


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Connect a fresh worker process to everything, so that its first job need not."""
    try:
        list(Experiment.objects.select_related("task")[:1])
        connect()
    except (DatabaseError, PoolUnreachable) as error:
        log.warning("A worker process starts without its connections: %s", error)


def connect() -> None:
    """Connect this process to pool and broker. Raises PoolUnreachable when Redis is away."""
    gpu_pool().time()
    try:
        with current_app.producer_or_acquire() as producer:
            producer.connection.ensure_connection(max_retries=1)
    except OperationalError as error:
        raise PoolUnreachable(str(error)) from error


@shared_task
def advance_task(task_id: int) -> None:
    """Ask the strategy for what is next, then look for GPUs."""
    tuning.advance(task_id)
    fill_gpus()


@shared_task
def fill_gpus() -> None:
    """Lease free GPUs to waiting experiments and ring their nodes."""
    for experiment in dispatch.fill():
        ring(experiment)


def take(lease: Lease) -> None:
    """Start the experiment that was waiting and has this lease now."""
    experiment = dispatch.take(lease)
    if experiment is not None:
        ring(experiment)


@shared_task(ignore_result=False)
def run_experiment(experiment_id: int, lease_id: str) -> dict[str, Any]:
    """Run one experiment on this node; its outcome is kept as the job's result."""
    experiment = execution.run(experiment_id, lease_id)
    advance_task.delay(experiment.task_id)
    return {
        "experiment": str(experiment),
        "status": experiment.status,
        "objective_score": experiment.objective_score,
        "error": experiment.error_message,
    }


@shared_task
def heal() -> None:
    """Make good what a dead worker, a lost message or an ended lease left undone."""
    healing.end_what_lost_its_lease()
    healing.cancel_what_nobody_wants()
    healing.hold_back_what_is_paused()
    for experiment in healing.placed_but_not_started():
        ring(experiment)
    healing.advance_all()
    fill_gpus()


def announce(task_id: int) -> bool:
    """Have a task looked at now; whether that could be said. If not, `heal` finds it."""
    try:
        with current_app.producer_or_acquire() as producer:
            # A person waits: no second thoughts about a broker that is away
            producer.connection.ensure_connection(max_retries=1, interval_start=0)
            advance_task.apply_async((task_id,), producer=producer)
    except Exception as error:  # Whatever the broker raises, the row is already committed
        log.info("Task %s is found by itself, it could not be announced: %s", task_id, error)
        return False
    return True


def ring(experiment: Experiment) -> None:
    """Tell the experiment's node to run it. A lost message is rung again by `heal`."""
    arguments = (experiment.pk, experiment.lease_id)
    try:
        run_experiment.apply_async(arguments, queue=queue_of(experiment.node))
    except OperationalError as error:
        log.warning("Experiment %s is rung again later: %s", experiment, error)
