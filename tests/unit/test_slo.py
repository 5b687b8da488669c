import math

import pytest

from experiments.errors import BadInput
from experiments.slo import Slo
from experiments.taskfile import from_dict

FILE = {
    "task_name": "task",
    "base_runtime": "vllm",
    "model": {"id_or_path": "/m"},
    "parameters": {"max-num-seqs": [1, 2]},
    "optimization": {"objective": "maximize_throughput"},
}


def test_a_threshold_alone_is_a_limit_on_the_mean():
    assert Slo.model_validate({"ttft": {"threshold": 1}}) == Slo.model_validate(
        {"ttft": {"mean": {"threshold": 1.0}}}
    )


def test_a_limit_weighs_1_and_is_soft_unless_said_otherwise():
    ((metric, limit),) = Slo.model_validate({"tpot": {"p99": {"threshold": 0.05}}}).limits()
    assert metric == "tpot_p99"
    assert (limit.weight, limit.hard_fail, limit.fail_ratio) == (1.0, False, 0.0)
    assert Slo().steepness == 0.1


def test_throughput_and_requests_are_minima_and_the_error_rate_is_hard():
    slo = Slo.model_validate(
        {
            "throughput": {"threshold": 500},
            "requests_per_second": {"threshold": 2, "hard_fail": True},
            "error_rate": {"threshold": 0.05},
        }
    )
    limits = dict(slo.limits())
    assert list(limits) == ["output_throughput", "requests_per_second", "error_rate"]
    assert limits["output_throughput"].violation(400) == pytest.approx(0.2)
    assert limits["output_throughput"].violation(600) == pytest.approx(-0.2)
    assert limits["error_rate"].violation(0.1) == pytest.approx(1.0)
    assert [limit.hard_fail for limit in limits.values()] == [False, True, True]


def test_no_errors_at_all_is_a_limit_too():
    ((_, limit),) = Slo.model_validate({"error_rate": {"threshold": 0}}).limits()
    assert limit.violation(0.0) == 0.0
    assert limit.violation(0.001) == math.inf


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ({"throughput": {"threshold": 0}}, "slo.throughput.threshold: 0 is too small; more than 0"),
        ({"throughput": {}}, "slo.throughput.threshold: is missing"),
        ({"throughput": 500}, "slo.throughput: expected a mapping, got 500"),
        ({"throughput": {"p90": {"threshold": 1}}}, "slo.throughput.p90: unknown field; known: "),
        (
            {"requests_per_second": {"threshold": 1, "fail_ratio": 1}},
            "slo.requests_per_second.fail_ratio: 1 is too large; nothing is more than 100 % below",
        ),
        ({"error_rate": {"threshold": 5}}, "slo.error_rate.threshold: 5 is too large; at most 1"),
        ({"error_rate": {"threshold": -1}}, "slo.error_rate.threshold: -1 is too small"),
        ({"error_rates": {"threshold": 0}}, "slo.error_rates: unknown field; did you mean error_"),
        ({"ttft": {"p98": {"threshold": 1}}}, "slo.ttft.p98: unknown field; known: mean, p50"),
    ],
)
def test_each_wrong_limit_is_one_clear_error(slo, message):
    with pytest.raises(BadInput) as refused:
        from_dict({**FILE, "slo": slo})
    assert str(refused.value).startswith(message)


def test_one_request_is_held_to_the_loosest_limit_of_each_time():
    slo = {"ttft": {"p50": {"threshold": 0.5}, "p99": {"threshold": 2}}, "tpot": {"threshold": 0.1}}
    assert Slo.model_validate(slo).per_request() == {"ttft": 2.0, "tpot": 0.1}
    assert Slo.model_validate({"throughput": {"threshold": 5}}).per_request() == {}
