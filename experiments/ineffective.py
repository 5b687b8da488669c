"""What in a task file has no effect, or another effect than it seems to have."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.contradictions import WITH_A_COMMAND
from experiments.engines.custom import unused
from experiments.engines.flags import GPU_FLAGS, spelling
from experiments.objectives import parse_objectives
from experiments.satisfiable import without_effect
from experiments.strategies import OF_ONE_SCORE

if TYPE_CHECKING:
    from experiments.taskfile import TaskFile

# Arguments that are read by Autotuner too, whether or not a command uses them.
READ_BY_US = GPU_FLAGS | {"served-model-name"}


def warnings(task: "TaskFile") -> Iterator[str]:
    """One line for each such field."""
    if task.model.namespace:
        yield "model.namespace: has no effect here"
    if task.runtime_image_tag:
        yield "runtime_image_tag: has no effect here; engines are started as installed"
    if task.base_runtime in WITH_A_COMMAND and task.engine.executable:
        yield f"engine.executable: has no effect for {task.base_runtime}; it has its command"
    if task.base_runtime == "custom":
        yield from _of_the_command(task)
    if task.base_runtime == "job":
        for field in ("benchmark", "slo"):
            if field in task.model_fields_set:
                yield f"{field}: has no effect for job; its command is the measurement"
        if task.resources.price_per_gpu_hour is not None:
            yield "resources.price_per_gpu_hour: has no effect for job; its command says its cost"
    else:
        yield from _of_the_benchmark(task)
        yield from _of_the_budget(task)
    if task.optimization.reuse:
        yield from _of_reuse(task)
    strategy = task.optimization.strategy
    if parse_objectives(task.optimization.objective).has_front and strategy in OF_ONE_SCORE:
        yield (
            f"optimization.strategy: {strategy} seeks the best of the Pareto front only; bayesian "
            "and nsga2 search all of it"
        )
    for constraint in without_effect(task.space()):
        yield f"{constraint.field}: forbids nothing; every combination meets it"
    for one in task.space().dimensions:
        if one.name in task.engine.arguments and not one.when:  # Else it holds where it is absent
            yield (
                f"engine.arguments.{one.name}: only the baseline has it; "
                f"parameters.{one.name} is tried"
            )


def _of_the_command(task: "TaskFile") -> Iterator[str]:
    for name in unused(task.command, task.engine.arguments):
        if spelling(name) not in READ_BY_US:
            yield f"engine.arguments.{name}: has no effect; the command does not use {{{name}}}"
    if "port" in unused(task.command, ["port"]):
        yield "command: does not use {port}; the server must listen on $PORT, which is set"


def _of_the_benchmark(task: "TaskFile") -> Iterator[str]:
    workload = task.benchmark
    if workload.model_tokenizer and workload.generator == "autotuner":
        yield "benchmark.model_tokenizer: has no effect; the generator autotuner needs none"
    if "arrival" in workload.model_fields_set and not (
        workload.request_rate or workload.rate_search
    ):
        yield "benchmark.arrival: has no effect without request_rate or rate_search"
    limit = task.slo.error_rate if task.slo else None
    if limit and limit.hard_fail and "max_error_rate" in workload.model_fields_set:
        yield "benchmark.max_error_rate: has no effect; slo.error_rate is the limit"
    if (
        "max_time_per_iteration" in workload.model_fields_set
        and workload.generator == "vllm_bench"
        and workload.num_concurrency
    ):
        yield (
            "benchmark.max_time_per_iteration: has no effect for vllm_bench with "
            "num_concurrency; it ends after max_requests_per_iteration"
        )


def _of_reuse(task: "TaskFile") -> Iterator[str]:
    if task.base_runtime in WITH_A_COMMAND:
        yield (
            f"optimization.reuse: has no effect for {task.base_runtime}; which version it runs is "
            "not known"
        )
    elif task.benchmark.rate_search:
        yield "optimization.reuse: has no effect with benchmark.rate_search"


def _of_the_budget(task: "TaskFile") -> Iterator[str]:
    if task.optimization.strategy != "grid_search":
        return
    budget, combinations = task.optimization.max_iterations, task.space().size()
    if combinations and budget <= combinations:
        yield (
            f"optimization.max_iterations: {budget} counts the baseline: only {budget - 1} of "
            f"{combinations} combinations will be tried"
        )
