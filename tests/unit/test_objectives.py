import pytest

from experiments.errors import BadInput
from experiments.objectives import METRICS, Objective, parse_objective


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("maximize_throughput", Objective("output_throughput", True, "throughput")),
        ("minimize_latency", Objective("latency_mean", False, "latency")),
        ("minimize_ttft", Objective("ttft_mean", False, "ttft")),
        ("minimize_tpot", Objective("tpot_mean", False, "tpot")),
        ("minimize_latency_p99", Objective("latency_p99", False, "latency_p99")),
        (
            "maximize_requests_per_second",
            Objective("requests_per_second", True, "requests_per_second"),
        ),
    ],
)
def test_an_objective_is_a_direction_and_a_metric(text, objective):
    assert parse_objective(text, METRICS) == objective


def test_without_known_metrics_every_name_is_one():
    assert parse_objective("maximize_speed") == Objective("speed", True, "speed")
    assert parse_objective("minimize_val/loss") == Objective("val/loss", False, "val/loss")


@pytest.mark.parametrize("text", ["fast", "maximize_", "maximise_speed", "minimize_a b", ""])
def test_an_objective_without_direction_or_metric_is_refused(text):
    with pytest.raises(BadInput, match=r"optimization\.objective: .* is not an objective; known:"):
        parse_objective(text)


def test_an_unknown_metric_is_refused_with_the_nearest_known_one():
    with pytest.raises(BadInput, match=r"did you mean minimize_ttft_p90\? Known: "):
        parse_objective("minimize_tftt_p90", METRICS)
