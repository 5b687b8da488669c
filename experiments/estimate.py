"""What one experiment's engine needs: how many GPUs, and how much free memory on each.

It is read from the configuration and the model's own files, and nothing from the model's name.
Where these leave a choice the lower value counts: too low, and the engine says that its memory
is not enough; too high, and an experiment waits for a larger GPU than it needs.

    a GPU's memory = weights / (tensor × pipeline) + KV cache of one sequence + OVERHEAD_MB

Sizes are in bytes until the end, which is in MiB.
"""

import glob
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.engines.base import Parameters, Value
from experiments.engines.flags import PARALLELISM, SHARED_GPUS, gpus_of, with_dashes
from experiments.launching import all_parameters
from experiments.taskfile import TaskFile

MIB, GIB = 2**20, 2**30

# CUDA's context with its libraries takes about half a GiB, the activations of a first small batch
# the rest. Larger batches and CUDA graphs want more, and engines can do with less of them.
OVERHEAD_MB = 1024
# Tokens of a sequence where no flag says how long it may be: engines take the model's longest, up
# to a million, and people lower it until it fits, so that length is no need of the model.
LONGEST_UNASKED = 8192
SCALES = 0.5  # Bits for each number of less than 8: 8-bit scales of groups of 16, as in NVFP4
CONTEXT = ("max-model-len", "context-length")
QUANTIZATION = ("quantization", "q", "torchao-config")
GPU_LAYERS = ("n-gpu-layers", "gpu-layers", "ngl")
WITHOUT_SIZES = ("llamacpp", "custom")  # They may spread a model without a flag that says so
SUFFIXES = {"": 1, "k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20}  # as vLLM reads them
SINGLE = ("float", "float32", "fp32")
FOUR_BITS = ("fp4", "int4", "nf4", "4bit", "w4", "awq", "gptq", "bitsandbytes")
EIGHT_BITS = ("fp8", "int8", "8bit", "w8")
QUANTIZED_BEFORE = ("awq", "gptq")  # As a flag it says how to read the files, no more

# One thing under the names that it has in different models' configs
HIDDEN = ("hidden_size", "n_embd", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HEADS = ("num_attention_heads", "n_head")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
EVERY = ("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq")
WITHOUT_GATE = ("gelu", "gelu_new", "gelu_fast", "quick_gelu", "relu", "relu2")

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """The GPUs of one engine, and the MiB that must be free on each; 0: nothing can be said."""

    gpus: int
    memory_mb: int


def estimate(file: TaskFile, configuration: Parameters) -> Estimate:
    """What the engine of one configuration needs.

    A model that is not on this machine, or cannot be read, is no error: the engine says it
    better. Raises BadInput when a parallel size is not a whole number from 1.
    """
    flags = with_dashes(all_parameters(file, configuration))
    gpus = file.resources.gpus or gpus_of(flags)
    try:
        needed = _bytes_per_gpu(file, flags, gpus)
    except (OSError, ValueError, RecursionError):
        needed = 0
    return Estimate(gpus, math.ceil(needed / MIB) + OVERHEAD_MB if needed else 0)


def _bytes_per_gpu(file: TaskFile, flags: Parameters, gpus: int) -> float:
    """Weights and KV cache on each GPU; 0 when nothing can be said."""
    if file.base_runtime == "job" or not file.model.id_or_path:
        return 0
    path, is_llamacpp = Path(file.model.id_or_path), file.base_runtime == "llamacpp"
    config: Config = {}
    weights = 0.0
    if path.is_file() and (is_llamacpp or path.suffix == ".gguf"):
        weights = 0 if _flag(flags, *GPU_LAYERS) == 0 else _gguf_bytes(path)
    elif path.is_dir() and not is_llamacpp:
        config = read_config(path)
        weights = weight_bytes(path, config, flags)
    if not weights:
        return 0
    tensor, pipeline, heads = _split(file.base_runtime, flags, gpus)
    on_host = _count(flags.get("cpu-offload-gb")) * GIB  # of each GPU's share
    on_gpu = max(0.0, weights / (tensor * pipeline) - on_host)
    return on_gpu + cache_bytes(config, flags, heads) / pipeline


def _split(engine: str, flags: Parameters, gpus: int) -> tuple[int, int, int]:
    """Over how many GPUs each layer, the layers, and the KV heads of a layer are spread.

    Each data parallel rank has the whole model. With SGLang's `enable-dp-attention` the ranks
    share the tensor parallel GPUs, each with the KV cache of its sequences on its part of them.
    """
    tensor, pipeline, data = (
        gpus_of({name: value for name, value in flags.items() if name in names})
        for names in PARALLELISM
    )
    if engine in WITHOUT_SIZES and tensor * pipeline == 1:
        tensor = max(1, gpus // data)
    ranks = data if flags.get(SHARED_GPUS) is True else 1
    return tensor, pipeline, max(1, tensor // ranks)


def weight_bytes(folder: Path, config: Config, flags: Parameters) -> float:
    """All weights as they are loaded; 0 when neither the files nor the config say.

    A quantized checkpoint is loaded as it is, any other in the type of the flag `dtype`: 16 bits
    unless it says otherwise, because vLLM and SGLang load float32 as 16 bits for `auto`. What
    quantizes at load leaves the embeddings as they are.
    """
    size = 4 if flags.get("dtype") in SINGLE else 2
    stored = _stored_bytes(folder)
    embeddings: float = embedding_parameters(config)
    asked = str(_flag(flags, *QUANTIZATION) or flags.get("load-format", ""))
    own = _section(config, "quantization_config")
    quantized = _checkpoint_bits(own) if own else 0
    if stored and (quantized or any(word in asked for word in QUANTIZED_BEFORE)):
        return stored
    if stored:
        kind = str(config.get("torch_dtype") or config.get("dtype")).removeprefix("torch.")
        parameters = stored / (4 if kind in SINGLE else 2)
    else:
        layers = layer_parameters(config)
        parameters = layers + embeddings if layers else 0
    embeddings = min(embeddings, parameters)
    bits = quantized or _bits(asked) or 8 * size
    return (parameters - embeddings) * bits / 8 + embeddings * size


def embedding_parameters(config: Config) -> int:
    """Vocabulary × hidden size, and again for the output if the config says that it differs."""
    matrices = 2 if config.get("tie_word_embeddings") is False else 1
    return matrices * _number(config, "vocab_size") * _number(config, *HIDDEN)


def layer_parameters(config: Config) -> int:
    """Attention and feed-forward of all layers; 0 when the config does not tell their sizes.

    Feed-forward is hidden × intermediate size three times, or twice without a gate, and that
    for each expert, routed or shared; experts are in each n-th layer, after the first few.
    Norms and biases, less than a thousandth, are left out, and so are towers for images.
    """
    hidden, layers = _number(config, *HIDDEN), _number(config, *LAYERS)
    width = _number(config, "intermediate_size")
    if not (hidden and layers and width and _number(config, *HEADS)):
        return 0
    matrices = 2 if config.get("hidden_act") in WITHOUT_GATE else 3
    experts = _number(config, *EXPERTS)
    every, first = _number(config, *EVERY) or 1, _number(config, "first_k_dense_replace")
    sparse = max(0, layers // every - first // every) if experts else 0
    expert = _number(config, "moe_intermediate_size") or width
    shared = _number(config, "n_shared_experts") * expert
    shared += _number(config, "shared_expert_intermediate_size")
    return (
        layers * _attention_parameters(config)
        + (layers - sparse) * matrices * hidden * width
        + sparse * (matrices * hidden * (experts * expert + shared) + hidden * experts)
    )


def _attention_parameters(config: Config) -> int:
    """Of one layer: hidden size × head size for each query, key, value and output head.

    Latent attention (MLA; DeepSeek-V2, arXiv:2405.04434) has a matrix into the latent space and
    one out of it: for keys and values, and for queries where the config has `q_lora_rank`.
    """
    hidden, (heads, kv_heads, head) = _number(config, *HIDDEN), _heads(config)
    latent = _number(config, "kv_lora_rank")
    if not latent:
        return hidden * head * 2 * (heads + kv_heads)
    rotary, plain = _number(config, "qk_rope_head_dim"), _number(config, "qk_nope_head_dim")
    value, rank = _number(config, "v_head_dim"), _number(config, "q_lora_rank")
    query = heads * (plain + rotary)
    queries = rank * (hidden + query) if rank else hidden * query
    keys_and_values = hidden * (latent + rotary) + latent * heads * (plain + value)
    return queries + keys_and_values + heads * value * hidden


def _stored_bytes(folder: Path) -> int:
    """The weights on disk: what their index says, else the size of their files; 0 without."""
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        index = _read(folder / name) if (folder / name).is_file() else {}
        if size := _number(_section(index, "metadata"), "total_size"):
            return size
    # The same weights may lie there twice, in another format or under another name
    for pattern in ("model*.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin"):
        sizes = [path.stat().st_size for path in folder.glob(pattern)]
        if sizes:
            return sum(sizes)
    return 0


def _gguf_bytes(path: Path) -> int:
    """The size of a GGUF file, with all its parts if it is one of `…-00001-of-00003.gguf`."""
    parts = re.sub(r"-\d{5}(-of-\d{5}\.gguf)$", r"-*\1", glob.escape(path.name))
    return sum(part.stat().st_size for part in path.parent.glob(parts))


def cache_bytes(config: Config, flags: Parameters, gpus: int) -> float:
    """The KV cache of one sequence of the greatest length allowed, on one of `gpus` GPUs.

    That is a key and a value of the head's size for each token, layer and KV head of the GPU;
    where there are more GPUs than KV heads, each has one of them. MLA keeps one latent vector
    and one rotary key for all heads, on every GPU. vLLM does not start with less.
    """
    _, kv_heads, head = _heads(config)
    numbers = 2 * head * math.ceil(kv_heads / gpus)
    if latent := _number(config, "kv_lora_rank"):
        numbers = latent + _number(config, "qk_rope_head_dim")
    bits: float = 32 if flags.get("dtype") in SINGLE else 16
    kept_as = str(flags.get("kv-cache-dtype", "auto"))
    if kept_as != "auto":
        bits = _bits(kept_as) or 16
    return numbers * _cached_tokens(config, flags) * bits / 8


def _cached_tokens(config: Config, flags: Parameters) -> int:
    """The tokens that all layers together keep: each the whole sequence, or its window of it."""
    longest = _number(config, "max_position_embeddings", "n_positions") or LONGEST_UNASKED
    context = int(_count(_flag(flags, *CONTEXT))) or min(longest, LONGEST_UNASKED)
    layers, kinds = _number(config, *LAYERS), config.get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != layers:
        return layers * context
    window = min(context, _number(config, "sliding_window") or context)
    return kinds.count("full_attention") * context + kinds.count("sliding_attention") * window


def read_config(folder: Path) -> Config:
    """A model's config.json; of a multimodal model its language model's fields come first."""
    config = _read(folder / "config.json")
    inner = _section(config, "text_config") or _section(config, "llm_config")
    return {**config, **{name: value for name, value in inner.items() if value is not None}}


def _read(path: Path) -> Config:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not an object")
    return found


def _section(config: Config, name: str) -> Config:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _number(config: Config, *names: str) -> int:
    """The first of these fields that is a whole number from 1; 0 without one."""
    found = (config.get(name) for name in names)
    return next((n for n in found if type(n) is int and 0 < n < 2**50), 0)


def _heads(config: Config) -> tuple[int, int, int]:
    """How many heads have queries, how many keys and values, and the size of one head."""
    heads = _number(config, *HEADS)
    kv_heads = 1 if config.get("multi_query") is True else heads
    size = _number(config, "head_dim") or _number(config, *HIDDEN) // (heads or 1)
    return heads, _number(config, *KV_HEADS) or kv_heads, size


def _checkpoint_bits(said: Config) -> float:
    """The bits of one number, with its scales, by its `quantization_config`."""
    groups = [group for group in _section(said, "config_groups").values() if type(group) is dict]
    weights = _section(groups[0], "weights") if groups else {}
    bits = _number(said, "bits", "w_bit") or _number(weights, "num_bits")
    if bits:
        return bits if bits >= 8 else bits + SCALES
    return _bits(" ".join(str(said.get(name)) for name in ("quant_method", "quant_algo"))) or 16


def _bits(name: str) -> float:
    """The bits of one number, with its scales, in a format of this name; 0 if it says none."""
    if any(word in name.lower() for word in FOUR_BITS):
        return 4 + SCALES
    return 8 if any(word in name.lower() for word in EIGHT_BITS) else 0


def _flag(flags: Parameters, *names: str) -> Value | None:
    """The value of a flag that has several names; the last one given counts."""
    return next((flags[name] for name in reversed(list(flags)) if name in names), None)


def _count(value: Value | None) -> float:
    """A number that may end in k or M; 0 for none, and for one that the engine finds itself."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", str(value).strip())
    return float(found[1]) * SUFFIXES[found[2]] if found else 0
