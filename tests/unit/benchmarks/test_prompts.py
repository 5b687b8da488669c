"""Prompts have the wanted number of tokens, whatever the tokenizer."""

from collections.abc import Callable
from random import Random

import pytest

from experiments.benchmarks.prompts import (
    CALIBRATION_WORDS,
    WORDS,
    Calibration,
    calibrate,
    calibration_text,
)


def one_per_word(text: str) -> int:
    return len(text.split())


def one_per_byte(text: str) -> int:
    """Falls back to bytes: three for the mark that stands for a space."""
    return 1 + sum(3 + len(word) for word in text.split())


def uneven(text: str) -> int:
    """One word in nine is not in its vocabulary."""
    odd = set(WORDS[::9])
    return 2 + sum(2 if word in odd else 1 for word in text.split())


def calibrated(count: Callable[[str], int]) -> Calibration:
    short, long = (count(calibration_text(words, Random(1))) for words in CALIBRATION_WORDS)
    return calibrate(short, long)


def test_the_words_are_different_and_of_one_length() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert {len(word) for word in WORDS} == {2}


@pytest.mark.parametrize("count", [one_per_word, one_per_byte])
@pytest.mark.parametrize("tokens", [16, 100, 128, 1000])
def test_a_prompt_has_exactly_the_wanted_tokens(count: Callable[[str], int], tokens: int) -> None:
    text, expected = calibrated(count).prompt(tokens, Random(3))
    assert count(text) == expected == tokens


def test_a_prompt_is_near_the_wanted_tokens_where_words_are_uneven() -> None:
    calibration = calibrated(uneven)
    lengths = [uneven(calibration.prompt(1000, Random(seed))[0]) for seed in range(20)]
    assert sum(lengths) / len(lengths) == pytest.approx(1000, rel=0.02)


def test_a_prompt_has_at_least_one_word() -> None:
    assert Calibration(5.0, 3.0).prompt(1, Random(1))[0].split()


def test_counts_that_make_no_sense_leave_one_token_per_word() -> None:
    assert calibrate(7, 7) == Calibration(1.0, 0.0)


def test_other_seeds_give_other_prompts() -> None:
    prompts = {Calibration().prompt(16, Random(f"1 level {index}"))[0] for index in range(100)}
    assert len(prompts) == 100
