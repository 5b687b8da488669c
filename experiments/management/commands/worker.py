"""Put this host's GPUs into the pool and run the experiments that are placed on it."""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from experiments import dispatch, jobs
from experiments.errors import BadInput
from experiments.pool import gpu_pool, inventory
from experiments.processes import resident_mb
from experiments.services import Service, ServiceFailed, celery_worker
from experiments.shell import ShellCommand
from gpupool import NoDriver, PoolUnreachable, host_memory_mb

log = logging.getLogger("experiments.worker")

PUBLISH_EVERY = 2.0  # seconds


class Command(ShellCommand):
    help = (
        "Run on each GPU host: puts its GPUs (GPUPOOL_INVENTORY) into the pool under the name "
        "AUTOTUNER_NODE and runs the experiments placed on it, until Ctrl-C or SIGTERM."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            gpus = inventory().gpus()
        except (ValueError, NoDriver) as error:
            raise BadInput("GPUPOOL_INVENTORY", str(error)) from error
        pool = gpu_pool()
        pool.publish(settings.NODE, gpus, host_memory_mb(0))
        self.services: list[Service] = []
        self.processes = 0
        self.make_room(max(1, len(gpus)))
        listener = threading.Thread(target=take_grants, args=(stop,), daemon=True)
        listener.start()
        self.stdout.write(f"node {settings.NODE}: {len(gpus)} GPUs in the pool")
        try:
            while not stop.wait(PUBLISH_EVERY):
                for service in self.services:
                    service.keep_running()
                try:
                    gpus = inventory().gpus()
                    self.make_room(len(gpus))
                    ours = resident_mb(pid for one in self.services for pid in one.descendants())
                    pool.publish(settings.NODE, gpus, host_memory_mb(ours))
                except (PoolUnreachable, NoDriver) as error:
                    log.warning("The pool was not told of this node's GPUs: %s", error)
        except ServiceFailed as error:
            raise CommandError(str(error)) from error
        finally:
            stop.set()
            try:
                pool.withdraw_node(settings.NODE)  # First: what is handed back goes elsewhere
            except PoolUnreachable as error:
                log.warning("This node's GPUs are still in the pool: %s", error)
            for service in self.services:
                service.stop()

    def make_room(self, gpus: int) -> None:
        """One worker process for each GPU, also for those that were added or split later.

        Experiments spend their time in child processes; a process that has nothing to do costs
        only its memory.
        """
        if gpus > self.processes:
            name = f"node{len(self.services) or ''}"
            queue = jobs.queue_of(settings.NODE)
            more = gpus - self.processes
            service = Service(
                f"experiments{len(self.services) or ''}", celery_worker(name, queue, more)
            )
            self.services.append(service)
            self.processes = gpus
            service.start()


def take_grants(stop: threading.Event) -> None:
    """Start what is granted on this node, as soon as it is; what is missed here, `heal` finds."""
    for lease in gpu_pool().grants(dispatch.HOLDERS, stop, at_least_every=60.0):
        if lease is None or lease.node != settings.NODE:
            continue
        try:
            jobs.take(lease)
        except (DatabaseError, PoolUnreachable) as error:
            log.warning("Lease %s is left to be found: %s", lease.id, error)
            connection.close()  # The next one connects anew
