"""What a task file is warned of, and what makes all experiments of a server the same."""

import copy
from typing import Any

import pytest

from experiments.taskfile import from_dict, problems

VLLM: dict[str, Any] = {
    "task_name": "vllm",
    "base_runtime": "vllm",
    "model": {"id_or_path": "m"},
    "parameters": {"max-num-seqs": [1, 2, 4], "block-size": [16, 32]},
    "optimization": {"objective": "maximize_throughput"},
}
CUSTOM: dict[str, Any] = {
    "task_name": "custom",
    "base_runtime": "custom",
    "command": ["./serve", "--port={port}", "--max-batch", "{max_batch}"],
    "parameters": {"max-batch": [1, 2, 4]},
    "optimization": {"objective": "maximize_throughput"},
}


def with_changes(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The data with other fields; those of a section are added to it."""
    data = copy.deepcopy(data)
    for name, value in changes.items():
        data[name] = {**data.get(name, {}), **value} if isinstance(value, dict) else value
    return data


def warnings(data: dict[str, Any], **changes: Any) -> list[str]:
    return from_dict(with_changes(data, **changes)).warnings


def test_a_tokenizer_has_an_effect_for_vllms_generator_only() -> None:
    (line,) = warnings(VLLM, benchmark={"model_tokenizer": "t"})
    assert line.startswith("benchmark.model_tokenizer: has no effect")
    assert warnings(VLLM, benchmark={"model_tokenizer": "t", "generator": "vllm_bench"}) == []


def test_an_arrival_has_an_effect_with_a_request_rate_only() -> None:
    lines = warnings(VLLM, benchmark={"arrival": "constant"})
    assert lines == ["benchmark.arrival: has no effect without request_rate or rate_search"]
    assert warnings(VLLM, benchmark={"arrival": "constant", "request_rate": [2]}) == []


def test_vllms_generator_knows_no_time_at_a_concurrency() -> None:
    timed = {"generator": "vllm_bench", "max_time_per_iteration": 3}
    (line,) = warnings(VLLM, benchmark={**timed, "num_concurrency": [4]})
    assert line.startswith("benchmark.max_time_per_iteration: has no effect for vllm_bench")
    assert warnings(VLLM, benchmark={**timed, "request_rate": [2]}) == []
    assert warnings(VLLM, benchmark={"generator": "vllm_bench"}) == []


def test_a_fixed_argument_that_a_command_does_not_use_is_said() -> None:
    arguments = {"threads": 2, "max_batch": 3, "env.A": 1, "tp": 2, "served-model-name": "n"}
    assert warnings(CUSTOM, engine={"arguments": arguments}) == [
        "engine.arguments.threads: has no effect; the command does not use {threads}"
    ]


def test_a_command_without_a_port_must_read_it_from_the_environment() -> None:
    assert warnings(CUSTOM) == []
    assert warnings(CUSTOM, command=["./serve", "{max-batch}"]) == [
        "command: does not use {port}; the server must listen on $PORT, which is set"
    ]


def test_a_constraint_that_forbids_nothing_is_said() -> None:
    assert warnings(VLLM, parameters={"x": [1, 2]}, constraints=["x > 1", "x < 3"]) == [
        "constraints[1]: forbids nothing; every combination meets it"
    ]


def test_a_fixed_argument_holds_where_a_parameter_is_absent() -> None:
    parameters = {
        "on": [True, False],
        "x": {"type": "categorical", "values": [1, 2], "when": {"on": True}},
    }
    arguments = {"x": 3, "on": True}
    assert warnings(VLLM, parameters=parameters, engine={"arguments": arguments}) == [
        "engine.arguments.on: only the baseline has it; parameters.on is tried"
    ]


def test_a_grid_that_does_not_fit_beside_the_baseline_is_said() -> None:
    def lines(budget: int, strategy: str = "grid_search", **changes: Any) -> list[str]:
        optimization = {"strategy": strategy, "max_iterations": budget}
        return warnings(VLLM, optimization=optimization, **changes)

    assert lines(7) == lines(1, "bayesian") == []
    assert lines(6) == [
        "optimization.max_iterations: 6 counts the baseline: only 5 of 6 combinations will be tried"
    ]
    assert lines(1)[0].endswith("only 0 of 6 combinations will be tried")
    job = {"base_runtime": "job", "command": ["./measure"]}
    assert lines(6, **job) == []


def test_a_servers_parameter_that_its_command_does_not_use_is_refused() -> None:
    def found(**changes: Any) -> list[str]:
        return [str(problem) for problem in problems(with_changes(CUSTOM, **changes))]

    unused = "parameters.batch: the command does not use {batch}"
    assert found(parameters={"batch": [1, 2]}) == [unused]
    assert found(parameters={"env.BATCH": [1, 2]}) == []
    # A size of parallelism decides how many GPUs there are to be seen
    assert found(parameters={"tp": [1, 2]}) == []
    assert found(parameters={"tp": [1, 2]}, resources={"gpus": 1}) == [
        "parameters.tp: the command does not use {tp}"
    ]


def test_a_job_sees_its_parameters_in_the_environment_whatever_its_command_uses() -> None:
    optimization = {"objective": "maximize_speed"}
    job = {"base_runtime": "job", "command": ["./measure"], "optimization": optimization}
    assert warnings(CUSTOM, **job) == []


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_is_told_the_name_that_the_benchmark_asks_for(engine: str) -> None:
    file = from_dict(
        with_changes(
            VLLM,
            base_runtime=engine,
            engine={"arguments": {"seed": 1}},
            benchmark={"model_name": "n"},
        )
    )
    assert file.fixed_flags() == {"seed": 1, "served-model-name": "n"}
    assert file.served_name() == "n"
    assert file.engine.arguments == {"seed": 1}


@pytest.mark.parametrize("flag", ["served-model-name", "served_model_name", "--served-model-name"])
def test_a_name_that_the_user_gives_as_a_flag_is_the_one_asked_for(flag: str) -> None:
    arguments = {"arguments": {flag: "own"}}
    file = from_dict(with_changes(VLLM, engine=arguments))
    assert (file.served_name(), file.fixed_flags()) == ("own", {flag: "own"})
    named = from_dict(with_changes(VLLM, engine=arguments, benchmark={"model_name": "own"}))
    assert named.fixed_flags() == {flag: "own"}


def test_without_a_name_the_server_answers_to_its_model() -> None:
    file = from_dict(VLLM)
    assert (file.served_name(), file.fixed_flags()) == ("m", {})
    custom = from_dict(with_changes(CUSTOM, benchmark={"model_name": "n"}))
    assert (custom.served_name(), custom.fixed_flags()) == ("n", {})


@pytest.mark.parametrize("strategy", ["gp", "quick", "nsga2", "bayesian"])
def test_a_strategy_that_seeks_only_the_best_of_a_front_is_named(strategy: str) -> None:
    several = ["maximize_throughput", "minimize_ttft"]
    lines = warnings(VLLM, optimization={"objective": several, "strategy": strategy})
    assert lines == [line for line in lines if line.startswith("optimization.strategy: ")]
    assert bool(lines) == (strategy in ("gp", "quick"))
    weighed = {"objective": dict.fromkeys(several, 1), "strategy": strategy}
    assert warnings(VLLM, optimization=weighed) == []


def test_an_error_rate_of_the_slo_takes_the_place_of_the_benchmarks() -> None:
    both = {"slo": {"error_rate": {"threshold": 0.02}}, "benchmark": {"max_error_rate": 0.1}}
    assert warnings(VLLM, **both) == [
        "benchmark.max_error_rate: has no effect; slo.error_rate is the limit"
    ]
    soft = {"slo": {"error_rate": {"threshold": 0.02, "hard_fail": False}}}
    assert warnings(VLLM, **{**both, **soft}) == []


def test_a_job_says_its_cost_itself() -> None:
    job = {"base_runtime": "job", "command": ["x", "{max-batch}"], "engine": {}}
    data = {**CUSTOM, **job, "resources": {"price_per_gpu_hour": 2}}
    assert "resources.price_per_gpu_hour: has no effect for job; its command says its cost" in (
        from_dict(data).warnings
    )


def test_a_reuse_that_can_never_happen_is_said() -> None:
    reuse = {"optimization": {"reuse": True}}
    assert warnings(VLLM, **reuse) == []
    (line,) = warnings(CUSTOM, **reuse)
    assert line.startswith("optimization.reuse: has no effect for custom")
    rates = {"benchmark": {"rate_search": {"low": 1, "high": 8}}, "slo": {"ttft": {"threshold": 1}}}
    assert warnings(VLLM, **reuse, **rates) == [
        "optimization.reuse: has no effect with benchmark.rate_search"
    ]
