"""Which flags an engine's refusal names. The messages are those of real engines."""

from typing import Any

import pytest

from experiments.engines.refusals import refused_values

CONFIGURATION: dict[str, Any] = {
    "dtype": "float3",
    "max_num_seqs": "abc",
    "max-num-batched-tokens": 0,
    "no-such-flag": 3,
    "fast": True,
    "slow": False,
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("argument --dtype: invalid choice: 'float3' (choose from 'auto')", [("dtype", "float3")]),
        ("argument -d/--dtype: invalid choice: 'float3'", [("dtype", "float3")]),
        ("argument --max-num-seqs: invalid int value: 'abc'", [("max_num_seqs", "abc")]),
        ("unrecognized arguments: --no-such-flag 3", [("no-such-flag", None)]),
        ("unrecognized arguments: --no-such-flag=3 --x", [("no-such-flag", None)]),
        ("unrecognized arguments: --fast", [("fast", True)]),
        ("unrecognized arguments: --no-slow", [("slow", False)]),
        (
            "max_num_batched_tokens: Input should be greater than or equal to 1",
            [("max-num-batched-tokens", 0)],
        ),
        ("argument --dtype: invalid choice: 'other'", []),  # Of a fixed flag, then
        ("argument --kv-cache-dtype: invalid choice: 'float3'", []),
        ("max_num_batched_tokens (32) is smaller than max_model_len (2048).", []),
        ("No common block size for 7", []),
    ],
)
def test_a_refusal_names_its_flag_and_value(message: str, expected: list[Any]) -> None:
    assert list(refused_values(message, CONFIGURATION)) == expected
