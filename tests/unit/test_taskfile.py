import copy
import json
import random
from pathlib import Path

import pytest

from experiments.errors import BadInput
from experiments.slo import Limit, Limits
from experiments.space import Choices
from experiments.taskfile import TaskFile, from_dict, load, problems
from experiments.validation import _models

EXAMPLE = """
task_name: llama-throughput            # unique
description: …
model: {id_or_path: /models/llama}     # a path or a hub id
base_runtime: vllm                     # vllm | sglang | llamacpp | custom | job
engine:                                # optional
  executable: /opt/vllm/bin/vllm       # default: setting, else PATH
  arguments: {max-model-len: 2048, enforce-eager: true}   # fixed flags of every experiment
  env: {VLLM_CPU_KVCACHE_SPACE: "1"}
parameters:                            # the search space: one flag per key
  max-num-seqs: [4, 8, 16, 32]                                            # a list: choices
  gpu-memory-utilization: {type: continuous, low: 0.7, high: 0.95, step: 0.05}
  max-num-batched-tokens: {type: integer, low: 256, high: 8192, log: true}
  enable-prefix-caching: [true, false]
optimization:
  strategy: bayesian                   # grid_search | random | bayesian | …
  objective: maximize_throughput
  max_iterations: 30                   # experiments at most
  timeout_per_iteration: 600           # seconds for one experiment, engine start included
  max_parallel_experiments: 4
  seed: 1
resources: {gpus: 1, min_memory_mb: 8000}
slo:                                   # optional; every part optional; thresholds in seconds
  latency: {p90: {threshold: 5.0, weight: 2.0, hard_fail: true, fail_ratio: 0.2}}
  ttft: {threshold: 1.0}
  tpot: {threshold: 0.05}
  steepness: 0.1
benchmark:
  traffic_scenarios: ["D(100,100)"]
  num_concurrency: [1, 4, 8]           # one load level each
  max_requests_per_iteration: 100      # per load level
  max_time_per_iteration: 10           # per load level, in minutes
"""

# The same shape with the fields that only files from elsewhere carry.
FROM_ELSEWHERE = {
    "task_name": "elsewhere",
    "deployment_mode": "local",
    "model": {"id_or_path": "llama-3-2-1b-instruct", "namespace": "autotuner"},
    "base_runtime": "sglang",
    "runtime_image_tag": "v0.5.2-cu126",
    "parallel_config": {"tp": [1, 2], "pp": [1], "dp": [1]},
    "parameters": {"mem-fraction-static": [0.8, 0.85], "schedule-policy": ["lpm", "fcfs"]},
    "optimization": {
        "strategy": "grid_search",
        "objective": "minimize_latency",
        "max_iterations": 6,
        "timeout_per_iteration": 600,
    },
    "slo": {"latency": {"p99": {"threshold": 10.0}}, "ttft": {"threshold": 10, "weight": 2}},
    "benchmark": {
        "task": "text-to-text",
        "model_name": "Llama-3.2-1B-Instruct",
        "model_tokenizer": "meta-llama/Llama-3.2-1B-Instruct",
        "traffic_scenarios": ["D(100,100)", "N(200,20)/(100,10)"],
        "num_concurrency": [4, 1],
        "max_time_per_iteration": 30,
        "max_requests_per_iteration": 50,
        "additional_params": {"temperature": 0.0},
    },
}
JOB = {
    "task_name": "job",
    "base_runtime": "job",
    "command": ["python", "measure.py", "{batch}"],
    "parameters": {"batch": [1, 2]},
    "optimization": {"objective": "minimize_loss"},
}


def changed(data=None, **changes):
    """A valid file's data with some fields changed; `a__b` is field b of section a."""
    data = copy.deepcopy(load(EXAMPLE).to_dict() if data is None else data)
    for field, value in changes.items():
        *sections, last = field.split("__")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return data


def complaints(data=None, **changes):
    return [str(problem) for problem in problems(changed(data, **changes))]


def test_the_example_of_the_documentation_loads_unchanged():
    file = load(EXAMPLE)
    assert (file.task_name, file.description, file.base_runtime) == (
        "llama-throughput",
        "…",
        "vllm",
    )
    assert file.model.id_or_path == "/models/llama"
    assert file.engine.arguments == {"max-model-len": 2048, "enforce-eager": True}
    assert file.engine.env == {"VLLM_CPU_KVCACHE_SPACE": "1"}
    assert file.space().size() == 4 * 6 * 7937 * 2
    assert file.optimization.max_parallel_experiments == 4
    assert (file.resources.gpus, file.resources.min_memory_mb) == (1, 8000)
    limits = dict(file.slo.limits())
    assert list(limits) == ["latency_p90", "ttft_mean", "tpot_mean"]
    assert limits["latency_p90"].hard_fail and limits["latency_p90"].fail_ratio == 0.2
    assert [level.concurrency for level in file.levels()] == [1, 4, 8]
    assert file.warnings == []


def test_the_same_file_loads_from_json():
    file = load(EXAMPLE)
    assert load(json.dumps(file.to_dict())) == file
    assert load(json.dumps(file.to_dict(), indent="\t")) == file


SEVERAL = {
    **FROM_ELSEWHERE,
    "optimization": {"objective": ["maximize_throughput", "minimize_ttft_p90"]},
    "slo": {
        "throughput": {"threshold": 500, "hard_fail": True},
        "requests_per_second": {"threshold": 0.5},
        "error_rate": {"threshold": 0.02, "hard_fail": False},
    },
}
WEIGHED = {
    **JOB,
    "optimization": {"objective": {"minimize_loss": 2, "maximize_speed": 0.5}},
}


@pytest.mark.parametrize(
    "data",
    [FROM_ELSEWHERE, JOB, SEVERAL, WEIGHED],
    ids=["elsewhere", "job", "several", "weighed"],
)
def test_a_file_survives_export(data):
    file = from_dict(data)
    assert file.to_dict() == data
    assert load(file.dump_yaml()) == file


def test_export_holds_what_the_user_wrote_in_the_users_form():
    written = load(EXAMPLE).to_dict()
    assert written["slo"]["ttft"] == {"threshold": 1.0}
    assert "max_error_rate" not in written["benchmark"]
    assert "timeout_per_iteration: 600\n" in load(EXAMPLE).dump_yaml()
    assert "max-num-seqs: [4, 8, 16, 32]\n" in load(EXAMPLE).dump_yaml()


def test_a_file_from_elsewhere_loads_and_says_what_has_no_effect():
    file = from_dict(FROM_ELSEWHERE)
    assert [warning.split(":")[0] for warning in file.warnings] == [
        "model.namespace",
        "runtime_image_tag",
        "benchmark.model_tokenizer",
        "optimization.max_iterations",
    ]
    assert file.benchmark.additional_params == {"temperature": 0.0}


def test_parallel_sizes_become_the_engines_own_flags():
    assert from_dict(FROM_ELSEWHERE).space().dimensions[0] == Choices("tp-size", (1, 2))
    vllm = from_dict(changed(parallel_config={"tp": [2], "pp": [1], "dp": [1, 2]}))
    assert vllm.space().names[:2] == ["tensor-parallel-size", "data-parallel-size"]


def test_levels_are_every_scenario_at_every_load_from_the_lightest():
    labels = [level.label for level in from_dict(FROM_ELSEWHERE).levels()]
    assert labels == [
        "D(100,100) · concurrency 1",
        "N(200,20)/(100,10) · concurrency 1",
        "D(100,100) · concurrency 4",
        "N(200,20)/(100,10) · concurrency 4",
    ]
    rates = from_dict(changed(benchmark={"request_rate": [4, 2.5]}))
    assert [level.label for level in rates.levels()] == [
        "D(100,100) · 2.5 requests/s",
        "D(100,100) · 4 requests/s",
    ]


def test_defaults_measure_a_short_benchmark_one_experiment_at_a_time():
    file = from_dict(JOB)
    assert file.optimization.strategy == "gp"
    assert file.optimization.max_iterations == 10
    assert file.optimization.timeout_per_iteration == 600
    assert file.optimization.max_parallel_experiments == 1
    assert file.benchmark.num_concurrency == [1, 4]
    assert file.benchmark.max_error_rate == 0.01
    assert file.resources.gpus is None


def test_the_warm_up_is_as_many_requests_as_the_highest_load():
    assert load(EXAMPLE).benchmark.warmup_requests == 8
    assert from_dict(changed(benchmark={"request_rate": [2.5]})).benchmark.warmup_requests == 3
    assert from_dict(changed(benchmark__warmup_requests=0)).benchmark.warmup_requests == 0


def test_variables_are_text():
    file = from_dict(changed(engine__env={"A": 4, "B": True, "C": "x", "D": 0.5}))
    assert file.engine.env == {"A": "4", "B": "1", "C": "x", "D": "0.5"}


def test_grid_search_needs_a_step():
    endless = {"type": "continuous", "low": 0, "high": 1}
    assert complaints(FROM_ELSEWHERE, parameters__x=endless) == [
        "parameters.x: grid_search cannot list a range without a step"
    ]
    assert complaints(FROM_ELSEWHERE, parameters__x={**endless, "step": 0.5}) == []


def test_a_command_may_use_only_what_there_is():
    assert complaints(JOB, command=["x", "{bacth}"])[0].startswith("command: unknown placeholder")
    assert complaints(JOB, command=["x", "{model}"]) == [
        "model.id_or_path: is missing; the command uses {model}"
    ]
    assert complaints(JOB, parameters__port=[1]) == [
        "parameters.port: is a placeholder of its own; rename it"
    ]
    assert from_dict(changed(JOB, command=["sleep", 1])).command == ["sleep", "1"]


def test_a_job_needs_no_model_and_is_told_that_it_has_no_benchmark():
    file = from_dict(changed(JOB, benchmark={}, slo={}, engine={"executable": "x"}))
    assert [warning.split(":")[0] for warning in file.warnings] == [
        "engine.executable",
        "benchmark",
        "slo",
    ]


def test_a_fixed_argument_that_is_also_searched_is_said():
    file = from_dict(changed(engine__arguments={"max-num-seqs": 2}))
    assert file.warnings == [
        "engine.arguments.max-num-seqs: only the baseline has it; parameters.max-num-seqs is tried"
    ]


def test_a_benchmarks_objective_is_a_metric_that_it_measures():
    (line,) = complaints(optimization__objective="maximize_speed")
    assert line.startswith(
        "optimization.objective: 'maximize_speed' is not an objective; known: maximize_throughput"
    )
    (line,) = complaints(optimization__objective="minimize_latencyp90")
    assert "did you mean minimize_latency_p90?" in line
    (line,) = complaints(optimization__objective="fast")
    assert "'fast' is not an objective" in line


def test_a_cost_needs_a_price():
    cheap = {"optimization__objective": ["minimize_cost_per_million_tokens", "minimize_ttft"]}
    assert complaints(**cheap) == [
        "resources.price_per_gpu_hour: is missing; cost_per_million_tokens needs it"
    ]
    assert complaints(**cheap, resources={"price_per_gpu_hour": 2.5}) == []
    (line,) = complaints(resources={"price_per_gpu_hour": 0})
    assert line == "resources.price_per_gpu_hour: 0 is too small; more than 0"


def test_a_jobs_objective_may_be_any_name():
    assert complaints(JOB, optimization__objective="maximize_speed") == []


@pytest.mark.parametrize(("text", "kind"), [("- 1", "a list"), ("x", "text 'x'")])
def test_a_text_that_is_no_task_file_is_refused(text, kind):
    with pytest.raises(BadInput, match=f"a task file has fields such as task_name, not {kind}"):
        load(text)


@pytest.mark.parametrize("text", ["", " \n", "# nothing yet\n", "null"])
def test_an_empty_file_is_refused_by_its_name(text):
    with pytest.raises(BadInput) as refused:
        load(text, "task.yaml")
    assert str(refused.value) == "task.yaml: is empty; a task file has fields such as task_name"


@pytest.mark.parametrize("name", ["port", "host", "model"])
def test_a_flag_that_autotuner_sets_itself_is_refused(name: str) -> None:
    data = {
        "task_name": "t",
        "base_runtime": "vllm",
        "model": {"id_or_path": "m"},
        "parameters": {name: [1, 2]},
        "optimization": {"objective": "maximize_throughput"},
    }
    with pytest.raises(BadInput, match=f"parameters.{name}: is set by Autotuner"):
        from_dict(data)


def test_the_search_space_has_at_most_256_parameters():
    assert complaints(parameters={f"x{number}": [1, 2] for number in range(257)}) == [
        "parameters: has 257 values; at most 256"
    ]
    wide = from_dict(
        changed(
            parameters={f"x{number}": [1, 2] for number in range(256)},
            constraints=[" + ".join(f"x{number}" for number in range(45)) + " > 60"],
            optimization__strategy="random",
        )
    )
    assert wide.space().bound() == 2**256 and wide.space().size() is None
    assert wide.space().contains(wide.space().sample(random.Random(1)))


def test_grid_search_needs_a_space_that_can_be_listed():
    wide = {"type": "integer", "low": 1, "high": 1000}
    said = complaints(
        optimization__strategy="grid_search",
        parameters={"x": wide, "y": wide},
        constraints=["x < y"],
    )
    assert said == [
        "parameters: grid_search: x × y cannot be listed: of 1000000 combinations at most 100000 "
        "may depend on each other; give fewer values"
    ]


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ([1], "constraints[0]: expected text, got 1"),
        ("a > b", "constraints: expected a list, got text 'a > b'"),
        (["max-num-seqs > 4", "max-num-sqs > 4"], "constraints[1]: 'max-num-sqs' is no parameter"),
        (["max-num-seqs > 4", "max-num-seqs < 8"], "constraints[1]: no configuration meets it and"),
        (["max-model-len > 4"], "constraints[0]: names no parameter that is searched"),
        (["max-num-seqs * 100 >= max-model-len"], ""),
        (["max-num-seqs > 3"] * 101, "constraints: has 101 values; at most 100"),
    ],
)
def test_a_constraint_is_checked_with_the_file(constraints, said):
    found = complaints(constraints=constraints)
    assert len(found) == bool(said) and said in "".join(found)


def test_the_documentation_lists_every_field():
    def fields(model, place=""):
        for name, field in model.model_fields.items():
            inner = next(_models(field.annotation), None)
            if inner in (None, Limits) or issubclass(inner, Limit):
                yield f"{place}{name}"
            else:
                yield from fields(inner, f"{place}{name}.")

    text = (Path(__file__).parents[2] / "docs" / "task-file.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = set()
    for row in rows:
        first, *others = row.strip().replace("`", "").split(", ")
        section = first.rpartition(".")[0]
        listed |= {first, *(section + other for other in others)}
    limit = {f"slo.*.{name}" for name in Limit.model_fields}
    assert {*fields(TaskFile), *limit} <= listed


def test_pruning_is_the_rule_except_for_a_grid():
    assert from_dict(JOB).optimization.pruning
    assert not from_dict(changed(optimization__strategy="grid_search")).optimization.pruning
    grid = changed(optimization__strategy="grid_search", optimization__pruning=True)
    assert from_dict(grid).optimization.pruning


SEARCH = {"benchmark": {"rate_search": {"low": 2}}, "slo": {"ttft": {"threshold": 1.0}}}


def test_a_rate_is_searched_instead_of_fixed_levels():
    file = from_dict(changed(**SEARCH))
    assert file.benchmark.num_concurrency == []
    assert [level.request_rate for level in file.levels()] == [2]
    assert file.benchmark.labels() == ["D(100,100) · 2 to 64 requests/s, searched"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (
            {"slo": None},
            "benchmark.rate_search: needs an slo with a limit on latency, ttft or tpot",
        ),
        ({"slo__throughput": {"threshold": 5}}, "cannot be with slo.throughput"),
        ({"benchmark__num_concurrency": [1]}, "cannot be with num_concurrency; keep one"),
        ({"benchmark__request_rate": [1]}, "cannot be with request_rate; keep one"),
        ({"benchmark__traffic_scenarios": ["D(1,1)", "D(2,2)"]}, "one of the traffic_scenarios"),
        ({"benchmark__rate_search": {"low": 64}}, "rate_search.high: 64 is not above low, 64"),
        ({"benchmark__rate_search": {"tolerance": 0}}, "tolerance: 0 is too small; at least 0.01"),
        ({"benchmark__rate_search": {"lo": 1}}, "rate_search.lo: unknown field"),
        ({"benchmark__rate_search": [1, 2]}, "rate_search: expected a mapping, got a list"),
    ],
)
def test_a_search_says_what_it_cannot_do(wrong, complaint):
    (found,) = complaints(changed(**SEARCH), **wrong)
    assert complaint in found


def test_goodput_needs_limits():
    goodput = changed(optimization__objective="maximize_goodput")
    assert complaints(goodput, slo=None) == [
        "slo: is missing; goodput needs a limit on latency, ttft or tpot"
    ]
    assert complaints(goodput, slo={"tpot": {"threshold": 0.05}}) == []
