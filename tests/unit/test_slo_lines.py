"""Service-level objectives as lines of the form."""

from typing import Any

import pytest

from experiments.errors import BadInput
from experiments.slo import Slo
from experiments.slo_lines import KNOWN_LIMITS, read_limits, write_limits

PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("ttft p90: 1.0 hard", {"ttft": {"p90": {"threshold": 1.0, "hard_fail": True}}}),
    (
        "latency p90: 5.0 weight 2.0 hard beyond 20 %",
        {"latency": {"p90": {"threshold": 5, "weight": 2, "hard_fail": True, "fail_ratio": 0.2}}},
    ),
    (
        "tpot p50: 0.04\ntpot p99: 0.05 soft",
        {"tpot": {"p50": {"threshold": 0.04}, "p99": {"threshold": 0.05, "hard_fail": False}}},
    ),
    (
        "throughput: 500 hard\nerror_rate: 0\nsteepness: 0.2",
        {
            "throughput": {"threshold": 500, "hard_fail": True},
            "error_rate": {"threshold": 0},
            "steepness": 0.2,
        },
    ),
]


@pytest.mark.parametrize(("text", "slo"), PAIRS)
def test_lines_and_task_file_say_the_same(text: str, slo: dict[str, Any]) -> None:
    assert read_limits(text) == slo
    assert read_limits(write_limits(slo)) == slo
    Slo.model_validate(slo)


def test_a_limit_alone_is_on_the_mean() -> None:
    short = {"ttft": {"threshold": 1.0}}
    assert write_limits(short) == "ttft mean: 1.0"
    assert Slo.model_validate(read_limits("ttft: 1.0")) == Slo.model_validate(short)


def test_yaml_is_read_too_and_written_where_lines_could_not_say_it() -> None:
    slo = {"ttft": {"p90": {"threshold": 1.0, "hard_fail": True}}}
    assert read_limits("ttft: {p90: {threshold: 1.0, hard_fail: true}}") == slo
    assert read_limits("ttft:\n  p90:\n    threshold: 1.0\n    hard_fail: true") == slo
    odd = {"ttft": {"p90": {"threshold": 1.0, "fail_ratio": 0.2}}}  # Without hard or soft
    assert read_limits(write_limits(odd)) == odd
    assert write_limits({"ttft": "x"}) == "ttft: x"
    assert write_limits(None) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttft p90 1.0", "line 1: cannot read 'ttft p90 1.0'"),
        ("ttft p90: 1.0\ntpot p90: soon", "line 2: cannot read"),
        ("ttft p90: 1\nttft p90: 2", "line 2: ttft p90 is given twice"),
        ("throughput p90: 5", "line 1: throughput has no percentiles"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_limits(text)
    assert says in refused.value.message


@pytest.mark.parametrize("name", KNOWN_LIMITS)
def test_every_suggestion_is_a_limit(name: str) -> None:
    Slo.model_validate(read_limits(f"{name}: {KNOWN_LIMITS[name]}"))
