"""What an attempt does with its GPUs: start the engine, and measure every load level."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from experiments import effects, launching, scoring
from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.base import Level, Load, Measurement, StopWhen
from experiments.climbing import Climb
from experiments.energy import PowerMeter, costed
from experiments.engines import ENGINES
from experiments.engines.failures import explain, last_lines
from experiments.engines.job import read_metrics
from experiments.errors import ExperimentFailed
from experiments.health import is_healthy
from experiments.log_files import head, rotate, tail
from experiments.marks import Mark, ProcessId, clean_environment
from experiments.models import Experiment
from experiments.objectives import parse_objectives
from experiments.pinning import Cores
from experiments.pool import inventory, site
from experiments.processes import Process, reserve_port
from experiments.rate_climbing import RateClimb
from experiments.states import FailureKind
from gpupool import Lease

CHECK_EVERY = 0.25  # seconds between looks at cancel, lease and timeout
STOP_GRACE = 2.0  # seconds from SIGTERM to SIGKILL, so that a cancel is done within 5 s
LEVEL_GRACE = 60.0  # seconds beyond its time in which a load generator ends, or it hangs
CAUSE_WITHIN = 2**20  # bytes at the end of a log in which the cause of a failure is looked for


class Measuring:
    """The measurement of one configuration on the GPUs of its lease, and every process for it.

    `check` is called several times a second, and raises when the experiment must not go on;
    `move` writes a move of the experiment; `has_gpus` is whether the lease is still its own;
    `time_left` is how many seconds the experiment may still take.
    `where` it is, and the share of its steps (the start, each load level) that it has `reached`,
    tell of a failure.
    """

    def __init__(
        self,
        experiment: Experiment,
        lease: Lease,
        cores: Cores,
        *,
        check: Callable[[], None],
        move: Callable[..., None],
        has_gpus: Callable[[], bool],
        time_left: Callable[[], float],
    ) -> None:
        self.experiment = experiment
        self.lease = lease
        self.cores = cores
        self.file = experiment.task.file
        self.port = reserve_port()
        self.where, self.reached = "start", 0.0
        self._check, self._move, self._has_gpus = check, move, has_gpus
        self._time_left = time_left
        self._logs: set[Path] = set()

    @property
    def engine_log(self) -> Path:
        return self.experiment.folder / "engine.log"

    def command(self) -> list[str]:
        """The engine's command line. Raises BadInput when there is none."""
        return launching.command_of(
            self.file,
            self.experiment.parameters,
            port=self.port,
            gpus=len(self.lease.gpus),
            executables=settings.ENGINE_EXECUTABLES,
        )

    def results(self) -> dict[str, Any]:
        """The columns of an experiment that succeeded. Raises ExperimentFailed for any other."""
        return self._run_job() if self.file.base_runtime == "job" else self._run_engine()

    def check(self) -> None:
        """Raise when the experiment must not go on. No log grows for ever meanwhile."""
        self._check()
        for log in self._logs:
            rotate(log)

    # ── an engine under a benchmark ─────────────────────────────────────────────────────────

    def _run_engine(self) -> dict[str, Any]:
        """Start the engine, and measure it at its load levels."""
        with self._running_engine() as engine:
            self._wait_until_healthy(engine)
            said = effects.said(self.file, head(self.engine_log, CAUSE_WITHIN))
            self._move(self.experiment.begin_benchmark, effective=said)
            climb = (RateClimb if self.file.benchmark.rate_search else Climb)(
                self.experiment,
                partial(self._measure, engine),
                at=self._is_at,
                time_left=self._time_left,
                pause=partial(self._pause, engine),
            )
            return climb.results()

    def _pause(self, engine: Process) -> None:
        """A moment in which the engine runs on."""
        self.check()
        if engine.wait(CHECK_EVERY) is not None:
            raise self._engine_failure(engine)

    def _is_at(self, where: str, reached: float) -> None:
        self.where, self.reached = where, reached

    def _running_engine(self) -> contextlib.AbstractContextManager[Process]:
        own = launching.own_environment(self.file, self.experiment.parameters)
        return self._running(self.experiment.command, self.engine_log, self.cores.engine, own)

    @contextlib.contextmanager
    def _running(
        self, argv: list[str], log: Path, cores: set[int], own: Mapping[str, str] | None = None
    ) -> Iterator[Process]:
        """A child process with its `own` variables and the lease's, pinned to `cores` if any.

        At the end it is stopped with all its children.
        """
        slot = self.cores.engine if self.cores.is_slot else ()
        environment = {
            **clean_environment(
                settings.ENVIRONMENT, Mark(site(), ProcessId.own(), self.experiment.holder)
            ),
            **(own or {}),
            **launching.lease_environment(self.lease.gpus, slot, self.port, own or {}),
        }
        process = Process.start(argv, log=log, env=environment, cores=cores)
        self._logs.add(log)
        try:
            yield process
        finally:
            # Without the lease its GPUs may be another's at any moment
            process.stop(STOP_GRACE if self._has_gpus() else 0)
            self._logs.discard(log)
            with contextlib.suppress(OSError):  # How it ended is known, and matters more
                rotate(log)

    def _wait_until_healthy(self, engine: Process) -> None:
        path = ENGINES[self.file.base_runtime].health_path
        limit = self.file.optimization.timeout_start
        give_up = time.monotonic() + (math.inf if limit is None else limit)
        while not is_healthy(self.port, path, engine.descendants()):
            self.check()
            if engine.wait(CHECK_EVERY) is not None:
                raise self._engine_failure(engine)
            if time.monotonic() > give_up:
                raise ExperimentFailed(
                    FailureKind.START_TIMEOUT, f"not healthy after {limit:g} s (timeout_start)"
                )

    def _measure(
        self, engine: Process, level: Level, *, name: str, seed: int, stop_when: StopWhen | None
    ) -> Measurement:
        """One load level, measured by its own process on cores that are not the engine's."""
        benchmark = BENCHMARKS[self.file.benchmark.generator]
        report = self.experiment.folder / f"{name}.json"
        log = report.with_suffix(".log")
        load = self._load(level, seed, stop_when)
        give_up = time.monotonic() + 2 * load.max_seconds + LEVEL_GRACE
        meter = PowerMeter(partial(inventory().power_w, self.lease.gpus))
        with (
            meter,
            self._running(benchmark.argv(load, report), log, self.cores.generator) as generator,
        ):
            while (exit_code := generator.wait(CHECK_EVERY)) is None:
                self.check()
                if engine.poll() is not None:
                    raise self._engine_failure(engine)
                if time.monotonic() > give_up:
                    raise self._hangs(level, load)
        if engine.poll() is not None:
            raise self._engine_failure(engine)
        if exit_code != 0 and not report.exists():
            raise self._generator_failure(level, exit_code, log)
        try:
            return costed(
                benchmark.read(report),
                meter.readings,
                report,
                gpus=len(self.lease.gpus),
                price_per_gpu_hour=self.file.resources.price_per_gpu_hour,
            )
        except ExperimentFailed as failure:
            message, lines = f"{level.label}: {failure.message}", last_lines(tail(log))
            raise ExperimentFailed(failure.kind, message, lines, failure.may_pass) from None

    def _hangs(self, level: Level, load: Load) -> ExperimentFailed:
        limit = 2 * load.max_seconds + LEVEL_GRACE
        return ExperimentFailed(
            FailureKind.TIMEOUT,
            f"{level.label}: not measured after {limit:g} s, twice its max_time_per_iteration and "
            f"{LEVEL_GRACE:g} s more",
        )

    def _load(self, level: Level, seed: int, stop_when: StopWhen | None) -> Load:
        benchmark = self.file.benchmark
        return benchmark.load(
            level,
            seed=seed,
            stop_when=stop_when,
            url=f"http://127.0.0.1:{self.port}",
            model=self.file.served_name(),
            model_path=benchmark.model_tokenizer or self.file.model.id_or_path,
            executable=launching.vllm_of(self.file, settings.ENGINE_EXECUTABLES),
        )

    def _generator_failure(self, level: Level, exit_code: int, log: Path) -> ExperimentFailed:
        """Of vLLM's one also what a tokenizer's download says."""
        why = explain(exit_code, tail(log, CAUSE_WITHIN))
        message = f"{level.label}: the load generator failed: {why.message}"
        return ExperimentFailed(FailureKind.BENCHMARK_ERRORS, message, why.lines, why.may_pass)

    def _engine_failure(self, engine: Process) -> ExperimentFailed:
        log = tail(self.engine_log, CAUSE_WITHIN)
        why = ENGINES[self.file.base_runtime].explain(engine.poll(), log)
        return ExperimentFailed(why.kind, why.message, why.lines, why.may_pass)

    # ── a job: the command itself is the measurement ────────────────────────────────────────

    def _run_job(self) -> dict[str, Any]:
        self.where = ""
        self._move(self.experiment.begin_benchmark)
        with self._running_engine() as job:
            while (exit_code := job.wait(CHECK_EVERY)) is None:
                self.check()
        if exit_code != 0:
            raise self._engine_failure(job)
        metrics = read_metrics(tail(self.engine_log))
        objectives = parse_objectives(self.file.optimization.objective)
        score = scoring.score_job(metrics, objectives)
        return {
            "metrics": {name: x for name, x in metrics.items() if math.isfinite(x)},
            "objective_value": score.value,
            "objective_values": list(score.values),
            "objective_score": score.objective_score,
            "feasible": True,
        }
