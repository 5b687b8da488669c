"""What the single requests of a level say of its metrics."""

import math
from random import Random
from statistics import mean, stdev

import pytest

from experiments.benchmarks.base import Samples
from experiments.benchmarks.samples import compact, goodput, standard_errors
from experiments.benchmarks.summary import percentile


def requests(latency: list[float], tokens: list[float] | None = None) -> Samples:
    return {
        "ttft": [value / 2 for value in latency],
        "tpot": [value / 20 for value in latency],
        "latency": list(latency),
        "input_tokens": [10.0] * len(latency),
        "output_tokens": list(tokens or [10.0] * len(latency)),
    }


def test_samples_keep_six_digits_and_what_is_not_there() -> None:
    assert compact({"ttft": [0.123456789, None], "tokens": [1234567, 3]}) == {
        "ttft": [0.123457, None],
        "tokens": [1234567, 3],
    }


def test_the_error_of_a_mean_is_its_standard_error() -> None:
    values = [1.0, 2.0, 3.0, 6.0]
    expected = stdev(values) / math.sqrt(4) / mean(values)
    assert standard_errors(requests(values))["latency_mean"] == pytest.approx(expected)


def test_requests_that_are_all_alike_have_no_error() -> None:
    assert set(standard_errors(requests([1.0] * 20)).values()) == {0.0}


def test_of_one_request_or_none_nothing_is_known() -> None:
    assert standard_errors(requests([1.0])) == standard_errors({}) == {}


@pytest.mark.parametrize("metric", ["latency_p50", "latency_p90", "latency_mean"])
def test_errors_are_those_that_many_repeats_show(metric: str) -> None:
    """Against the spread over 400 repeats of 100 requests."""
    rng = Random(1)
    values, errors = [], []
    for _ in range(400):
        latency = [rng.expovariate(1.0) + 1 for _ in range(100)]
        at = percentile(sorted(latency), float(metric[-2:])) if "_p" in metric else mean(latency)
        values.append(at)
        errors.append(standard_errors(requests(latency))[metric])
    assert mean(errors) == pytest.approx(stdev(values) / mean(values), rel=0.25)


def test_the_error_of_a_throughput_is_the_one_that_many_repeats_show() -> None:
    rng = Random(2)
    values, errors = [], []
    for _ in range(400):
        tokens = [float(rng.randint(10, 100)) for _ in range(100)]
        latency = [count * rng.uniform(0.8, 1.2) for count in tokens]
        values.append(sum(tokens) / sum(latency))
        errors.append(standard_errors(requests(latency, tokens))["output_throughput"])
    assert mean(errors) == pytest.approx(stdev(values) / mean(values), rel=0.25)


def test_goodput_counts_the_requests_that_keep_every_limit() -> None:
    samples = requests([1.0, 2.0, 3.0, 4.0])
    assert goodput(samples, 2.0, {"latency": 3.0}) == 1.5
    assert goodput(samples, 2.0, {"latency": 3.0, "ttft": 0.5}) == 0.5
    assert goodput(samples, 2.0, {"latency": 9.0}) == 2.0


def test_a_request_of_one_token_has_no_time_per_token_to_miss() -> None:
    assert goodput({**requests([1.0]), "tpot": [None]}, 1.0, {"tpot": 0.001}) == 1.0
