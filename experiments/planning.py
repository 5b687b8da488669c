"""What a task file would do here, before anything is started: limits, sizes, first command."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from experiments import budget, launching
from experiments.errors import BadInput
from experiments.estimate import Estimate, estimate
from experiments.models import TuningTask
from experiments.objectives import NEEDS, OF_POWER, parse_objectives
from experiments.pool import gpu_pool
from experiments.taskfile import TaskFile
from gpupool import GpuState, PoolUnreachable

# Of a GPU's memory, what is free while nobody uses it: the driver keeps a few percent. It is also
# what vLLM takes unless it is told otherwise.
USABLE_SHARE = 0.92


@dataclass(frozen=True)
class Pool:
    """How many GPUs there are. None: the pool cannot be reached, or is still empty."""

    gpus: int | None
    largest_node: int | None
    largest_memory_mb: int | None = None  # of one GPU, in all
    tells_power: bool = True  # as far as is known: whether that of any GPU can be read
    free: int | None = None  # GPUs that nobody has now


def pool_now() -> Pool:
    """The pool's size, as far as it is known."""
    try:
        pool = gpu_pool()
        gpus = pool.gpus()
        memory = max((gpu.memory_total_mb for gpu in gpus), default=None)
        power = any(gpu.power_w is not None and not gpu.parent for gpu in gpus) or not gpus
        free = sum(gpu.state == "free" for gpu in gpus) if gpus else None
        return Pool(pool.size() or None, pool.largest_node() or None, memory, power, free)
    except PoolUnreachable:
        return Pool(None, None)


def parallel_limit(pool: Pool) -> int:
    """The most experiments at once that a task may ask for: the setting, or the pool's GPUs."""
    return min(settings.MAX_PARALLEL_EXPERIMENTS, pool.gpus or settings.MAX_PARALLEL_EXPERIMENTS)


def check(file: TaskFile, pool: Pool) -> None:
    """Raise BadInput when this site cannot run the task as it is asked for."""
    asked = file.optimization.max_parallel_experiments
    if asked > parallel_limit(pool):
        known = "unknown" if pool.gpus is None else pool.gpus
        raise BadInput(
            "optimization.max_parallel_experiments",
            f"{asked} is too many: at most {parallel_limit(pool)}, the smaller of "
            f"{settings.MAX_PARALLEL_EXPERIMENTS} (setting MAX_PARALLEL_EXPERIMENTS) and "
            f"{known} (GPUs in the pool)",
        )
    if not pool.tells_power and file.base_runtime != "job":
        for objective in parse_objectives(file.optimization.objective).each:
            if objective.metric in OF_POWER:
                message = f"{objective.metric} needs {NEEDS[objective.metric]}: no GPU in the pool"
                raise BadInput("optimization.objective", f"{message} tells its own")
    needed = max(file.gpu_counts())
    if pool.largest_node is not None and needed > pool.largest_node:
        raise BadInput(
            "resources.gpus",
            f"a configuration needs {needed} GPUs on one node, and the largest node has "
            f"{pool.largest_node}",
        )
    memory = file.resources.min_memory_mb
    if pool.largest_memory_mb is not None and memory > pool.largest_memory_mb:
        raise BadInput(
            "resources.min_memory_mb",
            f"{memory} MiB are more than the largest GPU in the pool has, "
            f"{pool.largest_memory_mb} MiB",
        )


def gpus_now() -> list[GpuState]:
    """The pool's GPUs; none while it cannot be reached."""
    try:
        return gpu_pool().gpus()
    except PoolUnreachable:
        return []


def memory_minimum(file: TaskFile, need: Estimate, gpus: Iterable[GpuState]) -> int:
    """The MiB that each GPU of an experiment must have free: what the file says, else the need.

    An estimate may be too high, so it never asks for more than these GPUs can have free: nothing
    would ever be granted.
    """
    if "min_memory_mb" in file.resources.model_fields_set:
        return file.resources.min_memory_mb
    return min(need.memory_mb, memory_limit(gpus, need.gpus))


def memory_limit(gpus: Iterable[GpuState], count: int) -> int:
    """The most free memory, in MiB, that each of `count` GPUs of one node can have.

    CPU slots do not count: what is free of their machine's memory falls with every engine that
    runs on it, and an estimate would keep slots empty in which another one can work.
    """
    nodes = defaultdict(list)
    for gpu in gpus:
        if gpu.state not in ("silent", "draining") and not gpu.fault and not gpu.cores:
            nodes[gpu.node].append(gpu.memory_total_mb)
    smallest = (sorted(sizes)[-count] for sizes in nodes.values() if len(sizes) >= count)
    return int(USABLE_SHARE * max(smallest, default=0))


def check_name(file: TaskFile) -> None:
    """Raise BadInput when there is a task of this name."""
    if TuningTask.objects.filter(name=file.task_name).exists():
        raise BadInput("task_name", f"there is a task {file.task_name!r} already; choose another")


def create(file: TaskFile, created_by: Any = None) -> TuningTask:
    """Save a new task. Raises BadInput when its name is taken or this site cannot run it."""
    check(file, pool_now())
    check_name(file)
    task = TuningTask(created_by=created_by)
    task.describe(file)
    task.save()
    return task


@dataclass(frozen=True)
class Plan:
    """What a task would do."""

    name: str
    combinations: int | None  # None: not finite
    combinations_are_counted: bool  # Else it is a bound, of which constraints leave fewer
    experiments: int
    baseline: bool
    strategy: str
    parallel: int
    gpus_per_experiment: list[int]
    gpus_in_pool: int | None
    levels: list[str]
    first_command: str
    warnings: list[str] = field(default_factory=list)
    memory_mb: int = 0  # free on each GPU of the first experiment; 0: no minimum
    memory_is_estimated: bool = False
    repeats: int = 0  # of the experiments

    def lines(self) -> Iterable[str]:
        """For people."""
        total = "infinitely many" if self.combinations is None else str(self.combinations)
        if self.combinations is not None and not self.combinations_are_counted:
            total = f"at most {total} (too many to count those that the constraints allow)"
        notes = ["the first is the engine's defaults"] if self.baseline else []
        if self.repeats:
            notes.append(f"{self.repeats} measure again what was found")
        why = f" ({', '.join(notes)})" if notes else ""
        needs = " or ".join(map(str, self.gpus_per_experiment))
        pool = "unknown" if self.gpus_in_pool is None else self.gpus_in_pool
        yield f"task            {self.name}"
        yield f"combinations    {total}, searched by {self.strategy}"
        yield f"experiments     at most {self.experiments}{why}, {self.parallel} at once"
        yield f"GPUs            {needs} for each experiment, {pool} in the pool"
        if self.memory_mb:
            yield f"memory          {self._memory()}"
        if self.levels:
            yield f"load levels     {' | '.join(self.levels)}"
        yield f"first command   {self.first_command}"
        for warning in self.warnings:
            yield f"warning         {warning}"

    def _memory(self) -> str:
        if not self.memory_is_estimated:
            return f"{self.memory_mb} MiB free on each GPU"
        where = "each GPU" if len(self.gpus_per_experiment) == 1 else "each GPU of the first"
        size = f"{self.memory_mb / 1024:.1f} GiB"
        return f"about {size} free on {where} (estimated from the model's config)"


def plan(file: TaskFile) -> Plan:
    """What `file` would do here, whatever it is called. Raises BadInput when it cannot."""
    pool = pool_now()
    check(file, pool)
    space = file.space()
    size = space.size()
    baseline = file.base_runtime != "job"
    task = TuningTask()
    task.describe(file)
    first = {} if baseline else space.first()
    said = "min_memory_mb" in file.resources.model_fields_set
    warnings = list(file.warnings)
    if pool.gpus is None:
        warnings.append("no GPUs are in the pool now: start `manage.py worker` on a GPU host")
    return Plan(
        name=file.task_name,
        combinations=space.bound() if size is None else size,
        combinations_are_counted=size is not None,
        experiments=budget.most_experiments(task),
        repeats=budget.planned_repeats(task),
        baseline=baseline,
        strategy=file.optimization.strategy,
        parallel=file.optimization.max_parallel_experiments,
        gpus_per_experiment=file.gpu_counts(),
        gpus_in_pool=pool.gpus,
        levels=[] if file.base_runtime == "job" else file.benchmark.labels(),
        first_command=launching.shell_line(
            file,
            first,
            gpus=file.gpu_counts()[0],
            executables=settings.ENGINE_EXECUTABLES,
        ),
        warnings=warnings,
        memory_mb=file.resources.min_memory_mb if said else estimate(file, first).memory_mb,
        memory_is_estimated=not said,
    )
