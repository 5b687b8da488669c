"""From parameters to words, variables and GPUs."""

import itertools
import time

import pytest

from experiments.engines.flags import (
    check_variable,
    flag,
    format_value,
    gpu_counts,
    gpus_of,
    split_environment,
    with_dashes,
    with_underscores,
)
from experiments.errors import BadInput


def test_what_is_named_env_goes_into_the_environment() -> None:
    flags, environment = split_environment(
        {"max-num-seqs": 8, "env.OMP_NUM_THREADS": 2, "env.VLLM_USE_V1": True, "env.OFF": False}
    )
    assert flags == {"max-num-seqs": 8}
    assert environment == {"OMP_NUM_THREADS": "2", "VLLM_USE_V1": "1", "OFF": "0"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.7 + 0.15, "0.85"),
        (0.1 + 0.2, "0.3"),
        (1e-05, "1e-05"),
        (8192.0, "8192"),
        (8192, "8192"),
        (True, "true"),
        ("auto", "auto"),
    ],
)
def test_values_are_written_as_a_person_would(value: str | int | float, written: str) -> None:
    assert format_value(value) == written


def test_a_value_that_looks_like_a_flag_is_tied_to_its_own() -> None:
    assert flag("max-logprobs", -1) == ["--max-logprobs=-1"]
    assert flag("dtype", "auto") == ["--dtype", "auto"]


def test_of_two_spellings_of_one_flag_the_later_counts() -> None:
    assert with_dashes({"max_num_seqs": 4, "seed": 1, "--max-num-seqs": 8}) == {
        "max-num-seqs": 8,
        "seed": 1,
    }
    assert with_underscores({"n-ctx": 512, "n_ctx": 1024}) == {"n_ctx": 1024}


def test_a_key_below_a_dot_keeps_its_spelling() -> None:
    assert with_dashes({"compilation_config.cudagraph_mode": "NONE"}) == {
        "compilation-config.cudagraph_mode": "NONE"
    }


@pytest.mark.parametrize(
    ("parameters", "gpus"),
    [
        ({}, 1),
        ({"max-num-seqs": 64}, 1),
        ({"tensor-parallel-size": 4}, 4),
        ({"tensor_parallel_size": 2, "pipeline-parallel-size": 3}, 6),
        ({"tp": 2, "pp": 2, "dp": 2}, 8),
        ({"tp_size": "2", "dp-size": 2}, 4),
        ({"tp-size": 4, "dp-size": 4, "enable-dp-attention": True}, 4),
    ],
)
def test_parallel_sizes_multiply_to_gpus(
    parameters: dict[str, str | int | bool], gpus: int
) -> None:
    assert gpus_of(parameters) == gpus


@pytest.mark.parametrize("size", [0, -1, "two", 1.5, True])
def test_a_parallel_size_is_a_whole_number_from_1(size: str | int | float) -> None:
    with pytest.raises(BadInput, match="tensor-parallel-size: must be a whole number of GPUs"):
        gpus_of({"tensor_parallel_size": size})


def test_the_gpus_of_a_space_are_those_of_its_configurations_and_of_the_baseline() -> None:
    sizes = {"tp": [1, "2", 3], "pipeline_parallel_size": [2, 5], "dp-size": [1, 4]}
    fixed = {"tp-size": 7}
    each = itertools.product(*([(name, v) for v in values] for name, values in sizes.items()))
    assert gpu_counts(fixed, sizes) == {gpus_of(fixed), *(gpus_of(dict(one)) for one in each)}
    assert gpu_counts({"tensor-parallel-size": 4}, {"pp": [1, 2], "max-num-seqs": [8]}) == {4, 8}


def test_data_parallel_ranks_that_share_gpus_need_none_of_their_own() -> None:
    sizes = {"tp": [2, 4], "dp": [1, 3]}
    assert gpu_counts({"enable-dp-attention": True}, sizes) == {1, 2, 4}
    assert gpu_counts({}, {**sizes, "enable_dp_attention": [True, False]}) == {1, 2, 4, 6, 12}


def test_the_gpus_of_a_vast_space_are_products_not_combinations() -> None:
    sizes = list(range(1, 61))
    started = time.process_time()
    counts = gpu_counts({}, {"tp": sizes, "pp": sizes, "dp": sizes})
    assert time.process_time() - started < 0.5  # 216,000 combinations one by one take longer
    assert (min(counts), max(counts)) == (1, 60**3)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "_x", "VLLM_PORT", "CUDA_LAUNCH_BLOCKING"])
def test_a_user_may_set_any_other_variable(name: str) -> None:
    check_variable("engine.env", name)


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A-B", "Ä", "A\n"])
def test_what_is_no_variables_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"engine\.env: is no variable's name"):
        check_variable("engine.env", name)
