"""What is wrong in a task file only together with another field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.benchmarks import BENCHMARKS
from experiments.dimensions import Dimension
from experiments.engines.base import Parameters
from experiments.engines.custom import BUILT_IN, check_command, unused
from experiments.engines.flags import (
    ENVIRONMENT_PREFIX,
    IS_OURS,
    PARALLEL_FLAGS,
    PARALLEL_SIZES,
    PARALLELISM,
    gpus_of,
    spelling,
)
from experiments.engines.job import job_environment
from experiments.errors import BadInput
from experiments.objectives import METRICS, parse_objectives
from experiments.satisfiable import unsatisfiable
from experiments.sections import MOST_SIZES, RateSearch
from experiments.space import Space

if TYPE_CHECKING:
    from experiments.taskfile import TaskFile

WITH_A_COMMAND = ("custom", "job")  # Their command line is the user's
COST, GOODPUT = "cost_per_million_tokens", "goodput"
OUR_FLAGS = ("host", "port", "model", "model-path")
# Variables of a job that are the site's settings, or say whose its process is.
OUR_VARIABLES = re.compile(r"AUTOTUNER_(MARK|GPUS|NODE|DATA_DIR|HTTPS|\w+_EXECUTABLE)")


def contradictions(task: "TaskFile") -> Iterator[BadInput]:
    """One BadInput for each; every field of `task` is right by itself."""
    known = () if task.base_runtime == "job" else METRICS
    try:
        objectives = parse_objectives(task.optimization.objective, known)
        wanted = {objective.metric for objective in objectives.each} if known else set()
        if COST in wanted and task.resources.price_per_gpu_hour is None:
            yield BadInput("resources.price_per_gpu_hour", f"is missing; {COST} needs it")
        if GOODPUT in wanted and not _limits_requests(task):
            yield BadInput("slo", f"is missing; {GOODPUT} needs a limit on latency, ttft or tpot")
    except BadInput as problem:
        yield problem
    if task.benchmark.num_concurrency and task.benchmark.request_rate:
        yield BadInput("benchmark.request_rate", "cannot be with num_concurrency; keep one")
    if task.benchmark.rate_search and task.base_runtime != "job":
        yield from _search_problems(task, task.benchmark.rate_search)
    if task.base_runtime not in WITH_A_COMMAND and not task.model.id_or_path:
        yield BadInput("model.id_or_path", f"is missing; {task.base_runtime} needs a model")
    yield from _parallel_problems(task)
    yield from _twins(task)
    yield from _our_own_names(task)
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
    yield from _unused_parameters(task)
    if not space.dimensions:
        yield BadInput("parameters", "is empty; name at least one flag and the values to try")
    yield from unsatisfiable(space)
    if task.optimization.strategy == "grid_search":
        yield from _unlisted(space)


def _unlisted(space: Space) -> Iterator[BadInput]:
    endless = space.endless()
    if endless:
        yield BadInput(
            f"parameters.{endless.name}", "grid_search cannot list a range without a step"
        )
        return
    try:
        space.grid()
    except BadInput as problem:
        yield BadInput(problem.field, f"grid_search: {problem.message}")


def _limits_requests(task: "TaskFile") -> bool:
    """Whether a request can keep the objectives, or miss them."""
    return task.slo is not None and bool(task.slo.per_request())


def _search_problems(task: "TaskFile", search: RateSearch) -> Iterator[BadInput]:
    """What the search for the highest rate cannot do without or beside."""
    field = "benchmark.rate_search"
    for other in ("num_concurrency", "request_rate"):
        if getattr(task.benchmark, other):
            yield BadInput(field, f"cannot be with {other}; keep one")
    if search.high <= search.low:
        yield BadInput(f"{field}.high", f"{search.high:g} is not above low, {search.low:g}")
    if len(task.benchmark.traffic_scenarios) > 1:
        yield BadInput(field, "searches for one of the traffic_scenarios; keep one")
    if not _limits_requests(task):
        yield BadInput(field, "needs an slo with a limit on latency, ttft or tpot")
    for name in ("throughput", "requests_per_second"):
        if task.slo is not None and getattr(task.slo, name):
            yield BadInput(field, f"cannot be with slo.{name}, which no server reaches at low")


def _check_generator(task: "TaskFile") -> None:
    """Raise BadInput when the load generator cannot do a load level."""
    for level in task.levels():
        load = task.benchmark.load(level, url="", model="", model_path="")
        BENCHMARKS[task.benchmark.generator].argv(load, Path("report"))


def _parallel_problems(task: "TaskFile") -> Iterator[BadInput]:
    flags = PARALLEL_FLAGS.get(task.base_runtime)
    for (size, values), spellings in zip(task.parallel_config, PARALLELISM, strict=True):
        field = f"parallel_config.{size}"
        if values == [1]:
            continue
        if flags is None:
            yield BadInput(field, f"{task.base_runtime} has no such size; leave it out, or [1]")
        for name in (*task.parameters, *task.engine.arguments):
            if spelling(name) in spellings:
                yield BadInput(field, f"is also given as {name}; keep one of them")


def _twins(task: "TaskFile") -> Iterator[BadInput]:
    """Parameters that are one flag in two spellings, or one size of parallelism by two names."""
    seen: dict[str, str] = {}
    for name in task.parameters:
        flag = next((names[0] for names in PARALLELISM if spelling(name) in names), spelling(name))
        if flag in seen:
            yield BadInput(f"parameters.{name}", f"is also given as {seen[flag]}")
        seen[flag] = name


def _our_own_names(task: "TaskFile") -> Iterator[BadInput]:
    """What we say to the engine: another value would start a server that we cannot find, or
    take a job from its lease.
    """
    for section, names in (
        ("parameters", task.parameters),
        ("engine.arguments", task.engine.arguments),
    ):
        for name in names:
            if _is_ours(task.base_runtime, name):
                yield BadInput(f"{section}.{name}", IS_OURS)


def _is_ours(engine: str, name: str) -> bool:
    if engine == "job":
        (variable,) = job_environment({name: ""})
        is_flag = not name.startswith(ENVIRONMENT_PREFIX)
        return is_flag and OUR_VARIABLES.fullmatch(variable) is not None
    return engine not in WITH_A_COMMAND and spelling(name) in OUR_FLAGS


def _check_command(task: "TaskFile", space: Space) -> None:
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


def _unused_parameters(task: "TaskFile") -> Iterator[BadInput]:
    """Parameters that make no difference to a server: all its experiments would be the same."""
    if task.base_runtime == "custom":
        for name in unused(task.command, task.parameters):
            takes_gpus = spelling(name) in PARALLEL_SIZES and not task.resources.gpus
            if not takes_gpus:  # As many as the size says: that does make a difference
                yield BadInput(f"parameters.{name}", f"the command does not use {{{name}}}")


def _check_sizes(task: "TaskFile", space: Space) -> None:
    """Raise BadInput unless every size of parallelism is a number of GPUs."""
    for name, value in task.engine.arguments.items():
        _check_size(f"engine.arguments.{name}", {name: value})
    for dimension in space.dimensions:
        if spelling(dimension.name) in PARALLEL_SIZES:
            _check_searched_sizes(dimension)


def _check_searched_sizes(dimension: Dimension) -> None:
    field = f"parameters.{dimension.name}"
    if (dimension.count or 0) > MOST_SIZES:
        raise BadInput(field, f"has {dimension.count} values; at most {MOST_SIZES}")
    for value in dimension.values() or [dimension.at(0.3)]:  # A fraction is no size
        _check_size(field, {dimension.name: value})


def _check_size(field: str, size: Parameters) -> None:
    try:
        gpus_of(size)
    except BadInput as problem:
        raise BadInput(field, problem.message) from None
