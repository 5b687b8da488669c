"""Writes the small models of the demo: real formats, random or no weights, nothing downloaded."""

import itertools
import json
import string
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
CONTEXT = 4096


# ── a Hugging Face folder, for vLLM with --load-format dummy ────────────────────────────────


def byte_alphabet() -> dict[int, str]:
    """A printable character for each byte, as byte-level tokenizers of the GPT-2 kind have it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {
        **{byte: chr(byte) for byte in plain},
        **{byte: chr(256 + place) for place, byte in enumerate(rest)},
    }


def tokenizer(size: int) -> tuple[dict[str, Any], dict[str, int]]:
    """A byte-level BPE tokenizer in the JSON of the `tokenizers` library, and its special ids.

    Above the bytes its tokens are pairs of letters, alone and after a space, and four letters
    after a space, each reached by real merges: every id decodes to text and encodes back.
    """
    alphabet = byte_alphabet()
    space = alphabet[ord(" ")]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet.values()])}
    pairs = ["".join(pair) for pair in itertools.product(string.ascii_lowercase, repeat=2)]
    merges = itertools.chain(
        ((pair[0], pair[1]) for pair in pairs),
        ((space, pair) for pair in pairs),
        ((space + first, second) for first, second in itertools.product(pairs, pairs)),
    )
    used = list(itertools.islice(merges, size - len(vocabulary)))
    vocabulary |= {a + b: len(vocabulary) + place for place, (a, b) in enumerate(used)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[token], "content": token, **flags, "special": True}
            for token in special
        ],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in used],
        },
    }
    return document, {token: vocabulary[token] for token in special}


def write_folder(
    folder: Path, *, hidden: int = 256, layers: int = 4, heads: int = 4, vocabulary: int = 2048
) -> Path:
    """A Llama-like model folder without weights: configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, special = tokenizer(vocabulary)
    start, end = special["<|endoftext|>"], special["<|im_end|>"]
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": hidden,
            "intermediate_size": hidden * 3,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "head_dim": hidden // heads,
            "vocab_size": vocabulary,
            "max_position_embeddings": CONTEXT,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "bos_token_id": start,
            "eos_token_id": end,
        },
        "generation_config.json": {"bos_token_id": start, "eos_token_id": end},
        "tokenizer.json": tokens,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "eos_token": "<|im_end|>",
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


# ── a GGUF file, for llama.cpp ──────────────────────────────────────────────────────────────


def write_gguf(
    path: Path, *, hidden: int = 512, layers: int = 8, heads: int = 8, vocabulary: int = 2048
) -> Path:
    """A Llama GGUF file with random f16 weights. Needs the `gguf` package."""
    import gguf  # Not needed, and not installed, on a machine with vLLM.
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    feed_forward = hidden * 3
    writer.add_name("demo")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_word_tokenizer(writer, vocabulary)

    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
        writer.add_tensor(name, values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(hidden, np.float32))

    matrix("token_embd.weight", vocabulary, hidden)
    matrix("output.weight", vocabulary, hidden)
    ones("output_norm.weight")
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{name}.weight", hidden, hidden)
        matrix(f"blk.{layer}.ffn_gate.weight", feed_forward, hidden)
        matrix(f"blk.{layer}.ffn_up.weight", feed_forward, hidden)
        matrix(f"blk.{layer}.ffn_down.weight", hidden, feed_forward)
        ones(f"blk.{layer}.attn_norm.weight")
        ones(f"blk.{layer}.ffn_norm.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.rename(path)


def add_word_tokenizer(writer: Any, vocabulary: int) -> None:
    """A SentencePiece-like vocabulary: three special tokens, the bytes, and words w0, w1 …"""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    words = [f"\u2581w{number}" for number in range(vocabulary - 259)]
    unknown, control, byte, normal = 2, 3, 6, 1  # llama.cpp's token types
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<unk>", "<s>", "</s>", *byte_tokens, *words])
    writer.add_token_types([unknown, control, control] + [byte] * 256 + [normal] * len(words))
    writer.add_token_scores([0.0] * 259 + [-float(place) for place in range(len(words))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
