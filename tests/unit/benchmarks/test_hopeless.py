"""When a level is hopeless: never while anything that may still come could save it."""

from collections.abc import Sequence
from random import Random

import pytest

from experiments.benchmarks.base import StopWhen
from experiments.benchmarks.client import Answer
from experiments.benchmarks.hopeless import Judge
from experiments.benchmarks.summary import summarise


def answer(took: float, at: float = 0.0, tokens: int = 10, error: str = "") -> Answer:
    return Answer(at, at + took, at + took / 2, at + took, [], 10, tokens, error)


FAILED = answer(0.1, error="HTTP 500")


def heard(judge: Judge, answers: Sequence[Answer]) -> str:
    """What is said of the last answer, when nothing was said of those before."""
    *before, last = answers
    assert not any(judge.hear(one) for one in before)
    return judge.hear(last)


def test_more_than_a_tenth_above_the_limit_and_a_p90_is_lost() -> None:
    judge = Judge(StopWhen(at_most={"latency_p90": 0.5}), requests=100)
    slow = [answer(0.6)] * 11
    assert heard(judge, [*[answer(0.1)] * 9, *slow]) == (
        "latency_p90: 11 of at most 100 requests took longer than 0.5 s"
    )


def test_more_errors_than_the_limit_allows_of_all_requests_and_it_is_lost() -> None:
    judge = Judge(StopWhen(max_error_rate=0.01), requests=100)
    assert heard(judge, [*[answer(0.1)] * 20, FAILED, FAILED]) == (
        "2 of at most 100 requests failed (limit 1.0%)"
    )


def test_a_mean_is_lost_when_the_sum_is_too_large_for_all_requests() -> None:
    judge = Judge(StopWhen(at_most={"ttft_mean": 0.5}), requests=20)
    slow = [answer(2.0)] * 11  # With a first token after one second
    assert heard(judge, slow) == "ttft_mean is at least 0.55 s, limit 0.5 s"


def test_throughput_is_lost_when_all_the_rest_at_once_would_be_too_late() -> None:
    judge = Judge(StopWhen(at_least={"output_throughput": 100.0}), requests=20, tokens=200)
    in_time = [answer(1.0, at=index / 10) for index in range(10)]
    assert heard(judge, [*in_time, answer(1.1, at=1.0)]) == (
        "output_throughput is at most 95.24 after 2.1 s, 100 needed"
    )


def test_without_the_number_of_tokens_nothing_is_said_of_them() -> None:
    judge = Judge(StopWhen(at_least={"output_throughput": 1e9}), requests=20)
    assert not heard(judge, [answer(1.0)] * 15)


def test_nothing_is_said_before_enough_is_heard_and_one_has_completed() -> None:
    judge = Judge(StopWhen(max_error_rate=0.0, after=5), requests=100)
    assert not heard(judge, [FAILED] * 50)
    assert judge.hear(answer(0.1))
    early = Judge(StopWhen(at_most={"latency_p50": 0.5}, after=5), requests=8)
    assert not heard(early, [answer(1.0)] * 4) and early.hear(answer(1.0))


def test_nothing_is_said_of_a_level_that_has_ended() -> None:
    judge = Judge(StopWhen(at_most={"latency_p99": 0.5}, after=1), requests=2)
    assert not heard(judge, [answer(0.1), answer(9.0)])


def test_a_request_of_one_token_has_no_time_per_token() -> None:
    judge = Judge(StopWhen(at_most={"tpot_mean": 0.001}), requests=20)
    assert not heard(judge, [answer(1.0, tokens=1)] * 19)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_hopeless_stays_so_whatever_comes(seed: int) -> None:
    """The rest may be answered at once, may fail, and may be cut off: no metric comes back."""
    rng = Random(seed)
    requests = rng.choice([1, 2, 7, 10, 11, 50, 100])
    metric = rng.choice(["latency_p50", "latency_p90", "latency_p99", "ttft_mean", "tpot_p95"])
    stop = StopWhen(
        at_most={metric: rng.uniform(0.01, 0.6)},
        at_least={"output_throughput": rng.uniform(1, 40)},
        max_error_rate=rng.choice([0.0, 0.05, 1.0]),
        after=rng.randint(1, 12),
    )
    judge = Judge(stop, requests, tokens=requests * 10)
    answers: list[Answer] = []
    while len(answers) < requests:
        error = "HTTP 500" if rng.random() < 0.1 else ""
        answers.append(answer(rng.uniform(0, 1), at=len(answers) / 5, error=error))
        if judge.hear(answers[-1]):
            break
    else:
        return
    now = max(one.ended for one in answers)
    for _ in range(20):
        rest = rng.randint(0, requests - len(answers))
        at_once = [
            Answer(now, now, now, now, [], 10, 10, "HTTP 500" if rng.random() < 0.1 else "")
            for _ in range(rest)
        ]
        metrics = summarise([*answers, *at_once])
        assert (
            metrics["error_rate"] > stop.max_error_rate
            or metrics[metric] > stop.at_most[metric]
            or metrics["output_throughput"] < stop.at_least["output_throughput"]
        )
