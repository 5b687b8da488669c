"""The form of a task: nothing is lost, and every problem is shown where it can be solved."""

from copy import deepcopy
from typing import Any

import pytest

from experiments import textareas
from experiments.form_places import PLACES
from experiments.forms import NEW_TASK, TaskForm
from experiments.models import TuningTask
from experiments.sections import RateSearch
from experiments.taskfile import from_dict

pytestmark = pytest.mark.django_db

SMALL: dict[str, Any] = {
    "task_name": "small",
    "base_runtime": "job",
    "command": ["./measure"],
    "parameters": {"x": [1, 2]},
    "optimization": {"objective": "maximize_speed"},
}
FULL: dict[str, Any] = {
    "task_name": "full",
    "description": "two\nlines",
    "deployment_mode": "local",
    "runtime_image_tag": "v1",
    "model": {"id_or_path": "/models/llama", "namespace": "autotuner"},
    "base_runtime": "vllm",
    "engine": {
        "executable": "/opt/vllm/bin/vllm",
        "arguments": {
            "max-model-len": 2048,
            "enforce-eager": True,
            "override": '{"a": 1, "b": "x, y"}',
            "version": "1.0",
        },
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "TEXT": 'two\nlines "quoted"', "EMPTY": ""},
    },
    "parallel_config": {"tp": [1, 2]},
    "parameters": {
        "max-num-seqs": [4, 8, 16],
        "gpu-memory-utilization": {"type": "continuous", "low": 0.7, "high": 0.95, "step": 0.05},
        "max-num-batched-tokens": {"type": "integer", "low": 256, "high": 8192, "log": True},
        "enable-prefix-caching": {"type": "boolean"},
        "kv-cache-dtype": ["auto", "8", "with, comma"],
        "load": {"type": "categorical", "values": ["low", "high"], "ordered": True},
        "tokens": {
            **{"type": "integer", "low": 1, "high": 8},
            "when": {"kv-cache-dtype": ["auto", "with, comma"], "enable-prefix-caching": True},
        },
        "env.X": {"type": "boolean", "when": {"load": "high"}},
    },
    "constraints": ["max-num-batched-tokens >= max-num-seqs", 'load == "low" or tokens > 2'],
    "optimization": {
        "strategy": "bayesian",
        "objective": "minimize_latency_p90",
        "max_iterations": 30,
        "timeout_per_iteration": 612.5,
        "max_parallel_experiments": 4,
        "seed": 1,
    },
    "resources": {"min_memory_mb": 8000, "min_host_memory_mb": 16000},
    "slo": {"latency": {"p90": {"threshold": 5.0, "weight": 2.0, "hard_fail": True}}},
    "benchmark": {
        "task": "text-to-text",
        "model_name": "llama",
        "traffic_scenarios": ["D(100,100)", "N(480,240)/(300,150)"],
        "request_rate": [0.5, 2],
        "max_requests_per_iteration": 50,
        "max_time_per_iteration": 1.5,
        "warmup_requests": 0,
        "additional_params": {"temperature": 0.0},
    },
}


def task(specification: dict[str, Any]) -> TuningTask:
    made = TuningTask()
    made.describe(from_dict(deepcopy(specification)))
    return made


def posted(instance: TuningTask | None = None, **changes: str) -> dict[str, str]:
    """What a browser sends back when only `changes` were typed."""
    form = TaskForm(instance=instance)
    shown = {name: form[name].value() for name in PLACES}
    texts = {name: "" if value is None else str(value) for name, value in shown.items()}
    return {name: text.replace("\n", "\r\n") for name, text in {**texts, **changes}.items()}


def filled(**changes: str) -> TaskForm:
    return TaskForm(posted(task(SMALL), **changes), instance=task(SMALL))


@pytest.mark.parametrize("specification", [SMALL, FULL], ids=["small", "full"])
def test_a_task_that_is_saved_unchanged_is_the_same(specification: dict[str, Any]) -> None:
    before = task(specification).specification
    form = TaskForm(posted(task(specification)), instance=task(specification))
    assert form.is_valid(), form.errors
    assert form.changed_data == []
    assert form.instance.specification == before
    assert list(form.instance.specification["parameters"]) == list(before["parameters"])


def test_a_change_of_one_field_keeps_all_others_and_those_not_shown() -> None:
    expected = deepcopy(task(FULL).specification)
    form = TaskForm(posted(task(FULL), seed="7"), instance=task(FULL))
    assert form.is_valid(), form.errors
    expected["optimization"]["seed"] = 7
    assert form.save().specification == expected
    assert TuningTask.objects.get().specification == expected


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("maximize_throughput, minimize_ttft_p90", ["maximize_throughput", "minimize_ttft_p90"]),
        (
            "maximize_throughput: 2, minimize_ttft: 0.5",
            {"maximize_throughput": 2, "minimize_ttft": 0.5},
        ),
    ],
)
def test_several_objectives_are_written_on_one_line(text: str, stored: Any) -> None:
    form = filled(objective=text)
    assert form.is_valid(), form.errors
    saved = form.save()
    assert saved.specification["optimization"]["objective"] == stored
    assert TuningTask.objects.get().objective == text
    again = TaskForm(posted(saved), instance=saved)
    assert again.is_valid() and again.changed_data == []


def test_every_text_area_is_read_back_as_it_was_written() -> None:
    engine, benchmark = FULL["engine"], FULL["benchmark"]
    for read, write, data in (
        (textareas.read_space, textareas.write_space, SMALL["parameters"]),
        (textareas.read_arguments, textareas.write_arguments, engine["arguments"]),
        (textareas.read_variables, textareas.write_variables, engine["env"]),
        (textareas.read_command, textareas.write_command, ["a", "", " b ", '"c"', "d\ne", "#"]),
        (textareas.read_list, textareas.write_list, benchmark["traffic_scenarios"]),
        (textareas.read_numbers, textareas.write_numbers, [1, 0.5]),
        (textareas.read_yaml, textareas.write_as_yaml, FULL["slo"]),
    ):
        assert read(write(data)) == data


def test_a_new_task_needs_name_model_and_search_space_only() -> None:
    form = TaskForm(posted(name="new", model="/models/x", search_space="max-num-seqs: 4, 8"))
    assert form.is_valid(), form.errors
    assert form.instance.specification == {
        **NEW_TASK,
        "task_name": "new",
        "model": {"id_or_path": "/models/x"},
        "parameters": {"max-num-seqs": [4, 8]},
    }
    assert form.instance.max_parallel_experiments == 1


def test_the_mini_syntax_becomes_the_task_files_dimensions() -> None:
    form = filled(search_space="a: 4, 8\n\nb: 0.80..0.95 step 0.05\nc: 256..8192 log\nd: true")
    assert form.is_valid(), form.errors
    assert form.instance.specification["parameters"] == {
        "a": [4, 8],
        "b": {"type": "continuous", "low": 0.8, "high": 0.95, "step": 0.05},
        "c": {"type": "integer", "low": 256, "high": 8192, "log": True},
        "d": [True],
    }


def test_conditions_and_constraints_can_be_typed() -> None:
    form = filled(
        search_space="x: 1, 2\ny: low, high ordered when x=2\nz: 1..9 log when y=low|high and x=2",
        constraints='z > x\n\ny == "low" or x < 2',
    )
    assert form.is_valid(), form.errors
    assert form.instance.specification["parameters"] == {
        "x": [1, 2],
        "y": {
            **{"type": "categorical", "values": ["low", "high"], "ordered": True},
            "when": {"x": 2},
        },
        "z": {
            **{"type": "integer", "low": 1, "high": 9, "log": True},
            "when": {"y": ["low", "high"], "x": 2},
        },
    }
    assert form.instance.specification["constraints"] == ["z > x", 'y == "low" or x < 2']
    assert form.instance.file.space().size() == 1 + 7


def test_an_emptied_field_takes_its_default() -> None:
    form = TaskForm(posted(task(FULL), seed="", slo="", max_minutes=""), instance=task(FULL))
    assert form.is_valid(), form.errors
    file = form.instance.file
    assert (file.optimization.seed, file.slo) == (0, None)
    assert "max_time_per_iteration" not in form.instance.specification["benchmark"]


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("name", "", "required"),
        ("engine", "nothing", "not one of the available choices"),
        ("model", "x" * 501, "at most 500"),
        ("fixed_arguments", "a", "line 1: write a name"),
        ("fixed_arguments", "a: 1, 2", "line 1: a has one value"),
        ("environment", "A=1\nA=2", "line 2: A is given twice, also in line 1"),
        ("command", "", "is missing; job needs"),
        ("command", "echo\n{y}", "y"),
        ("search_space", "", "is empty"),
        ("search_space", "x: 1\ny: 3..1", "y"),
        ("search_space", "x: 1\n\ny 3", "line 3: write a name"),
        ("search_space", "x: 1\nx: 2", "line 2: x is given twice"),
        ("search_space", "x: 1, 1", "x: 1 is given twice"),
        ("search_space", "two words: 1", "two words: is no flag's name"),
        ("search_space", "x: 1 when y", "line 1: cannot read 'y'; write when NAME=VALUE"),
        ("search_space", "x: 1 when y=1", "x.when.y: is not a parameter"),
        ("constraints", "x > 1\nx > 2", "[1]: no configuration meets it"),
        ("constraints", "\nx > yy", "[0]: 'yy' is no parameter"),
        ("strategy", "luck", "not one of the available choices"),
        ("objective", "be_fast", "is not an objective"),
        ("objective", "", "is missing"),
        ("objective", "minimize_ttft, minimize_ttft", "ttft_mean is given twice"),
        ("objective", "maximize_" + "x" * 100, "at most 100"),
        ("max_experiments", "0", "greater than or equal to 1"),
        ("timeout", "-1", "more than 0"),
        ("timeout", "nan", "Enter a number"),
        ("seed", "1.5", "whole number"),
        ("max_parallel_experiments", "", "required"),
        ("max_parallel_experiments", "0", "greater than or equal to 1"),
        ("max_parallel_experiments", "-2", "greater than or equal to 1"),
        ("max_parallel_experiments", "1.5", "whole number"),
        ("gpus", "0", "greater than or equal to 1"),
        ("min_memory_mb", "99999999999", "less than or equal to"),
        ("min_memory_mb", "-1", "greater than or equal to 0"),
        ("min_host_memory_mb", "-1", "greater than or equal to 0"),
        ("traffic_scenarios", "D(1)", "D(1)"),
        ("num_concurrency", "1, x", "'x' is not a number"),
        ("num_concurrency", "0", "[0]: 0 is too small"),
        ("request_rate", "-1", "[0]: "),
        ("generator", "none", "not one of the available choices"),
        ("slo", "ttft: [", "line 1"),
        ("slo", "ttft: {threshold: fast}", "ttft.threshold: expected a number"),
        ("slo", "speed: 1", "speed: unknown field"),
    ],
)
def test_a_problem_is_shown_at_the_field_that_caused_it(field: str, text: str, said: str) -> None:
    form = filled(**{field: text})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert said in " ".join(form.errors[field])


def test_a_problem_of_no_field_of_the_form_is_shown_above_it() -> None:
    broken = task(FULL)
    broken.specification["parallel_config"] = {"tp": [0]}
    form = TaskForm(posted(broken), instance=broken)
    assert not form.is_valid()
    assert "parallel_config.tp[0]" in form.non_field_errors()[0]


def test_all_problems_are_said_at_once() -> None:
    form = filled(search_space="x: 1, 1", objective="be_fast", seed="x")
    assert set(form.errors) == {"search_space", "objective", "seed"}


def test_more_in_parallel_than_the_setting_is_refused() -> None:
    form = filled(max_parallel_experiments="9")
    assert "at most 8" in form.errors["max_parallel_experiments"][0]
    assert filled(max_parallel_experiments="8").is_valid()


def test_the_field_says_what_it_means_and_its_limits() -> None:
    field = TaskForm().fields["max_parallel_experiments"]
    assert field.label == "Max parallel experiments"
    assert field.help_text == (
        "Number of experiments to run concurrently (limited by GPU availability)"
    )
    assert TaskForm()["max_parallel_experiments"].value() == 1
    assert (field.widget.attrs["min"], field.widget.attrs["max"]) == (1, 8)


def test_a_name_that_is_taken_is_refused() -> None:
    task(SMALL).save()
    form = TaskForm(posted(task(SMALL)), instance=task(SMALL))
    assert "already exists" in form.errors["name"][0]


@pytest.mark.parametrize(("text", "resources"), [("", {}), ("0", {"min_memory_mb": 0})])
def test_memory_that_is_not_said_is_estimated_and_0_is_no_minimum(
    text: str, resources: dict[str, int]
) -> None:
    for before in ({}, {"min_memory_mb": 0}, {"min_memory_mb": 8000}):
        instance = task({**SMALL, "resources": before})
        form = TaskForm(posted(instance, min_memory_mb=text), instance=instance)
        assert form.is_valid(), form.errors
        assert form.instance.specification.get("resources", {}) == resources
        shown = TaskForm(instance=form.instance)["min_memory_mb"].value()
        assert shown == (None if text == "" else 0)


def test_the_memory_field_says_that_empty_means_estimated() -> None:
    assert "Empty: estimated from the model's files" in TaskForm().fields["min_memory_mb"].help_text


def test_the_hosts_memory_is_asked_for_beside_it() -> None:
    form = filled(min_host_memory_mb="16000")
    assert form.is_valid(), form.errors
    assert form.instance.file.resources.min_host_memory_mb == 16000
    assert TaskForm()["min_host_memory_mb"].value() == 0


def test_no_field_is_called_dataset() -> None:
    assert "dataset" not in TaskForm().fields  # Unfold takes such a form for something else


def test_pruning_and_the_search_for_a_rate_are_read_and_shown() -> None:
    searched = deepcopy(FULL)
    del searched["benchmark"]["request_rate"]
    del searched["benchmark"]["traffic_scenarios"]
    form = TaskForm(
        posted(task(searched), pruning="False", rate_search="{low: 0.5, high: 8}"),
        instance=task(searched),
    )
    assert form.is_valid(), form.errors
    file = form.instance.file
    assert file.optimization.pruning is False
    assert file.benchmark.rate_search == RateSearch(low=0.5, high=8)
    shown = TaskForm(instance=form.instance)
    assert shown["pruning"].value() is False
    assert shown["rate_search"].value() == "low: 0.5\nhigh: 8"
    again = TaskForm(posted(form.instance), instance=form.instance)
    assert again.is_valid() and again.changed_data == []
