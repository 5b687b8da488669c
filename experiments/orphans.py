"""What a dead worker process has left on this node: processes that still run, rows nobody moves."""

import logging
import time

import psutil
from django.conf import settings
from django.db import DatabaseError, connection

from experiments import healing
from experiments.errors import IllegalMove, MovedElsewhere
from experiments.marks import Mark, ProcessId, marked
from experiments.models import Experiment
from experiments.pool import gpu_pool, site
from experiments.states import ON_A_WORKER
from gpupool import PoolUnreachable

log = logging.getLogger(__name__)

KEEPER_HAS = 1.5  # seconds: a keeper that lives ends all of its own within them, marked or not
LOOK_EVERY = 0.2  # seconds, at the start
START_WITHIN = 10.0  # seconds: a process in uninterruptible sleep must not keep a node out


class Orphans:
    """The processes of this service on this node whose owner is dead, from look to look."""

    def __init__(self) -> None:
        self._since: dict[ProcessId, float] = {}

    def end(self) -> set[str]:
        """Kill those that their keepers have left; the holders of all that were still there.

        Not by name: only what carries this site's mark, of an owner that has ended for sure.
        """
        found = {process: mark for process, mark in marked() if is_orphan(mark)}
        now = time.monotonic()
        self._since = {process: self._since.get(process, now) for process in found}
        for process, since in self._since.items():
            if now - since >= KEEPER_HAS:
                log.warning("Killing %s", description(process, found[process]))
                process.kill()
        return {mark.holder for mark in found.values()}

    def end_all(self) -> None:
        """Look until none is left: for a node that is about to offer its GPUs."""
        give_up = time.monotonic() + START_WITHIN
        while left := self.end():
            if time.monotonic() > give_up:
                log.error("Processes of %s cannot be killed", ", ".join(sorted(left)))
                return
            time.sleep(LOOK_EVERY)

    def look(self) -> list[Experiment]:
        """End orphans, and let the experiments wait again of which nothing lives any more.

        Returns those; their GPUs are free.
        """
        try:
            # Before the look at the processes: a worker that dies in between is for the next time
            lost = abandoned()
            still_there = self.end()
            return [one for one in lost if one.holder not in still_there and give_back(one)]
        except DatabaseError as error:
            log.warning("Abandoned experiments are looked for again later: %s", error)
            connection.close()  # The next look connects anew
            self.end()
            return []


def is_orphan(mark: Mark) -> bool:
    """Whether it is this site's, and its owner is dead."""
    return mark.site == site() and mark.owner.is_dead()


def description(process: ProcessId, mark: Mark) -> str:
    """What is killed, and why, for the log."""
    try:
        name = psutil.Process(process.pid).name()
    except psutil.Error:
        name = "?"
    return f"process {process.pid} ({name}) of {mark.holder}: its worker {mark.owner} is dead"


def abandoned() -> list[Experiment]:
    """The experiments of this node whose worker process is dead.

    Those of a node that is itself lost are found when their leases end.
    """
    experiments = Experiment.objects.filter(node=settings.NODE, status__in=ON_A_WORKER)
    return [
        experiment
        for experiment in experiments.select_related("task")
        if (worker := ProcessId.parse(experiment.worker)) and worker.is_dead()
    ]


def give_back(experiment: Experiment) -> bool:
    """Let it wait again, and free its GPUs; False when it had moved: its worker was faster."""
    lease_id = experiment.lease_id
    try:
        healing.give_back(experiment, "its worker process died")
    except (MovedElsewhere, IllegalMove) as moved:
        log.info("%s", moved)
        return False
    try:
        gpu_pool().release(lease_id)
    except PoolUnreachable as error:
        log.warning("Lease %s is left to its end: %s", lease_id, error)
    return True
