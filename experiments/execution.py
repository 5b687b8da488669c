"""Runs one experiment on the GPUs of its lease, to the one move that ends it."""

import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from experiments import provenance
from experiments.database import OUTAGES
from experiments.engines.failures import last_lines
from experiments.errors import (
    BadInput,
    CancelRequested,
    ExperimentFailed,
    LeaseGone,
    MovedElsewhere,
)
from experiments.experiment import ATTEMPTS
from experiments.gpu_watch import GpuWatch
from experiments.log_files import tail
from experiments.marks import ProcessId
from experiments.measuring import Measuring
from experiments.models import Experiment
from experiments.pinning import Cores, cores_for
from experiments.pool import gpu_pool, inventory, is_ours
from experiments.processes import CannotStart
from experiments.states import FailureKind, Status
from gpupool import KeepAlive, Lease, NoDriver, PoolUnreachable, doubts

log = logging.getLogger(__name__)

MEMORY_BACK_WITHIN = 20.0  # seconds that an engine of ours may still need to leave a GPU
QUARANTINE = 60.0  # seconds for which a GPU that cannot be used is granted to nobody
SPACE_NEEDED = 100 * 2**20  # bytes for the logs of one experiment: a part of what they may have
PROBE = 64 * 1024  # bytes that can still be written where a disk is not to blame
# What an engine or a load generator may end with when it cannot write
MAY_BE_THE_DISK = frozenset({FailureKind.ENGINE_CRASHED, FailureKind.BENCHMARK_ERRORS})
RETRY_AFTER = timedelta(seconds=5)  # What may pass gets some time for it, four times as long each
DATABASE_RETRY = 1.0  # seconds between tries to write a move


def run(experiment_id: int, lease_id: str) -> Experiment:
    """Run the experiment that was placed under this lease, and give the lease back.

    A message that comes twice, late, or after the lease ended changes nothing.
    """
    experiment = Experiment.objects.select_related("task").get(pk=experiment_id)
    pool = gpu_pool()
    lease = pool.find(lease_id)
    if lease is None or experiment.status != Status.PLACED or experiment.lease_id != lease_id:
        log.info("Experiment %s is not to be run under lease %s", experiment, lease_id)
        return experiment
    try:
        attempt = Attempt(experiment, lease)
        attempt.claim()
    except MovedElsewhere as moved:
        log.info("%s", moved)  # Another worker was first, or it was cancelled: not our lease
        return experiment
    except BadInput as error:  # Saved by another version of ours, for example
        experiment.fail(FailureKind.BAD_FLAG, f"cannot be started here: {error}")
        give_back(lease)
        return experiment
    try:
        # Nobody knows how long ago it was granted: one that has ended must not come back
        with pool.keep_alive(lease, granted_after=-math.inf) as keep_alive:
            attempt.to_the_end(keep_alive)
    finally:
        give_back(lease)
    return experiment


def give_back(lease: Lease) -> None:
    """Release the lease. When Redis is away it ends by itself, within its time to live."""
    try:
        gpu_pool().release(lease.id)
    except PoolUnreachable as error:
        log.warning("Lease %s is not released: %s", lease.id, error)


def cores_of(lease: Lease) -> Cores:
    """The cores for the leased GPUs. Of this node, for one that drains left the pool."""
    try:
        return cores_for(inventory().gpus(), lease.gpus, os.sched_getaffinity(0))
    except NoDriver:
        return Cores()  # The proof before the launch says so


class NodeUnusable(Exception):
    """This node cannot run the experiment now; `doubts` says why, for each of the leased GPUs."""

    def __init__(self, doubts: dict[str, str]) -> None:
        whys = "; ".join(f"{uuid}: {why}" for uuid, why in doubts.items())
        super().__init__(f"its GPUs could not be used: {whys}")
        self.doubts = doubts


class Attempt:
    """One attempt of one experiment, from the claim to the one move that ends it."""

    def __init__(self, experiment: Experiment, lease: Lease) -> None:
        self.experiment = experiment
        self.lease = lease
        self.database_answers = True
        self.has_begun = False  # Until then the configuration had no chance to fail
        self.measuring = Measuring(
            experiment,
            lease,
            cores_of(lease),
            check=self.check,
            move=self.move,
            has_gpus=lambda: not self.keep_alive.lost,
            time_left=lambda: self.deadline - time.monotonic(),
        )

    def claim(self) -> None:
        """Make the experiment this worker's. Raises MovedElsewhere when it is another's."""
        command = self.measuring.command()
        on = provenance.columns(self.experiment, self.lease)
        self.experiment.start(command, worker=str(ProcessId.own()), **on)

    def to_the_end(self, keep_alive: KeepAlive) -> None:
        """Run it, and write how it ended, unless somebody else has moved it meanwhile."""
        self.keep_alive = keep_alive
        self.deadline = time.monotonic() + self.limit
        self.watch = GpuWatch(
            self.experiment,
            self.lease,
            lambda: inventory().readings(self.lease.gpus),
            phase=lambda: self.measuring.where,
            may_write=lambda: not keep_alive.lost,
        )
        try:
            self.to_one_move()
        except MovedElsewhere as moved:
            log.warning("%s: its result is not written", moved)
            self.experiment.refresh_from_db()

    @property
    def limit(self) -> float:
        return self.experiment.task.file.optimization.timeout_per_iteration

    def to_one_move(self) -> None:
        """Every way in which an attempt can end, each as one move."""
        experiment = self.experiment
        try:
            self.prepare_folder()
            self.prove_gpus_free()
            self.has_begun = True
            with self.watch:
                results = self.measuring.results()
            self.check_lease()  # Of one who slept: nobody may have moved the row yet
            self.move(experiment.succeed, **results)
        except ExperimentFailed as failure:
            self.fail(failure)
        except CancelRequested:
            self.move(experiment.cancel)
        except NodeUnusable as problem:
            self.move(experiment.requeue, str(problem), charged=False)
            gpu_pool().refuse(self.lease, problem.doubts, QUARANTINE)
        except LeaseGone as gone:
            # Taken away by a person, or placed too long ago: nothing was wrong with it
            charged = self.has_begun and not self.keep_alive.revoked
            experiment.requeue(str(gone), charged=charged)
        except MovedElsewhere:
            raise
        except CannotStart as error:
            self.fail(ExperimentFailed(FailureKind.ENGINE_CRASHED, str(error)))
        except OSError as error:  # Of a disk, or of a system at its limits: not the configuration
            self.fail(ExperimentFailed(FailureKind.ENGINE_CRASHED, str(error), may_pass=True))
        except BaseException as error:  # A polite shutdown too: it is tried again elsewhere
            self.hand_back(error)
            raise

    def hand_back(self, error: BaseException) -> None:
        """Let it wait again, once: who is asked to stop does not wait for a database."""
        polite = not isinstance(error, Exception)
        why = f"its worker stopped ({type(error).__name__} {error})"
        try:
            self.experiment.requeue(why, charged=not polite)
        except MovedElsewhere as moved:
            log.warning("%s", moved)
        except OUTAGES as away:
            log.warning("%s is found when its lease has ended: %s", self.experiment, away)

    def fail(self, failure: ExperimentFailed) -> None:
        """The end of this attempt; what may be over the next time is tried again."""
        experiment, measuring = self.experiment, self.measuring
        failure = self.excused(failure)
        left = experiment.last_attempt - experiment.attempt
        if failure.may_pass and left > 0:
            pause = RETRY_AFTER * 4 ** max(0, ATTEMPTS - 1 - left)
            seconds = f"{pause.total_seconds():g} s"
            reason = f"{failure.kind}: {failure.message}; it may pass, tried again after {seconds}"
            return self.move(experiment.requeue, reason, pause=pause)
        lines = failure.lines or last_lines(tail(measuring.engine_log))
        return self.move(
            experiment.fail,
            failure.kind,
            failure.message,
            error_lines="\n".join(lines),
            error_may_pass=failure.may_pass,
            error_where=measuring.where,
            reached=measuring.reached,
        )

    def excused(self, failure: ExperimentFailed) -> ExperimentFailed:
        """The failure; it may pass when nothing can be written in the experiment's folder."""
        if failure.kind not in MAY_BE_THE_DISK or failure.may_pass:
            return failure
        probe = self.experiment.folder / "probe"
        try:
            probe.write_bytes(bytes(PROBE))
            probe.unlink()
        except OSError as error:
            message = f"no logs can be written ({error.strerror}): {failure.message}"
            return ExperimentFailed(failure.kind, message, failure.lines, may_pass=True)
        return failure

    def move(self, change: Callable[..., None], *arguments: Any, **columns: Any) -> None:
        """Write a move of the experiment, also when the database is away for a while.

        What was measured is kept for as long as the lease is, and nobody else can have moved the
        experiment: then the error is raised. The experiment's own time stands still meanwhile.
        """
        began = time.monotonic()
        tries = 0
        while True:
            try:
                tries += 1
                if tries == 1 or not self.was_written():
                    change(*arguments, **columns)
                break
            except OUTAGES as error:
                if self.keep_alive.lost:
                    raise
                log.warning("%s waits for the database: %s", self.experiment, error)
                connection.close()  # The next try connects anew
                time.sleep(DATABASE_RETRY)
        self.deadline += time.monotonic() - began

    def was_written(self) -> bool:
        """Whether the move was made, by a connection that broke before it could say so.

        Under our lease nobody else but one who cancels moves the row; it is up to date then.
        """
        experiment, known = self.experiment, self.experiment.status
        now = Experiment.objects.select_related("task").get(pk=experiment.pk)
        if now.lease_id != self.lease.id or now.status in (known, Status.CANCELLED):
            return False
        vars(experiment).update(vars(now))
        return True

    def prepare_folder(self) -> None:
        """Make an empty folder with room for logs. Raises NodeUnusable when there is none."""
        folder = self.experiment.folder
        try:
            # What an earlier database left here must not be read as this attempt's result
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "engine.log").touch()
            free = shutil.disk_usage(folder).free
        except OSError as error:
            why = f"no logs can be written: {error}"
            raise NodeUnusable(dict.fromkeys(self.lease.gpus, why)) from error
        if free < SPACE_NEEDED:
            why = f"{free // 2**20} MiB are free for logs in {settings.LOG_DIR}"
            raise NodeUnusable(dict.fromkeys(self.lease.gpus, why))

    def prove_gpus_free(self) -> None:
        """Raise NodeUnusable when somebody else is on the leased GPUs, or their memory is not
        back."""
        found = doubts(
            inventory(),
            self.lease.gpus,
            self.experiment.min_memory_mb,
            is_ours,
            MEMORY_BACK_WITHIN,
            keep_waiting=self.check,
        )
        if found:
            raise NodeUnusable(found)

    def check_lease(self) -> None:
        """Raise when its GPUs may be another's."""
        if self.keep_alive.lost:
            raise LeaseGone(self.keep_alive.why)

    def check(self) -> None:
        """Raise when the experiment must not go on: lease lost, too late, cancelled."""
        self.check_lease()
        self.watch.keep()
        if time.monotonic() > self.deadline:
            kind, doing = FailureKind.TIMEOUT, "not done"
            if self.experiment.status == Status.DEPLOYING:
                kind, doing = FailureKind.START_TIMEOUT, "not healthy"
            raise ExperimentFailed(kind, f"{doing} after {self.limit:g} s (timeout_per_iteration)")
        try:
            mine = Experiment.objects.filter(pk=self.experiment.pk)
            is_cancelled = mine.filter(cancel_requested=True).exists()
        except OUTAGES as error:
            if self.database_answers:  # Said once, and not several times a second
                log.warning("%s goes on without the database: %s", self.experiment, error)
            self.database_answers = False
            connection.close()  # The next look connects anew
            return
        self.database_answers = True
        if is_cancelled:
            raise CancelRequested
