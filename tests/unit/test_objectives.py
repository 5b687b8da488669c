import pytest

from experiments.errors import BadInput
from experiments.objectives import (
    METRICS,
    Objective,
    parse_objective,
    parse_objectives,
    read_objectives,
    write_objectives,
)


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


SEVERAL = ["maximize_throughput", "minimize_ttft_p90"]
WEIGHED = {"maximize_throughput": 2, "minimize_ttft_p90": 0.5}


def test_a_list_has_a_front_and_a_mapping_has_weights():
    front, weighed = parse_objectives(SEVERAL, METRICS), parse_objectives(WEIGHED, METRICS)
    assert [one.metric for one in front.each] == ["output_throughput", "ttft_p90"]
    assert front.each == weighed.each
    assert (front.has_front, front.shares()) == (True, (0.5, 0.5))
    assert (weighed.has_front, weighed.shares()) == (False, (0.8, 0.2))
    assert front.maximize and weighed.maximize


@pytest.mark.parametrize("raw", ["minimize_ttft", ["minimize_ttft"], {"minimize_ttft": 3}])
def test_one_objective_is_the_same_in_every_notation(raw):
    objectives = parse_objectives(raw)
    assert objectives == parse_objectives("minimize_ttft")
    assert not (objectives.several or objectives.has_front or objectives.maximize)


@pytest.mark.parametrize("raw", ["maximize_throughput", SEVERAL, WEIGHED])
def test_objectives_are_the_same_in_one_line(raw):
    assert read_objectives(write_objectives(raw)) == raw
    assert parse_objectives(write_objectives(raw)) == parse_objectives(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "optimization.objective: is empty; known: maximize_throughput"),
        ({}, "optimization.objective: is empty"),
        (3, "optimization.objective: expected an objective, or a list of them, got 3"),
        ([3], "optimization.objective: expected the name of an objective, got 3"),
        (["be_fast"], "optimization.objective: 'be_fast' is not an objective"),
        ("maximize_throughput,", "optimization.objective: '' is not an objective"),
        ([*SEVERAL, "minimize_ttft_p90"], "optimization.objective: ttft_p90 is given twice"),
        (["minimize_ttft", "minimize_ttft_mean"], "optimization.objective: ttft_mean is given twi"),
        (["minimize_ttft", "minimize_errors"], "optimization.objective: errors has no ratios"),
        ({"minimize_ttft": 0}, "optimization.objective.minimize_ttft: expected a weight above 0,"),
        ({"minimize_ttft": True}, "optimization.objective.minimize_ttft: expected a weight above"),
        ({"minimize_ttft": "2"}, "optimization.objective.minimize_ttft: expected a weight above"),
        ("minimize_ttft: x", "optimization.objective: 'x' is no weight of minimize_ttft"),
        ("minimize_ttft: 2, maximize_throughput", "optimization.objective: '' is no weight of max"),
        ("minimize_ttft: 2, minimize_ttft: 3", "optimization.objective: minimize_ttft is given tw"),
        (["maximize_" + "x" * 100], "optimization.objective: maximize_xxxxxxxxxxx… has 109 char"),
    ],
)
def test_each_wrong_objective_is_one_clear_error(raw, message):
    with pytest.raises(BadInput) as refused:
        parse_objectives(raw, METRICS)
    assert str(refused.value).startswith(message)
