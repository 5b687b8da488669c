"""Put this host's GPUs into the pool and run the experiments that are placed on it."""

import logging
import math
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection

from experiments import dispatch, jobs, operations, orphans
from experiments.errors import BadInput
from experiments.models import Experiment
from experiments.pool import gpu_pool, inventory
from experiments.processes import resident_mb
from experiments.services import Service, ServiceFailed, celery_worker
from experiments.shell import ShellCommand
from experiments.states import LEASED
from gpupool import NoDriver, PoolUnreachable, host_memory_mb

log = logging.getLogger("experiments.worker")

PUBLISH_EVERY = 2.0  # seconds
POOL_WITHIN = 60.0  # seconds in which Redis must answer at the start
DRAIN = (
    "on Ctrl-C or SIGTERM take nothing new, and let end what runs or was placed here, for at most "
    "TIME (90s, 30m, 2h; without it as long as it takes); what is left then, or at a second "
    "signal, is handed back"
)


class Command(ShellCommand):
    help = (
        "Run on each GPU host: puts its GPUs (GPUPOOL_INVENTORY) into the pool under the name "
        "AUTOTUNER_NODE and runs the experiments placed on it, until Ctrl-C or SIGTERM. What runs "
        "then is handed back at once, and runs again elsewhere."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_drain(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        patience = seconds_to_drain(options["drain"])
        self.stop, self.at_once = threading.Event(), threading.Event()
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(
                number, lambda *_: (self.at_once if self.stop.is_set() else self.stop).set()
            )
        try:
            gpus = inventory().gpus()
        except (ValueError, NoDriver) as error:
            raise BadInput("GPUPOOL_INVENTORY", str(error)) from error
        self.orphans = orphans.Orphans()
        self.orphans.end_all()  # First: they are on the GPUs that we offer
        self.services: list[Service] = []
        self.processes = 0
        self.offer_first()
        self.make_room(max(1, len(gpus)))
        listener = threading.Thread(target=take_grants, args=(ended,), daemon=True)
        listener.start()
        self.stdout.write(f"node {settings.NODE}: {len(gpus)} GPUs in the pool")
        try:
            while not self.stop.wait(PUBLISH_EVERY):
                self.look_after()
                self.offer()
            self.drain(patience)
        except ServiceFailed as error:
            raise CommandError(str(error)) from error
        finally:
            ended.set()
            self.withdraw()  # First: what is handed back goes elsewhere
            for service in self.services:
                service.stop()

    # ── the pool ────────────────────────────────────────────────────────────────────────────

    def offer_first(self) -> None:
        """Put the GPUs into the pool; Redis may be starting, with all that it has to read."""
        give_up = time.monotonic() + POOL_WITHIN
        while not self.stop.is_set():
            try:
                return gpu_pool().publish(settings.NODE, inventory().gpus(), host_memory_mb(0))
            except PoolUnreachable as error:
                if time.monotonic() > give_up:
                    raise
                log.warning("The pool is not there yet: %s", error)
            self.stop.wait(1)
        return None

    def offer(self) -> None:
        """Say which GPUs there are now, and have a worker process for each."""
        try:
            gpus = inventory().gpus()
            self.make_room(len(gpus))
            ours = resident_mb(pid for one in self.services for pid in one.descendants())
            gpu_pool().publish(settings.NODE, gpus, host_memory_mb(ours))
        except (PoolUnreachable, NoDriver) as error:
            log.warning("The pool was not told of this node's GPUs: %s", error)

    def withdraw(self) -> None:
        try:
            gpu_pool().withdraw_node(settings.NODE)
        except PoolUnreachable as error:
            log.warning("This node's GPUs are still in the pool: %s", error)

    # ── what runs here ──────────────────────────────────────────────────────────────────────

    def look_after(self) -> None:
        """Start again what died, and make good what died with it."""
        for service in self.services:
            service.keep_running()
        for experiment in self.orphans.look():
            jobs.announce(experiment.task_id)

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

    def drain(self, seconds: float) -> None:
        """Take nothing new, and let what is here come to its end, for at most so long."""
        if not seconds:
            return
        self.withdraw()
        self.stdout.write("takes nothing new; waits for what runs here")
        give_up = time.monotonic() + seconds
        while is_busy() and not self.at_once.wait(PUBLISH_EVERY / 2):
            if time.monotonic() > give_up:
                log.warning("It has not ended in time, and is handed back")
                return
            self.look_after()


def add_drain(parser: CommandParser) -> None:
    """The option, for every command that runs experiments here."""
    parser.add_argument("--drain", nargs="?", const="", metavar="TIME", help=DRAIN)


def seconds_to_drain(text: str | None) -> float:
    """For how long; 0 without the option."""
    if text is None:
        return 0.0
    return operations.duration(text, "--drain") or math.inf


def is_busy() -> bool:
    """Whether experiments run here, or have GPUs of this node. Who cannot be asked says yes."""
    try:
        here = Experiment.objects.filter(node=settings.NODE, status__in=LEASED)
        # A lease that was granted a moment ago has no row yet
        return here.exists() or any(
            lease.node == settings.NODE and lease.holder.startswith("experiment:")
            for lease in gpu_pool().leases()
        )
    except (DatabaseError, PoolUnreachable) as error:
        log.warning("It is not known what runs here: %s", error)
        connection.close()
        return True


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
