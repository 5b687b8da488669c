"""The task file: what a user writes to say what is to be tuned, and how."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.base import Level
from experiments.dimensions import Choices, Dimension, Value
from experiments.documents import read_document, write_yaml
from experiments.engines import ENGINES
from experiments.engines.custom import BUILT_IN, check_command
from experiments.engines.flags import PARALLELISM, format_value, gpus_of
from experiments.errors import BadInput
from experiments.notation import nearest
from experiments.objectives import METRICS, Slo, parse_objective
from experiments.sections import (
    EngineOptions,
    Model,
    Optimization,
    ParallelConfig,
    Resources,
    Workload,
)
from experiments.space import Space, parse_space, space_problems
from experiments.validation import Section, describe, problems_of

# What `parallel_config` calls a size, and the engine's own flag for it.
PARALLEL_FLAGS = {
    "vllm": {
        "tp": "tensor-parallel-size",
        "pp": "pipeline-parallel-size",
        "dp": "data-parallel-size",
    },
    "sglang": {"tp": "tp-size", "pp": "pp-size", "dp": "dp-size"},
}
# Flags that say how many GPUs an engine needs.
PARALLEL_SIZES = frozenset(name for names in PARALLELISM for name in names)
PARALLEL_NAMES = PARALLEL_SIZES | {"enable-dp-attention"}
WITH_A_COMMAND = ("custom", "job")  # Their command line is the user's


class TaskFile(Section):
    """One task file, every field checked and with its default."""

    task_name: str = Field(min_length=1, max_length=200)
    description: str = ""
    deployment_mode: str = "local"
    base_runtime: str
    runtime_image_tag: str = ""
    model: Model = Model()
    engine: EngineOptions = EngineOptions()
    command: list[str] = []
    parallel_config: ParallelConfig = ParallelConfig()
    parameters: dict[str, Any] = {}
    optimization: Optimization
    resources: Resources = Resources()
    slo: Slo | None = None
    benchmark: Workload = Field(default_factory=Workload)

    @field_validator("task_name")
    @classmethod
    def is_one_line(cls, name: str) -> str:
        if name != name.strip() or not name.isprintable():
            raise ValueError("must be one line without spaces around it")
        return name

    @field_validator("deployment_mode")
    @classmethod
    def is_local(cls, mode: str) -> str:
        if mode != "local":
            raise ValueError(f"{mode!r} is not supported; use local")
        return mode

    @field_validator("base_runtime")
    @classmethod
    def is_an_engine(cls, name: str) -> str:
        if name not in ENGINES:
            raise ValueError(f"{name!r} is not a runtime{nearest(name, ENGINES)}")
        return name

    @field_validator("command", mode="before")
    @classmethod
    def is_a_list(cls, command: object) -> object:
        if isinstance(command, str):
            raise ValueError("expected a list of arguments, not a shell line")
        if not isinstance(command, list):
            return command
        return [format_value(x) if isinstance(x, int | float) else x for x in command]

    def space(self) -> Space:
        """Everything that may be tried: the parameters, and the sizes of `parallel_config`."""
        flags = PARALLEL_FLAGS.get(self.base_runtime, {})
        parallel: list[Dimension] = [
            Choices(flags[size], tuple(values))
            for size, values in self.parallel_config
            if values != [1] and size in flags
        ]
        return Space((*parallel, *parse_space(self.parameters).dimensions))

    def levels(self) -> list[Level]:
        """The load levels that every experiment is measured at, the lightest first."""
        return self.benchmark.levels()

    def gpu_counts(self) -> list[int]:
        """The numbers of GPUs that configurations, and the baseline, need; ascending."""
        if self.resources.gpus:
            return [self.resources.gpus]
        combinations: list[dict[str, Value]] = [dict(self.engine.arguments)]
        for dimension in self.space().dimensions:
            if dimension.name.replace("_", "-") in PARALLEL_NAMES:
                values = dimension.values() or ()
                combinations = [
                    {**others, dimension.name: value} for others in combinations for value in values
                ]
        return sorted({gpus_of(self.engine.arguments), *map(gpus_of, combinations)})

    @property
    def per_gpu(self) -> bool:
        """Whether configurations use different numbers of GPUs, so that throughput is per GPU."""
        return len(self.gpu_counts()) > 1

    @property
    def warnings(self) -> list[str]:
        """One line for each field that has no effect here."""
        return list(_warnings(self))

    def to_dict(self) -> dict[str, Any]:
        """The fields that the user gave, as plain data: `from_dict` gives an equal file."""
        return self.model_dump(exclude_unset=True)

    def dump_yaml(self) -> str:
        """The same as YAML."""
        return write_yaml(self.to_dict())


def load(text: str, source: str = "") -> TaskFile:
    """The task file in a YAML or JSON text. Raises BadInput with one line that names the field."""
    return from_dict(read_document(text, source))


def from_dict(data: object) -> TaskFile:
    """The task file in plain data. Raises BadInput for the first problem."""
    found, task = _check(data)
    if task is None:
        raise found[0]
    return task


def problems(data: object) -> list[BadInput]:
    """Everything that is wrong with a task file's data, one line each."""
    return _check(data)[0]


def _check(data: object) -> tuple[list[BadInput], TaskFile | None]:
    if not isinstance(data, dict):
        return [
            BadInput("", f"a task file has fields such as task_name, not {describe(data)}")
        ], None
    task = None
    try:
        task = TaskFile.model_validate(data)
        found = []
    except ValidationError as error:
        found = problems_of(error, TaskFile, data)
    parameters = data.get("parameters")
    if isinstance(parameters, dict):
        named = {problem.field for problem in found}
        found += [p for p in space_problems(parameters) if p.field not in named]
    if task is not None and not found:
        found = list(_contradictions(task))
    return found, None if found else task


def _contradictions(task: TaskFile) -> Iterator[BadInput]:
    """What is wrong only together with another field."""
    known = () if task.base_runtime == "job" else METRICS
    try:
        parse_objective(task.optimization.objective, known)
    except BadInput as problem:
        yield problem
    if task.benchmark.num_concurrency and task.benchmark.request_rate:
        yield BadInput("benchmark.request_rate", "cannot be with num_concurrency; keep one")
    if task.base_runtime not in WITH_A_COMMAND and not task.model.id_or_path:
        yield BadInput("model.id_or_path", f"is missing; {task.base_runtime} needs a model")
    yield from _parallel_problems(task)
    yield from _twins(task)
    yield from _our_own_flags(task)
    try:
        _check_generator(task)
    except BadInput as problem:
        yield problem
    try:
        space = task.space()
        _check_command(task, space)
        _check_sizes(task, space)
    except BadInput as problem:
        yield problem
        return
    if not space.dimensions:
        yield BadInput("parameters", "is empty; name at least one flag and the values to try")
    endless = space.endless()
    if endless and task.optimization.strategy == "grid_search":
        yield BadInput(
            f"parameters.{endless.name}", "grid_search cannot list a range without a step"
        )


def _check_generator(task: TaskFile) -> None:
    """Raise BadInput when the load generator cannot do a load level."""
    for level in task.levels():
        load = task.benchmark.load(level, url="", model="", model_path="")
        BENCHMARKS[task.benchmark.generator].argv(load, Path("report"))


def _parallel_problems(task: TaskFile) -> Iterator[BadInput]:
    flags = PARALLEL_FLAGS.get(task.base_runtime)
    for (size, values), spellings in zip(task.parallel_config, PARALLELISM, strict=True):
        field = f"parallel_config.{size}"
        if values == [1]:
            continue
        if flags is None:
            yield BadInput(field, f"{task.base_runtime} has no such size; leave it out, or [1]")
        for name in (*task.parameters, *task.engine.arguments):
            if name.replace("_", "-") in spellings:
                yield BadInput(field, f"is also given as {name}; keep one of them")


def _twins(task: TaskFile) -> Iterator[BadInput]:
    """Parameters that are one flag in two spellings."""
    seen: dict[str, str] = {}
    for name in task.parameters:
        spelling = name.replace("_", "-")
        if spelling in seen:
            yield BadInput(f"parameters.{name}", f"is also given as {seen[spelling]}")
        seen[spelling] = name


def _our_own_flags(task: TaskFile) -> Iterator[BadInput]:
    """Flags that we give to the engine: another value would start a server that we cannot find."""
    if task.base_runtime not in WITH_A_COMMAND:
        for section, names in (
            ("parameters", task.parameters),
            ("engine.arguments", task.engine.arguments),
        ):
            for name in names:
                if name.replace("_", "-") in ("host", "port", "model", "model-path"):
                    yield BadInput(f"{section}.{name}", "is set by Autotuner; leave it out")


def _check_command(task: TaskFile, space: Space) -> None:
    """Raise BadInput unless there is a command exactly where one is needed."""
    if task.base_runtime not in WITH_A_COMMAND:
        if task.command:
            raise BadInput("command", "is for custom and job only; use engine.executable")
        return
    if not task.command:
        raise BadInput("command", f"is missing; {task.base_runtime} needs a list of arguments")
    names = [*space.names, *task.engine.arguments]
    check_command(task.command, names)
    for name in names:
        if name in BUILT_IN:
            section = "parameters" if name in task.parameters else "engine.arguments"
            raise BadInput(f"{section}.{name}", "is a placeholder of its own; rename it")
    if not task.model.id_or_path and any("{model}" in word for word in task.command):
        raise BadInput("model.id_or_path", "is missing; the command uses {model}")


def _check_sizes(task: TaskFile, space: Space) -> None:
    """Raise BadInput unless every size of parallelism is a number of GPUs."""
    for name, value in task.engine.arguments.items():
        _check_size(f"engine.arguments.{name}", name, [value])
    for dimension in space.dimensions:
        if dimension.name.replace("_", "-") in PARALLEL_SIZES:
            values = dimension.values() or [dimension.at(0.3)]  # A fraction is no size
            _check_size(f"parameters.{dimension.name}", dimension.name, values)


def _check_size(field: str, name: str, values: Sequence[Value]) -> None:
    for value in values:
        try:
            gpus_of({name: value})
        except BadInput as problem:
            raise BadInput(field, problem.message) from None


def _warnings(task: TaskFile) -> Iterator[str]:
    if task.model.namespace:
        yield "model.namespace: has no effect here"
    if task.runtime_image_tag:
        yield "runtime_image_tag: has no effect here; engines are started as installed"
    if task.base_runtime in WITH_A_COMMAND and task.engine.executable:
        yield f"engine.executable: has no effect for {task.base_runtime}; it has its command"
    if task.base_runtime == "job":
        for field in ("benchmark", "slo"):
            if field in task.model_fields_set:
                yield f"{field}: has no effect for job; its command is the measurement"
    for name in task.space().names:
        if name in task.engine.arguments:
            yield f"engine.arguments.{name}: only the baseline has it; parameters.{name} is tried"
