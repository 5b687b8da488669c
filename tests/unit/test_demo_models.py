"""The demo's model files are what the engines expect."""

import json
from pathlib import Path

from experiments import demo_models


def test_each_token_is_reached_by_its_merges(tmp_path: Path) -> None:
    document, special = demo_models.tokenizer(2048)
    model = document["model"]
    vocabulary = model["vocab"]
    assert sorted(vocabulary.values()) == list(range(2048))
    for left, right in model["merges"]:
        assert left in vocabulary and right in vocabulary and left + right in vocabulary
    assert set(special.values()) == {0, 1, 2}


def test_the_folder_agrees_with_itself(tmp_path: Path) -> None:
    folder = demo_models.write_folder(tmp_path / "m", vocabulary=1024)
    config = json.loads((folder / "config.json").read_text())
    tokens = json.loads((folder / "tokenizer.json").read_text())
    assert config["vocab_size"] == len(tokens["model"]["vocab"]) == 1024
    assert config["hidden_size"] == config["head_dim"] * config["num_attention_heads"]
