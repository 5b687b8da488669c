"""From answers to metrics."""

import pytest

from experiments.benchmarks.client import Answer
from experiments.benchmarks.summary import describe, percentile, summarise


def answer(sent: float, first: float, ended: float, tokens: int, error: str = "") -> Answer:
    return Answer(sent, ended, first, ended, [0.1], 10, tokens, error)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.5), (90, 3.7), (95, 3.85), (99, 3.97), (100, 4.0)]
)
def test_percentiles_are_interpolated_like_numpys(percent: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == pytest.approx(value)


def test_every_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], percent) for percent in (0, 50, 99, 100)] == [7.0] * 4


def test_values_are_described_in_any_order() -> None:
    described = describe("ttft", [3.0, 1.0, 2.0])
    assert set(described) == {"ttft_mean", "ttft_p50", "ttft_p90", "ttft_p95", "ttft_p99"}
    assert described["ttft_mean"] == described["ttft_p50"] == 2.0


def test_throughput_is_of_completed_requests_from_first_send_to_last_end() -> None:
    metrics = summarise([answer(10.0, 11.0, 13.0, 21), answer(11.0, 11.5, 14.0, 19)])
    assert metrics["duration"] == 4.0
    assert metrics["output_throughput"] == 10.0
    assert metrics["total_throughput"] == 15.0
    assert metrics["requests_per_second"] == 0.5
    assert (metrics["input_tokens"], metrics["output_tokens"]) == (20, 40)


def test_times_are_measured_from_the_send() -> None:
    metrics = summarise([answer(10.0, 11.0, 13.0, 21)])
    assert metrics["ttft_mean"] == 1.0
    assert metrics["latency_p99"] == 3.0
    assert metrics["tpot_p50"] == pytest.approx(0.1)
    assert metrics["itl_mean"] == pytest.approx(0.1)


def test_what_follows_the_last_token_is_time_of_the_level_but_not_of_the_tokens() -> None:
    metrics = summarise([Answer(sent=10.0, ended=15.0, first=11.0, last=13.0, output_tokens=21)])
    assert metrics["latency_p50"] == 3.0
    assert metrics["tpot_p50"] == pytest.approx(0.1)
    assert metrics["duration"] == 5.0


def test_errors_are_counted_and_measure_nothing_else() -> None:
    metrics = summarise([answer(0, 1, 2, 5), answer(0, 1, 50, 5, "HTTP 500")])
    assert (metrics["requests"], metrics["completed"], metrics["errors"]) == (2, 1, 1)
    assert metrics["error_rate"] == 0.5
    assert metrics["latency_p99"] == 2.0


def test_a_request_of_one_token_has_no_time_per_output_token() -> None:
    metrics = summarise([Answer(0.0, 2.0, 1.0, 1.0, [], 10, 1)])
    assert metrics["ttft_mean"] == 1.0
    assert not any(key.startswith(("tpot", "itl")) for key in metrics)


def test_without_a_completed_request_there_are_only_counts() -> None:
    metrics = summarise([answer(0, 1, 2, 5, "refused")])
    assert metrics == {"requests": 1, "completed": 0, "errors": 1, "error_rate": 1.0}
    assert summarise([])["error_rate"] == 0.0


def test_with_requests_in_flight_the_time_counts_to_the_cut_off() -> None:
    answers = [answer(10.0, 10.5, 11.0, 21), answer(11.0, 11.5, 12.0, 19)]
    metrics = summarise(answers, unfinished=[12.0], cut_off=13.5)
    assert metrics["duration"] == 3.5
    assert metrics["output_throughput"] == 40 / 3.5
    assert metrics["total_throughput"] == 60 / 3.5
    assert metrics["requests_per_second"] == 2 / 3.5
    assert (metrics["requests"], metrics["errors"], metrics["error_rate"]) == (2, 0, 0.0)


def test_a_request_in_flight_for_twice_the_slowest_latency_is_an_error() -> None:
    answers = [answer(0.0, 1.0, 3.0, 5), answer(0.0, 1.0, 2.0, 5)]
    metrics = summarise(answers, unfinished=[3.0, 4.0, 9.0], cut_off=10.0)
    assert (metrics["requests"], metrics["completed"], metrics["errors"]) == (3, 2, 1)
    assert metrics["error_rate"] == pytest.approx(1 / 3)
    assert metrics["latency_p99"] == pytest.approx(2.99)


def test_a_request_in_flight_for_less_than_a_second_is_no_error() -> None:
    answers = [answer(0.0, 0.01, 0.02, 5)]
    assert summarise(answers, unfinished=[9.1], cut_off=10.0)["errors"] == 0
    assert summarise(answers, unfinished=[8.9], cut_off=10.0)["errors"] == 1


def test_when_nothing_completed_everything_in_flight_is_an_error() -> None:
    metrics = summarise([answer(0, 0, 0.1, 0, "refused")], unfinished=[9.9], cut_off=10.0)
    assert metrics == {"requests": 2, "completed": 0, "errors": 2, "error_rate": 1.0}
