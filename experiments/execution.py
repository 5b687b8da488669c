"""Runs one experiment on the GPUs of its lease: start, measure, score, clean up."""

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from experiments import launching, scoring
from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.base import Level, Load, Metrics
from experiments.engines import ENGINES
from experiments.engines.job import read_metrics
from experiments.errors import (
    BadInput,
    CancelRequested,
    ExperimentFailed,
    LeaseGone,
    MovedElsewhere,
)
from experiments.health import is_healthy
from experiments.marks import Mark, ProcessId, clean_environment
from experiments.models import Experiment
from experiments.objectives import parse_objective
from experiments.pool import gpu_pool, inventory, is_ours, site
from experiments.processes import Process, reserve_port, tail
from experiments.states import FailureKind, Status
from gpupool import KeepAlive, Lease, NoDriver, PoolUnreachable, doubts

log = logging.getLogger(__name__)

CHECK_EVERY = 0.25  # seconds between looks at cancel, lease and timeout
MEMORY_BACK_WITHIN = 20.0  # seconds that an engine of ours may still need to leave a GPU
QUARANTINE = 60.0  # seconds for which a GPU that cannot be used is granted to nobody
STOP_GRACE = 2.0  # seconds from SIGTERM to SIGKILL, so that a cancel is done within 5 s


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


def cores_of(lease: Lease) -> set[int]:
    """The cores that belong to the leased GPUs. Of this node, for one that drains left the pool."""
    try:
        return {core for gpu in inventory().gpus() if gpu.uuid in lease.gpus for core in gpu.cores}
    except NoDriver:
        return set()  # The proof before the launch says so


class GpusInUse(Exception):
    """Leased GPUs that cannot be used; `doubts` says why, by GPU."""

    def __init__(self, doubts: dict[str, str]) -> None:
        super().__init__("; ".join(f"{uuid}: {why}" for uuid, why in doubts.items()))
        self.doubts = doubts


class Attempt:
    """One attempt of one experiment. It owns every process that it starts."""

    def __init__(self, experiment: Experiment, lease: Lease) -> None:
        self.experiment = experiment
        self.lease = lease
        self.file = experiment.task.file
        self.port = reserve_port()
        self.cores = cores_of(lease)

    def claim(self) -> None:
        """Make the experiment this worker's. Raises MovedElsewhere when it is another's."""
        self.experiment.start(
            launching.command_of(
                self.file,
                self.experiment.parameters,
                port=self.port,
                gpus=len(self.lease.gpus),
                executables=settings.ENGINE_EXECUTABLES,
            ),
            worker=str(ProcessId.own()),
        )

    def to_the_end(self, keep_alive: KeepAlive) -> None:
        """Run it, and write how it ended, unless somebody else has moved it meanwhile."""
        self.keep_alive = keep_alive
        self.deadline = time.monotonic() + self.file.optimization.timeout_per_iteration
        try:
            self.to_one_move()
        except MovedElsewhere as moved:
            log.warning("%s: its result is not written", moved)
            self.experiment.refresh_from_db()

    def to_one_move(self) -> None:
        """Every way in which an attempt can end, each as one move."""
        experiment = self.experiment
        try:
            # What an earlier database left here must not be read as this attempt's result
            shutil.rmtree(experiment.folder, ignore_errors=True)
            experiment.folder.mkdir(parents=True)
            self.prove_gpus_free()
            results = self.run_job() if self.file.base_runtime == "job" else self.run_engine()
            self.check_lease()  # Of one who slept: nobody may have moved the row yet
            experiment.succeed(**results)
        except ExperimentFailed as failure:
            experiment.fail(failure.kind, failure.message)
        except CancelRequested:
            experiment.cancel()
        except GpusInUse as problem:
            experiment.requeue(f"its GPUs could not be used: {problem}", charged=False)
            gpu_pool().refuse(self.lease, problem.doubts, QUARANTINE)
        except LeaseGone as gone:
            # Taken away by a person, nothing was wrong with it
            experiment.requeue(str(gone), charged=not self.keep_alive.revoked)
        except MovedElsewhere:
            raise
        except OSError as error:
            experiment.fail(FailureKind.ENGINE_CRASHED, str(error))
        except BaseException as error:  # A polite shutdown too: it is tried again elsewhere
            polite = not isinstance(error, Exception)
            experiment.requeue(
                f"its worker stopped ({type(error).__name__} {error})", charged=not polite
            )
            raise

    def prove_gpus_free(self) -> None:
        """Raise GpusInUse when somebody else is on the leased GPUs, or their memory is not back."""
        found = doubts(
            inventory(),
            self.lease.gpus,
            self.experiment.min_memory_mb,
            is_ours,
            MEMORY_BACK_WITHIN,
            keep_waiting=self.check,
        )
        if found:
            raise GpusInUse(found)

    def check_lease(self) -> None:
        """Raise when its GPUs may be another's."""
        if self.keep_alive.lost:
            raise LeaseGone(self.keep_alive.why)

    def check(self) -> None:
        """Raise when the experiment must not go on: lease lost, too late, cancelled."""
        self.check_lease()
        if time.monotonic() > self.deadline:
            kind, doing = FailureKind.TIMEOUT, "not done"
            if self.experiment.status == Status.DEPLOYING:
                kind, doing = FailureKind.START_TIMEOUT, "not healthy"
            limit = self.file.optimization.timeout_per_iteration
            raise ExperimentFailed(kind, f"{doing} after {limit:g} s (timeout_per_iteration)")
        try:
            mine = Experiment.objects.filter(pk=self.experiment.pk)
            if mine.filter(cancel_requested=True).exists():
                raise CancelRequested
        except (OperationalError, InterfaceError) as error:
            log.warning("The database does not answer: %s", error)
            connection.close()  # The next look connects anew

    # ── an engine under a benchmark ─────────────────────────────────────────────────────────

    def run_engine(self) -> dict[str, Any]:
        """Start the engine, measure every load level, and score what was measured."""
        with self.running_engine() as engine:
            self.wait_until_healthy(engine)
            self.experiment.begin_benchmark()
            levels = [
                scoring.LevelResult(level.label, self.measure(engine, level, index))
                for index, level in enumerate(self.file.levels())
            ]
        score = scoring.score(
            levels,
            parse_objective(self.file.optimization.objective),
            self.file.slo,
            gpus=len(self.lease.gpus),
            max_error_rate=self.file.benchmark.max_error_rate,
            per_gpu=self.file.per_gpu,
        )
        verdicts = {verdict.label: asdict(verdict) for verdict in score.levels}
        return {
            "metrics": scoring.overall(levels),
            "levels": [{**verdicts[level.label], "metrics": level.metrics} for level in levels],
            "objective_value": score.value,
            "objective_score": score.objective_score,
            "feasible": score.feasible,
            "holds_at": score.holds_at or "",
        }

    def running_engine(self) -> AbstractContextManager[Process]:
        own = launching.own_environment(self.file, self.experiment.parameters)
        return self.running(self.experiment.command, "engine.log", self.cores, own)

    @contextmanager
    def running(
        self, argv: list[str], log_name: str, cores: set[int], own: Mapping[str, str] | None = None
    ) -> Iterator[Process]:
        """A child process with its `own` variables and the lease's, pinned to `cores` if any.

        At the end it is stopped with all its children.
        """
        environment = {
            **clean_environment(
                settings.ENVIRONMENT, Mark(site(), ProcessId.own(), self.experiment.holder)
            ),
            **(own or {}),
            **launching.lease_environment(self.lease.gpus, self.cores, self.port, own or {}),
        }
        log_file = self.experiment.folder / log_name
        process = Process.start(argv, log=log_file, env=environment, cores=cores)
        try:
            yield process
        finally:
            # Without the lease its GPUs may be another's at any moment
            process.stop(0 if self.keep_alive.lost else STOP_GRACE)

    def wait_until_healthy(self, engine: Process) -> None:
        path = ENGINES[self.file.base_runtime].health_path
        while not is_healthy(self.port, path, engine.descendants()):
            self.check()
            if engine.wait(CHECK_EVERY) is not None:
                raise self.engine_failure(engine)

    def measure(self, engine: Process, level: Level, index: int) -> Metrics:
        """One load level, measured by its own process on cores that are not the engine's."""
        benchmark = BENCHMARKS[self.file.benchmark.generator]
        report = self.experiment.folder / f"level-{index + 1}.json"
        elsewhere = os.sched_getaffinity(0) - self.cores if self.cores else set()
        argv = benchmark.argv(self.load(level, index), report)
        with self.running(argv, f"level-{index + 1}.log", elsewhere) as generator:
            while (exit_code := generator.wait(CHECK_EVERY)) is None:
                self.check()
                if engine.poll() is not None:
                    raise self.engine_failure(engine)
        if engine.poll() is not None:
            raise self.engine_failure(engine)
        if exit_code != 0 and not report.exists():
            last = tail(self.experiment.folder / f"level-{index + 1}.log").strip()[-300:]
            raise ExperimentFailed(
                FailureKind.BENCHMARK_ERRORS,
                f"{level.label}: the load generator ended with {exit_code}: {last}",
            )
        try:
            return benchmark.read(report)
        except ExperimentFailed as failure:
            raise ExperimentFailed(failure.kind, f"{level.label}: {failure.message}") from None

    def load(self, level: Level, index: int) -> Load:
        benchmark = self.file.benchmark
        return benchmark.load(
            level,
            # The same requests for every configuration, other ones at every level
            seed=self.file.optimization.seed * 1000 + index,
            url=f"http://127.0.0.1:{self.port}",
            model=self.file.served_name(),
            model_path=benchmark.model_tokenizer or self.file.model.id_or_path,
            executable=launching.vllm_of(self.file, settings.ENGINE_EXECUTABLES),
        )

    def engine_failure(self, engine: Process) -> ExperimentFailed:
        explanation = ENGINES[self.file.base_runtime].explain(
            engine.poll(), tail(self.experiment.folder / "engine.log")
        )
        return ExperimentFailed(explanation.kind, explanation.message)

    # ── a job: the command itself is the measurement ────────────────────────────────────────

    def run_job(self) -> dict[str, Any]:
        self.experiment.begin_benchmark()
        with self.running_engine() as job:
            while (exit_code := job.wait(CHECK_EVERY)) is None:
                self.check()
        if exit_code != 0:
            raise self.engine_failure(job)
        metrics = read_metrics(tail(self.experiment.folder / "engine.log"))
        objective = parse_objective(self.file.optimization.objective)
        value = scoring.score_job(metrics, objective).objective_score
        return {
            "metrics": {name: x for name, x in metrics.items() if math.isfinite(x)},
            "objective_value": value,
            "objective_score": value,
            "feasible": True,
        }
