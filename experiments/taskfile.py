"""The task file: what a user writes to say what is to be tuned, and how."""

from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, field_validator

from experiments.benchmarks.base import Level
from experiments.contradictions import contradictions
from experiments.dimensions import Choices, Dimension, Value
from experiments.documents import read_document, write_yaml
from experiments.engines import ENGINES
from experiments.engines.flags import (
    GPU_FLAGS,
    PARALLEL_FLAGS,
    format_value,
    gpu_counts,
    gpus_of,
    spelling,
    with_dashes,
)
from experiments.errors import BadInput
from experiments.ineffective import warnings
from experiments.masking import still_masked
from experiments.notation import nearest
from experiments.sections import (
    EngineOptions,
    Model,
    Optimization,
    ParallelConfig,
    Resources,
    Workload,
)
from experiments.slo import Slo
from experiments.space import Space, parse_space, space_problems
from experiments.validation import Section, describe, problems_of

WITH_A_NAME = ("vllm", "sglang")  # They take the name that they answer to as a flag
SERVED_NAME = "served-model-name"
MASKED = (
    "is a mask, as exports have it; write the value itself, or leave it out: engines inherit the "
    "worker's variables"
)
MOST_PARAMETERS = 256
MOST_CONSTRAINTS = 100


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
    parameters: dict[str, Any] = Field(default={}, max_length=MOST_PARAMETERS)
    constraints: list[str] = Field(default=[], max_length=MOST_CONSTRAINTS)
    optimization: Optimization
    resources: Resources = Resources()
    slo: Slo | None = None
    benchmark: Workload = Field(default_factory=Workload)

    # A task asks for them at each step
    _space: Space | None = PrivateAttr(default=None)
    _gpu_counts: list[int] | None = PrivateAttr(default=None)

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
        if self._space is None:
            self._space = self._read_space()
        return self._space

    def _read_space(self) -> Space:
        flags = PARALLEL_FLAGS.get(self.base_runtime, {})
        parallel: list[Dimension] = [
            Choices(flags[size], tuple(values))
            for size, values in self.parallel_config
            if values != [1] and size in flags
        ]
        return parse_space(
            self.parameters, self.constraints, fixed=self.engine.arguments, sizes=parallel
        )

    def levels(self) -> list[Level]:
        """The load levels that every experiment is measured at, the lightest first."""
        return self.benchmark.levels()

    def gpu_counts(self) -> list[int]:
        """The numbers of GPUs that configurations, and the baseline, need; ascending."""
        if self.resources.gpus:
            return [self.resources.gpus]
        if self._gpu_counts is None:
            self._gpu_counts = sorted(self._count_gpus())
        return self._gpu_counts

    def _count_gpus(self) -> set[int]:
        """Of the combinations of sizes that the constraints allow; where there are too many to
        look at, of every combination.
        """
        space, fixed = self.space(), self.engine.arguments
        sizes = [one for one in space.dimensions if spelling(one.name) in GPU_FLAGS]
        together = space.combinations([one.name for one in sizes])
        if together is not None:
            return {gpus_of({**fixed, **one}) for one in ({}, *together)}
        flags = with_dashes(fixed)
        searched = {one.name: list(one.values() or ()) for one in sizes}
        for one in sizes:
            if one.when:  # Where it is absent the fixed flag holds
                searched[one.name].append(flags.get(spelling(one.name), 1))
        return gpu_counts(fixed, searched)

    def served_name(self) -> str:
        """The name that the server answers to, which every request carries."""
        flags = with_dashes(self.engine.arguments)
        return self.benchmark.model_name or str(flags.get(SERVED_NAME, self.model.id_or_path))

    def fixed_flags(self) -> dict[str, Value]:
        """The flags of every experiment: `engine.arguments`, and what they imply.

        vLLM and SGLang answer only to the model's own name unless they are told
        `benchmark.model_name`.
        """
        flags: dict[str, Value] = dict(self.engine.arguments)
        given = with_dashes({**self.parameters, **flags})
        name = self.benchmark.model_name
        if name and self.base_runtime in WITH_A_NAME and SERVED_NAME not in given:
            flags[SERVED_NAME] = name
        return flags

    @property
    def per_gpu(self) -> bool:
        """Whether configurations use different numbers of GPUs, so that throughput is per GPU."""
        return len(self.gpu_counts()) > 1

    @property
    def warnings(self) -> list[str]:
        """One line for each field that has no effect here, or another one than it seems."""
        return list(warnings(self))

    def to_dict(self) -> dict[str, Any]:
        """The fields that the user gave, as plain data: `from_dict` gives an equal file."""
        return self.model_dump(exclude_unset=True)

    def dump_yaml(self) -> str:
        """The same as YAML."""
        return write_yaml(self.to_dict())


def load(text: str, source: str = "") -> TaskFile:
    """The task file in a YAML or JSON text. Raises BadInput with one line that names the field."""
    data = read_document(text, source)
    if data is None:
        raise BadInput(source or "task file", "is empty; a task file has fields such as task_name")
    return from_dict(data)


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
    if field := still_masked(data):
        return [BadInput(field, MASKED)], None
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
        found = list(contradictions(task))
    return found, None if found else task
