"""What a configuration needs, from its sizes and from what lies in the model's folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import BadInput
from experiments.estimate import (
    LONGEST_UNASKED,
    OVERHEAD_MB,
    embedding_parameters,
    estimate,
    layer_parameters,
    read_config,
)
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION

MIB = 2**20

LLAMA_3_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
}
LLAMA_2_7B = {
    **LLAMA_3_8B,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "torch_dtype": "float16",
}
MIXTRAL_8X7B = {**LLAMA_3_8B, "vocab_size": 32000, "num_local_experts": 8}
QWEN_2_5_HALF_B = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "intermediate_size": 4864,
    "vocab_size": 151936,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
QWEN_3_30B_A3B = {
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 151936,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "tie_word_embeddings": False,
}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "vocab_size": 129280,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3"},
}
# One of 2 (a key and a value) × 8 heads × 128 numbers of 16 bits in each of 32 layers
LLAMA_3_8B_TOKEN = 2 * 8 * 128 * 2 * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with nothing but its config."""
    return model(tmp_path / "model", LLAMA_3_8B)


def model(path: Path, config: Any, **files: int) -> Path:
    """A folder with this config, and files of these sizes in bytes (`__` is a dot)."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name, size in files.items():
        with (path / name.replace("__", ".")).open("wb") as file:
            file.truncate(size)  # Sparse: it takes no room
    return path


def need(path: Path | str, engine: str = "vllm", gpus: int | None = None, **flags: Any) -> Any:
    """The estimate of a configuration with these flags (`_` is a dash)."""
    data = {**SPECIFICATION, "base_runtime": engine, "model": {"id_or_path": str(path)}}
    if engine in ("custom", "job"):
        data |= {"command": ["./serve", "{model}", "{batch}"], "parameters": {"batch": [1]}}
    if gpus:
        data["resources"] = {"gpus": gpus}
    return estimate(from_dict(data), {name.replace("_", "-"): v for name, v in flags.items()})


def weights(path: Path, **flags: Any) -> float:
    """What the weights alone take of each GPU, in MiB, to within one token of KV cache."""
    return need(path, max_model_len=1, **flags).memory_mb - OVERHEAD_MB


# ── the weights ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "billions"),
    [
        (LLAMA_3_8B, 8.03),
        (LLAMA_2_7B, 6.74),
        (MIXTRAL_8X7B, 46.7),
        (QWEN_2_5_HALF_B, 0.494),
        (QWEN_3_30B_A3B, 30.5),
        (DEEPSEEK_V3, 671.0),
    ],
)
def test_the_parameters_of_known_models_are_counted_from_their_config(
    config: dict[str, Any], billions: float
) -> None:
    counted = layer_parameters(config) + embedding_parameters(config)
    assert counted / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_model_of_8_billion_bfloat16_weights_needs_16_gb(folder: Path) -> None:
    assert weights(folder) == pytest.approx(8.03e9 * 2 / MIB, rel=0.01)


def test_the_name_of_a_model_says_nothing(tmp_path: Path) -> None:
    one = need(model(tmp_path / "some", LLAMA_3_8B))
    assert one.memory_mb > 0
    for name in ("llama-70b", "qwen-0.5b-awq-int4", "fp8"):
        assert need(model(tmp_path / name, LLAMA_3_8B)) == one


def test_weights_on_disk_count_before_the_config(folder: Path) -> None:
    model(folder, LLAMA_3_8B, model__safetensors=3000 * MIB)
    assert weights(folder) == pytest.approx(3000, abs=1)


def test_an_index_counts_before_the_files(folder: Path) -> None:
    model(folder, LLAMA_3_8B, model__safetensors=3000 * MIB)
    index = {"metadata": {"total_size": 5000 * MIB}, "weight_map": {}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights(folder) == pytest.approx(5000, abs=1)
    (folder / "model.safetensors.index.json").write_text('{"metadata": null}')
    assert weights(folder) == pytest.approx(3000, abs=1)


def test_weights_that_lie_there_twice_count_once(folder: Path) -> None:
    copies = ("model__safetensors", "consolidated__safetensors", "pytorch_model__bin")
    model(folder, LLAMA_3_8B, **dict.fromkeys(copies, 3000 * MIB), training_args__bin=MIB)
    assert weights(folder) == pytest.approx(3000, abs=1)


@pytest.mark.parametrize(
    ("flags", "share"),
    [
        ({"dtype": "auto"}, 1.0),
        ({"dtype": "half"}, 1.0),
        ({"dtype": "float32"}, 2.0),
        ({"quantization": "fp8"}, 0.565),
        ({"quantization": "bitsandbytes"}, 0.375),
        ({"load_format": "bitsandbytes"}, 0.375),
        ({"load_format": "dummy"}, 1.0),
    ],
)
def test_flags_decide_how_large_a_weight_is_when_it_is_loaded(
    tmp_path: Path, flags: dict[str, str], share: float
) -> None:
    counted = model(tmp_path / "counted", LLAMA_3_8B)
    stored = model(tmp_path / "stored", LLAMA_3_8B, model__safetensors=16_060_000_000)
    for path in (counted, stored):
        # 1.05 of 8.03 billion are embeddings, which no quantization at load touches
        assert weights(path, **flags) / weights(path) == pytest.approx(share, rel=0.01)


def test_float32_files_are_loaded_as_16_bits(tmp_path: Path) -> None:
    config = {**LLAMA_3_8B, "torch_dtype": "float32"}
    path = model(tmp_path / "m", config, model__safetensors=32_120_000_000)
    assert weights(path) == pytest.approx(16_060_000_000 / MIB, rel=0.01)
    assert weights(path, dtype="float32") == pytest.approx(32_120_000_000 / MIB, rel=0.01)


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "gptq", "bits": 8}, 8),
        ({"quant_method": "awq", "bits": 4}, 4.5),
        ({"quant_method": "mxfp4"}, 4.5),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4.5),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8}}},
            },
            8,
        ),
        ({"quant_method": "unheard-of"}, 16),
    ],
)
def test_a_quantized_checkpoint_says_its_bits(
    tmp_path: Path, quantization: dict[str, Any], bits: float
) -> None:
    path = model(tmp_path / "m", {**LLAMA_3_8B, "quantization_config": quantization})
    in_layers, embeddings = layer_parameters(LLAMA_3_8B), embedding_parameters(LLAMA_3_8B)
    assert weights(path) == pytest.approx((in_layers * bits / 8 + embeddings * 2) / MIB, abs=1)


def test_quantized_files_are_loaded_as_they_are(tmp_path: Path) -> None:
    config = {**LLAMA_3_8B, "quantization_config": {"quant_method": "awq", "bits": 4}}
    path = model(tmp_path / "m", config, model__safetensors=5700 * MIB)
    assert weights(path, quantization="awq_marlin") == pytest.approx(5700, abs=1)


def test_the_language_model_of_a_multimodal_one_counts(tmp_path: Path) -> None:
    text = {name: value for name, value in LLAMA_3_8B.items() if name != "tie_word_embeddings"}
    config = {"text_config": text, "vision_config": {}, "tie_word_embeddings": False}
    path = model(tmp_path / "m", config)
    assert need(path) == need(model(tmp_path / "plain", LLAMA_3_8B))
    assert read_config(path)["hidden_size"] == 4096


# ── the split over GPUs ─────────────────────────────────────────────────────────────────────


def test_tensor_and_pipeline_parallel_gpus_share_the_weights(folder: Path) -> None:
    whole = weights(folder)
    for flags in ({"tp": 4}, {"pipeline_parallel_size": 4}, {"tp_size": 2, "pp": 2}):
        assert weights(folder, **flags) == pytest.approx(whole / 4, abs=1)
        assert need(folder, **flags).gpus == 4


def test_each_data_parallel_rank_has_its_own_copy(folder: Path) -> None:
    for flags in ({"data_parallel_size": 2}, {"dp": 2, "enable_expert_parallel": True}):
        assert weights(folder, **flags) == weights(folder)
        assert need(folder, **flags).gpus == 2


def test_ranks_that_share_gpus_share_the_weights(folder: Path) -> None:
    flags = {"tp": 8, "dp": 8, "enable_dp_attention": True}
    assert need(folder, "sglang", **flags).gpus == 8
    assert weights(folder, engine="sglang", **flags) == pytest.approx(weights(folder) / 8, abs=1)
    # A rank is one GPU, and the KV cache of its sequence is nowhere else
    own = {"context_length": 8192, **flags}
    cache = need(folder, "sglang", **own).memory_mb - weights(folder, engine="sglang", **flags)
    assert cache - OVERHEAD_MB == pytest.approx(8192 * LLAMA_3_8B_TOKEN / MIB, abs=1)


def test_named_gpus_are_the_gpus(folder: Path) -> None:
    assert need(folder, gpus=3, tp=2).gpus == 3
    assert need(folder, gpus=3, tp=2).memory_mb == need(folder, tp=2).memory_mb


def test_an_engine_without_sizes_spreads_its_model_over_its_lease(folder: Path) -> None:
    assert need(folder, "custom", gpus=2).memory_mb == need(folder, tp=2).memory_mb


def test_weights_that_stay_in_host_memory_do_not_count(folder: Path) -> None:
    assert weights(folder, cpu_offload_gb=10) == pytest.approx(weights(folder) - 10 * 1024, abs=1)


def test_a_size_that_is_no_number_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match="tensor-parallel-size"):
        need(folder, tensor_parallel_size="two")


# ── the KV cache ────────────────────────────────────────────────────────────────────────────


def cache(path: Path, length: int | str, **flags: Any) -> float:
    """What a sequence of this length takes on each GPU, in MiB."""
    flags["max_model_len"] = length
    whole = need(path, **flags).memory_mb
    return whole - need(path, **{**flags, "max_model_len": 1}).memory_mb


def test_one_sequence_of_the_longest_allowed_has_its_kv_cache(folder: Path) -> None:
    one = 32768 * LLAMA_3_8B_TOKEN / MIB  # 4096 MiB
    assert cache(folder, 32768) == pytest.approx(one, abs=1)
    assert cache(folder, "32K") == cache(folder, 32768)
    assert cache(folder, 32768, kv_cache_dtype="fp8") == pytest.approx(one / 2, abs=1)
    assert cache(folder, 32768, kv_cache_dtype="bfloat16") == pytest.approx(one, abs=1)
    assert cache(folder, 32768, pp=2) == pytest.approx(one / 2, abs=1)
    assert cache(folder, 32768, dp=2) == pytest.approx(one, abs=1)


@pytest.mark.parametrize(("tensor", "share"), [(2, 2), (8, 8), (16, 8), (64, 8)])
def test_there_is_a_kv_head_on_each_gpu(folder: Path, tensor: int, share: int) -> None:
    whole = cache(folder, 32768)
    assert cache(folder, 32768, tp=tensor) == pytest.approx(whole / share, abs=1)


def test_without_a_flag_the_model_says_how_long_a_sequence_is_up_to_a_limit(
    tmp_path: Path,
) -> None:
    for longest, counted in ((4096, 4096), (131072, LONGEST_UNASKED)):
        path = model(tmp_path / "m", {**LLAMA_3_8B, "max_position_embeddings": longest})
        asked = need(path, max_model_len=counted)
        assert need(path) == asked == need(path, max_model_len="auto")


def test_latent_attention_keeps_one_vector_for_all_heads_on_every_gpu(tmp_path: Path) -> None:
    path = model(tmp_path / "m", DEEPSEEK_V3)
    one = 32768 * (512 + 64) * 2 * 61 / MIB
    assert cache(path, 32768) == cache(path, 32768, tp=8) == pytest.approx(one, abs=1)


def test_a_layer_with_a_window_keeps_no_more_than_it(tmp_path: Path) -> None:
    kinds = ["sliding_attention", "full_attention", "linear_attention", "sliding_attention"] * 8
    path = model(tmp_path / "m", {**LLAMA_3_8B, "layer_types": kinds, "sliding_window": 1024})
    tokens = 8 * 32768 + 16 * 1024
    assert cache(path, 32768) == pytest.approx(tokens * LLAMA_3_8B_TOKEN / 32 / MIB, abs=2)


# ── GGUF files ──────────────────────────────────────────────────────────────────────────────


def test_a_gguf_file_needs_its_size(tmp_path: Path) -> None:
    model(tmp_path / "m", "{}", one__gguf=2000 * MIB)
    path = tmp_path / "m" / "one.gguf"
    assert need(path, "llamacpp").memory_mb == 2000 + OVERHEAD_MB
    assert need(path, "llamacpp", gpus=2).memory_mb == 1000 + OVERHEAD_MB
    assert need(path, "vllm", tp=2).memory_mb == 1000 + OVERHEAD_MB


def test_the_parts_of_a_gguf_file_count_together(tmp_path: Path) -> None:
    parts = {f"one-0000{n}-of-00003__gguf": 700 * MIB for n in (1, 2, 3)}
    model(tmp_path / "m", "{}", **parts, another__gguf=MIB)
    path = tmp_path / "m" / "one-00001-of-00003.gguf"
    assert need(path, "llamacpp").memory_mb == 2100 + OVERHEAD_MB


def test_a_gguf_model_that_stays_in_host_memory_needs_none(tmp_path: Path) -> None:
    path = model(tmp_path / "m", "{}", one__gguf=2000 * MIB) / "one.gguf"
    assert need(path, "llamacpp", n_gpu_layers=0).memory_mb == 0
    assert need(path, "llamacpp", n_gpu_layers=-1).memory_mb == 2000 + OVERHEAD_MB


# ── nothing can be said ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "config",
    [
        "",
        "no JSON",
        "[1]",
        "null",
        "{}",
        "[" * 100_000,
        '{"hidden_size": ' + "9" * 5000 + "}",
        '{"hidden_size": 4096, "num_hidden_layers": "32"}',
        '{"hidden_size": NaN, "num_hidden_layers": true, "vocab_size": -1, "text_config": 3}',
    ],
)
def test_a_broken_config_says_nothing(tmp_path: Path, config: str) -> None:
    assert need(model(tmp_path / "m", config), tp=2) == need("/models/none", tp=2)
    assert need(tmp_path / "m").memory_mb == 0


@pytest.mark.parametrize(
    "odd",
    [
        {"quantization_config": "fp8"},
        {"quantization_config": {"config_groups": {"a": 1}}},
        {"layer_types": 5, "head_dim": None, "num_key_value_heads": 2.5},
        {"tie_word_embeddings": None, "torch_dtype": 16},
    ],
)
def test_an_odd_field_is_passed_over(tmp_path: Path, odd: dict[str, Any]) -> None:
    assert need(model(tmp_path / "m", {**LLAMA_3_8B, **odd})).memory_mb > 14_000


def test_a_model_that_is_not_here_says_nothing(tmp_path: Path) -> None:
    for name in ("meta-llama/Meta-Llama-3-8B", "/models/none", "x" * 300, str(tmp_path)):
        for engine in ("vllm", "sglang", "custom", "llamacpp"):
            assert need(name, engine).memory_mb == 0


def test_a_config_that_is_not_text_says_nothing(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe{}")
    assert need(folder).memory_mb == 0


def test_a_job_and_a_command_without_a_model_say_nothing(folder: Path) -> None:
    assert need(folder, "job").memory_mb == 0
    data = {**SPECIFICATION, "base_runtime": "custom", "model": {}}
    file = from_dict({**data, "command": ["./serve", "{tp}"], "parameters": {"tp": [1, 2]}})
    assert estimate(file, {"tp": 2}).gpus == 2
    assert estimate(file, {"tp": 2}).memory_mb == 0


def test_llamacpp_without_a_gguf_file_says_nothing(folder: Path) -> None:
    assert need(folder, "llamacpp").memory_mb == 0
