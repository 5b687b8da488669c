"""What engines say they run with. The logs are those of real ones, shortened."""

import pytest

from experiments.engines import ENGINES
from experiments.engines.effective import differing, settings_of

VLLM = (
    "(APIServer pid=5469) INFO 11-24 06:00:01 [api_utils.py:286] non-default args: {'model_tag': "
    "'/m256', 'port': 8123, 'model': '/m256', 'dtype': 'float32', 'max_model_len': 2048, "
    "'enforce_eager': True, 'served_model_name': ['x'], 'max_num_seqs': 64}\n"
    "(EngineCore pid=5572) INFO 11-24 06:00:07 [core.py:133] Initializing a V1 LLM engine (v0.32.0)"
    " with config: model='/m256', speculative_config=None, tokenizer='/m256', dtype=torch.float32, "
    "max_seq_len=2048, load_format=dummy, tensor_parallel_size=1, enforce_eager=True, "
    "observability_config=ObservabilityConfig(show_hidden_metrics_for_version=None, seed=5), "
    "seed=0, enable_prefix_caching=False, enable_chunked_prefill=True, compilation_config={'mode': "
    "<CompilationMode.NONE: 0>, 'custom_ops': ['all'], 'seed': 3}, "
    "kernel_config=KernelConfig(ir_op_priority=IrOpPriorityConfig(rms_norm=['native']))\n"
)
SGLANG = (
    "[2026-02-26 05:19:58] server_args=ServerArgs(model_path='zai/GLM', context_length=None, "
    "host='127.0.0.1', mem_fraction_static=0.88, max_running_requests=4096, tp_size=8, "
    "chunked_prefill_size=8192, disable_radix_cache=True, kv_cache_dtype='fp8_e4m3')\n"
    "[2026-02-26 05:24:42 TP0] max_total_num_tokens=2226368, chunked_prefill_size=8192, "
    "max_prefill_tokens=16384, max_running_requests=16, context_len=1048576\n"
)
LLAMA = """\
llama_context: constructing llama_context
llama_context: n_seq_max             = 1
llama_context: n_ctx                 = 2048
llama_context: n_batch               = 512
llama_context: flash_attn            = disabled
llama_context: n_ctx_seq (2048) < n_ctx_train (4096) -- the full capacity will not be utilized
"""


def test_vllm_says_its_configuration_and_which_arguments_it_has_read() -> None:
    said = ENGINES["vllm"].effective(VLLM)
    assert said is not None
    assert said["dtype"] == "float32" and said["max-num-seqs"] == 64 and said["seed"] == 0
    assert said["enable-prefix-caching"] is False and said["tensor-parallel-size"] == 1
    assert "speculative-config" not in said and "kernel-config" not in said


def test_sglangs_scheduler_has_the_last_word() -> None:
    said = ENGINES["sglang"].effective(SGLANG)
    assert said is not None
    assert (said["max-running-requests"], said["chunked-prefill-size"]) == (16, 8192)
    assert said["disable-radix-cache"] is True and "context-length" not in said
    assert differing(
        {"max_running_requests": 4096, "tp": 8, "mem-fraction-static": 0.88}, said
    ) == ["asked max_running_requests=4096, runs with 16"]


def test_llama_cpp_says_its_sizes() -> None:
    said = ENGINES["llamacpp"].effective(LLAMA)
    assert said == {"n-seq-max": 1, "n-ctx": 2048, "n-batch": 512, "flash-attn": "disabled"}
    asked = {"n_ctx": 2000, "batch-size": 512, "flash_attn": False}
    assert differing(asked, said) == ["asked n_ctx=2000, runs with 2048"]


@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_engine_that_says_nothing_is_not_guessed_at(engine: str) -> None:
    assert not ENGINES[engine].effective("listening on port 8000\n")


@pytest.mark.parametrize(
    ("asked", "effective", "expected"),
    [
        ({"dtype": "half"}, {"dtype": "float16"}, 0),
        ({"dtype": "auto"}, {"dtype": "bfloat16"}, 0),  # Left to the engine
        ({"max-model-len": "2k"}, {"max-seq-len": 2000}, 0),  # Its own way of writing a number
        ({"max-model-len": 4096}, {"max-seq-len": 2048}, 1),
        ({"x": 1.0}, {"x": 1}, 0),
        ({"x": True}, {"x": 1}, 1),
        ({"env.X": 1}, {"env.X": 2}, 0),
        ({"y": 1}, {"x": 2}, 0),
    ],
)
def test_only_what_is_comparable_is_compared(
    asked: dict[str, object], effective: dict[str, object], expected: int
) -> None:
    assert len(differing(asked, effective)) == expected  # type: ignore[arg-type]


def test_settings_are_equal_when_the_engine_says_so() -> None:
    told = {"max-seq-len": 2048, "max-num-seqs": 64}
    one, other = {"max-model-len": 2048}, {"max-model-len": 4096}
    assert settings_of(one, told) == settings_of(other, told)
    assert settings_of({**one, "block-size": 16}, told) != settings_of(one, told)
