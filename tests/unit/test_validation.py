"""What a user reads when a task file is wrong."""

import copy

import pytest

from experiments.errors import BadInput
from experiments.taskfile import from_dict, problems

NO_NAME = "is no variable's name; use letters, digits and _ only"
TOO_LARGE = "is too large; at most 2147483647"
VALID = {
    "task_name": "valid",
    "model": {"id_or_path": "/models/llama"},
    "base_runtime": "vllm",
    "parameters": {"max-num-seqs": [4, 8]},
    "optimization": {"objective": "maximize_throughput"},
    "slo": {"ttft": {"threshold": 1.0}},
    "benchmark": {"num_concurrency": [1, 4]},
}


def changed(**changes):
    """A valid file's data with some fields changed; `a__b` is field b of section a."""
    data = copy.deepcopy(VALID)
    for field, value in changes.items():
        *sections, last = field.split("__")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return data


def complaints(**changes):
    return [str(problem) for problem in problems(changed(**changes))]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"optimization__max_iteration": 3},
            "optimization.max_iteration: unknown field; did you mean max_iterations?",
        ),
        (
            {"slo__ttft": {"treshold": 1}},
            "slo.ttft.treshold: unknown field; did you mean threshold?",
        ),
        (
            {"slo__ttft": {"p90": {"threshold": "fast"}}},
            "slo.ttft.p90.threshold: expected a number, got text 'fast'",
        ),
        ({"slo__ttft": {"weight": 1}}, "slo.ttft.threshold: is missing"),
        ({"slo__steepness": 0}, "slo.steepness: 0 is too small; more than 0"),
        ({"deployment_mode": "docker"}, "deployment_mode: 'docker' is not supported; use local"),
        ({"base_runtime": "vlm"}, "base_runtime: 'vlm' is not a runtime; did you mean vllm?"),
        (
            {"optimization__strategy": "bayes"},
            "optimization.strategy: 'bayes' is not a strategy; did you mean bayesian?",
        ),
        (
            {"optimization__max_iterations": "30"},
            "optimization.max_iterations: expected a whole number, got text '30'",
        ),
        (
            {"optimization__max_parallel_experiments": True},
            "optimization.max_parallel_experiments: expected a whole number, got true",
        ),
        ({"resources__gpus": 0}, "resources.gpus: 0 is too small; at least 1"),
        ({"benchmark__num_concurrency": 4}, "benchmark.num_concurrency: expected a list, got 4"),
        ({"benchmark__num_concurrency": []}, "benchmark.num_concurrency: is empty"),
        (
            {"benchmark__num_concurrency": [1, "2"]},
            "benchmark.num_concurrency[1]: expected a whole number, got text '2'",
        ),
        ({"benchmark__num_concurrency": [1, 1]}, "benchmark.num_concurrency: 1 is given twice"),
        (
            {"benchmark__request_rate": [2]},
            "benchmark.request_rate: cannot be with num_concurrency; keep one",
        ),
        (
            {"benchmark__task": "chat"},
            "benchmark.task: 'chat' is not supported; known: text-to-text",
        ),
        (
            {"parameters__max-num-seqs": []},
            "parameters.max-num-seqs: the list is empty; give at least one value",
        ),
        (
            {"parameters__max_num_seqs": [1]},
            "parameters.max_num_seqs: is also given as max-num-seqs",
        ),
        ({"parameters": {}}, "parameters: is empty; name at least one flag and the values to try"),
        ({"parameters": {1: [2]}}, "parameters.1: a name must be text, not 1"),
        (
            {"parameters__tp": [1, "two"]},
            "parameters.tp: must be a whole number of GPUs from 1, not 'two'",
        ),
        (
            {"engine__arguments": {"tp": 0}},
            "engine.arguments.tp: must be a whole number of GPUs from 1, not 0",
        ),
        (
            {"parameters__tp": [1], "parallel_config": {"tp": [2]}},
            "parallel_config.tp: is also given as tp; keep one of them",
        ),
        (
            {"base_runtime": "llamacpp", "parallel_config": {"dp": [2]}},
            "parallel_config.dp: llamacpp has no such size; leave it out, or [1]",
        ),
        ({"command": "ls -l"}, "command: expected a list of arguments, not a shell line"),
        ({"command": ["ls"]}, "command: is for custom and job only; use engine.executable"),
        ({"base_runtime": "custom"}, "command: is missing; custom needs a list of arguments"),
        ({"model": {}}, "model.id_or_path: is missing; vllm needs a model"),
        ({"model": "llama"}, "model: expected a mapping, got text 'llama'"),
        (
            {"engine__arguments": {"x": [1]}},
            "engine.arguments.x: a list is not a value; use text, a number, true or false",
        ),
        ({"engine__env": {"A": None}}, "engine.env.A: expected text, got nothing"),
        ({"engine__env": {"A B": 1}}, f"engine.env.A B: {NO_NAME}"),
        ({"engine__arguments": {"env.1": 1}}, f"engine.arguments.env.1: {NO_NAME}"),
        (
            {"optimization__max_iterations": 2**31},
            f"optimization.max_iterations: 2147483648 {TOO_LARGE}",
        ),
        (
            {"optimization__seed": 10**400},
            f"optimization.seed: a number of 401 digits {TOO_LARGE}",
        ),
        (
            {"optimization__seed": -(2**31)},
            "optimization.seed: -2147483648 is too small; at least -2147483647",
        ),
        (
            {"optimization__max_parallel_experiments": 2**31},
            f"optimization.max_parallel_experiments: 2147483648 {TOO_LARGE}",
        ),
        (
            {"optimization__timeout_per_iteration": float("inf")},
            "optimization.timeout_per_iteration: expected a finite number, got inf",
        ),
        (
            {"optimization__timeout_per_iteration": 1e300},
            f"optimization.timeout_per_iteration: 1e+300 {TOO_LARGE}",
        ),
        (
            {"optimization__timeout_per_iteration": 10**400},
            "optimization.timeout_per_iteration: a number of 401 digits is too large",
        ),
        ({"resources__gpus": 2**31}, f"resources.gpus: 2147483648 {TOO_LARGE}"),
        ({"resources__min_memory_mb": 2**31}, f"resources.min_memory_mb: 2147483648 {TOO_LARGE}"),
        (
            {"benchmark__max_requests_per_iteration": 2**31},
            f"benchmark.max_requests_per_iteration: 2147483648 {TOO_LARGE}",
        ),
        (
            {"benchmark__warmup_requests": 2**31},
            f"benchmark.warmup_requests: 2147483648 {TOO_LARGE}",
        ),
        (
            {"benchmark__num_concurrency": [2**31]},
            f"benchmark.num_concurrency[0]: 2147483648 {TOO_LARGE}",
        ),
        (
            {"parameters__x": [10**400]},
            "parameters.x: the number is too large; at most 9223372036854775807",
        ),
        (
            {"parameters__x": {"type": "int", "low": 1, "high": 10**400}},
            "parameters.x.high: the number is too large; at most 9223372036854775807",
        ),
        (
            {"engine__arguments": {"x": 10**400}},
            "engine.arguments.x: the number is too large; at most 9223372036854775807",
        ),
        (
            {"slo__ttft": {"p75": {"threshold": 1}}},
            "slo.ttft.p75: unknown field; known: mean, p50, p90, p95, p99",
        ),
        (
            {"slo__ttft": {"p90": {"threshold": 1}, "p75": 2}},
            "slo.ttft.p75: unknown field; known: mean, p50, p90, p95, p99",
        ),
        (
            {"parallel_config": {"tp": list(range(1, 66))}},
            "parallel_config.tp: has 65 values; at most 64",
        ),
        ({"parallel_config": {"tp": [2, 2]}}, "parallel_config.tp: 2 is given twice"),
        (
            {"parameters__tp": {"type": "int", "low": 1, "high": 1000}},
            "parameters.tp: has 1000 values; at most 64",
        ),
        (
            {"parameters": {"tp": [1, 2], "tensor_parallel_size": [2]}},
            "parameters.tensor_parallel_size: is also given as tp",
        ),
        ({"task_name": ""}, "task_name: is empty"),
        ({"task_name": "x" * 201}, "task_name: is longer than 200 characters"),
        ({"task_name": "a\nb"}, "task_name: must be one line without spaces around it"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it_and_the_fix(changes, complaint):
    found = complaints(**changes)
    assert found[0] == complaint
    with pytest.raises(BadInput) as refused:
        from_dict(changed(**changes))
    assert str(refused.value) == complaint
    assert all("\n" not in line for line in found)


def test_a_scenario_that_is_none_is_refused_with_the_forms():
    (line,) = complaints(benchmark__traffic_scenarios=["X(1)"])
    assert line.startswith("benchmark.traffic_scenarios: 'X(1)' is not a traffic scenario")


def test_every_problem_is_found_at_once():
    found = complaints(task_name="", parameters__x=[], optimization__seed="1", extra=1)
    assert {line.split(":")[0] for line in found} == {
        "task_name",
        "parameters.x",
        "optimization.seed",
        "extra",
    }


def test_what_is_missing_comes_after_the_misspelt_name():
    data = changed(optimization={"objektive": "maximize_throughput"})
    assert [str(problem) for problem in problems(data)] == [
        "optimization.objektive: unknown field; did you mean objective?",
        "optimization.objective: is missing",
    ]


def test_a_valid_file_has_no_problems():
    assert problems(VALID) == []


RESERVED = [
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    *("HIP_VISIBLE_DEVICES", "HOST", "PORT", "AUTOTUNER_GPUS", "AUTOTUNER_ANYTHING"),
]


@pytest.mark.parametrize("name", RESERVED)
def test_a_variable_of_the_lease_or_of_autotuner_is_refused_wherever_it_is_given(name):
    ours = "is set by Autotuner; leave it out"
    assert complaints(engine__env={name: "1"}) == [f"engine.env.{name}: {ours}"]
    fixed = complaints(engine__arguments={f"env.{name}": "1"})
    assert fixed == [f"engine.arguments.env.{name}: {ours}"]
    assert complaints(parameters={f"env.{name}": [1]}) == [f"parameters.env.{name}: {ours}"]


@pytest.mark.parametrize(
    "name", ["mark", "GPUS", "node", "data-dir", "data_dir", "https", "vllm.executable"]
)
def test_a_jobs_parameter_that_would_be_one_of_our_variables_is_refused(name):
    job = {"base_runtime": "job", "command": ["./measure"], "model": {}, "slo": {}}
    job["optimization"] = {"objective": "minimize_loss"}
    ours = "is set by Autotuner; leave it out"
    assert complaints(**job, parameters={name: [1]}) == [f"parameters.{name}: {ours}"]
    fixed = complaints(**job, engine__arguments={name: 1}, parameters={"x": [1]})
    assert fixed == [f"engine.arguments.{name}: {ours}"]
    assert complaints(**job, parameters={f"{name}s": [1], "executable": [1]}) == []


def test_a_flag_of_ours_is_refused_in_any_spelling():
    for name in ("--port", "model_path", "--model-path"):
        (line,) = complaints(engine__arguments={name: "x"})
        assert line == f"engine.arguments.{name}: is set by Autotuner; leave it out"
