"""Put this host's GPUs into the pool and run the experiments that are placed on it."""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from experiments import jobs
from experiments.errors import BadInput
from experiments.pool import gpu_pool
from experiments.services import Service, ServiceFailed, celery_worker
from experiments.shell import ShellCommand
from gpupool import NoDriver, PoolUnreachable, open_inventory

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
            inventory = open_inventory(settings.GPUPOOL_INVENTORY, settings.NODE)
            gpus = inventory.gpus()
        except (ValueError, NoDriver) as error:
            raise BadInput("GPUPOOL_INVENTORY", str(error)) from error
        pool = gpu_pool()
        pool.publish(settings.NODE, gpus)
        # Experiments spend their time in child processes: one worker process for each GPU.
        queue = jobs.queue_of(settings.NODE)
        service = Service("experiments", celery_worker("node", queue, max(1, len(gpus))))
        service.start()
        self.stdout.write(f"node {settings.NODE}: {len(gpus)} GPUs in the pool")
        try:
            while not stop.wait(PUBLISH_EVERY):
                service.keep_running()
                try:
                    pool.publish(settings.NODE, inventory.gpus())
                except (PoolUnreachable, NoDriver) as error:
                    log.warning("The pool was not told of this node's GPUs: %s", error)
        except ServiceFailed as error:
            raise CommandError(str(error)) from error
        finally:
            try:
                pool.withdraw_node(settings.NODE)  # First: what is handed back goes elsewhere
            except PoolUnreachable as error:
                log.warning("This node's GPUs are still in the pool: %s", error)
            service.stop()
