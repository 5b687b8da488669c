import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import ExperimentFailed
from experiments.objectives import Objective, Objectives, parse_objectives
from experiments.scoring import (
    LevelResult,
    best,
    better,
    gain,
    overall,
    score,
    score_job,
)
from experiments.slo import Slo
from experiments.states import FailureKind

THROUGHPUT = parse_objectives("maximize_throughput")
SEVERAL = parse_objectives({"maximize_throughput": 1, "minimize_ttft_p90": 2})
LATENCY = parse_objectives("minimize_latency")


def level(label="c1", **metrics):
    usual = {"output_throughput": 100.0, "latency_mean": 1.0, "latency_p90": 2.0}
    return LevelResult(label, {**usual, "error_rate": 0.0, **metrics})


def slo(**sections):
    return Slo.model_validate(sections)


def test_means_and_throughputs_are_averaged_over_levels():
    levels = [level(output_throughput=100.0), level(output_throughput=300.0)]
    assert score(levels, THROUGHPUT).value == 200.0


def test_percentiles_are_the_worst_levels_and_never_averaged():
    levels = [level(latency_p90=2.0), level(latency_p90=6.0), level(latency_p90=4.0)]
    assert score(levels, parse_objectives("minimize_latency_p90")).value == 6.0
    assert score(levels, parse_objectives("maximize_latency_p90")).value == 2.0
    assert overall(levels)["latency_p90"] == 6.0


def test_overall_has_the_metrics_that_are_finite_at_every_level():
    levels = [level(ttft_mean=1.0, tpot_mean=0.1), level(tpot_mean=math.nan)]
    assert set(overall(levels)) == {
        "output_throughput",
        "latency_mean",
        "latency_p90",
        "error_rate",
    }
    assert overall(levels)["output_throughput"] == 100.0


def test_throughput_is_per_gpu_only_when_asked_for():
    assert score([level()], THROUGHPUT, gpus=4, per_gpu=True).value == 25.0
    assert score([level()], THROUGHPUT, gpus=4).value == 100.0
    assert score([level()], LATENCY, gpus=4, per_gpu=True).value == 1.0


def test_a_level_with_errors_is_infeasible_and_still_counts():
    levels = [level("c1"), level("c4", output_throughput=500.0, error_rate=0.5)]
    scored = score(levels, THROUGHPUT, max_error_rate=0.01)
    assert scored.value == 300.0
    assert not scored.feasible
    assert [verdict.feasible for verdict in scored.levels] == [True, False]
    assert scored.reasons == ["c4: error rate 50.0% is above 1.0%"]


def test_an_error_rate_that_is_no_number_is_too_high():
    assert not score([level(error_rate=math.nan)], THROUGHPUT).feasible


def test_an_error_rate_at_the_limit_is_allowed():
    assert score([level(error_rate=0.01)], THROUGHPUT, max_error_rate=0.01).feasible


def test_holds_at_is_the_last_level_before_the_first_infeasible_one():
    def holds(*rates):
        levels = [level(f"c{i}", error_rate=rate) for i, rate in enumerate(rates)]
        return score(levels, THROUGHPUT).holds_at

    assert holds(0.0, 0.0, 0.0) == "c2"
    assert holds(0.0, 1.0, 0.0) == "c0"
    assert holds(1.0, 0.0) is None


def test_the_penalty_is_weight_times_the_exponential_of_the_violation():
    limits = slo(latency={"p90": {"threshold": 1.6, "weight": 2.0}}, steepness=0.5)
    scored = score([level(latency_p90=2.0)], THROUGHPUT, limits)
    expected = 2.0 * math.exp(0.25 / 0.5)
    assert scored.penalty == pytest.approx(expected)
    assert scored.objective_score == pytest.approx(100 / (1 + expected))
    assert scored.value == 100.0
    assert scored.feasible


def test_a_penalty_makes_a_minimized_objective_larger():
    limits = slo(latency={"threshold": 0.5}, steepness=1.0)
    scored = score([level()], LATENCY, limits)
    assert scored.objective_score == pytest.approx(1 + math.exp(1.0))


def test_a_limit_that_is_kept_costs_nothing():
    scored = score([level(latency_p90=2.0)], THROUGHPUT, slo(latency={"p90": {"threshold": 2.0}}))
    assert (scored.penalty, scored.objective_score) == (0.0, 100.0)
    assert scored.levels[0].violations == []


def test_the_number_of_levels_does_not_change_the_penalty():
    limits = slo(latency={"p90": {"threshold": 1.0}})
    once = score([level(latency_p90=1.1)], THROUGHPUT, limits)
    often = score([level(latency_p90=1.1), level(latency_p90=1.05)], THROUGHPUT, limits)
    assert once.penalty == often.penalty


def test_the_penalty_of_the_worst_violation_is_still_a_number():
    scored = score([level(latency_p90=1e9)], THROUGHPUT, slo(latency={"p90": {"threshold": 1e-3}}))
    assert 0 < scored.objective_score < 1e-18


def test_a_hard_limit_is_infeasible_only_beyond_its_fail_ratio():
    hard = slo(latency={"p90": {"threshold": 5.0, "hard_fail": True, "fail_ratio": 0.2}})
    assert score([level(latency_p90=5.9)], THROUGHPUT, hard).feasible
    beyond = score([level(latency_p90=6.2)], THROUGHPUT, hard)
    assert not beyond.feasible
    assert beyond.reasons == ["c1: latency_p90 6.2 s is 24% above 5 s"]
    assert beyond.levels[0].violations == ["latency_p90 6.2 s is 24% above 5 s"]


def test_a_soft_limit_is_a_violation_but_never_infeasible():
    scored = score([level(latency_p90=50.0)], THROUGHPUT, slo(latency={"p90": {"threshold": 5.0}}))
    assert scored.feasible
    assert len(scored.levels[0].violations) == 1


def test_a_minimum_is_broken_by_too_little():
    soft = slo(throughput={"threshold": 125.0}, steepness=0.5)
    scored = score([level(output_throughput=100.0)], THROUGHPUT, soft)
    assert scored.penalty == pytest.approx(math.exp(0.2 / 0.5))
    assert scored.levels[0].violations == ["output_throughput 100 tok/s is 20% below 125 tok/s"]
    assert scored.feasible
    hard = slo(throughput={"threshold": 125.0, "hard_fail": True, "fail_ratio": 0.1})
    assert not score([level(output_throughput=100.0)], THROUGHPUT, hard).feasible
    assert score([level(output_throughput=115.0)], THROUGHPUT, hard).feasible


def test_a_minimum_of_service_is_never_per_gpu():
    limit = slo(throughput={"threshold": 90.0, "hard_fail": True})
    assert score([level()], THROUGHPUT, limit, gpus=4, per_gpu=True).feasible


def test_the_error_rate_of_the_objectives_takes_the_place_of_the_benchmarks():
    errors = [level(error_rate=0.04)]
    wider, tighter = slo(error_rate={"threshold": 0.05}), slo(error_rate={"threshold": 0.005})
    assert not score(errors, THROUGHPUT).feasible
    assert score(errors, THROUGHPUT, wider).feasible
    broken = score([level(error_rate=0.008)], THROUGHPUT, tighter, max_error_rate=0.5)
    assert broken.reasons == ["c1: error rate 0.8% is above 0.5%"]
    assert not score([level(error_rate=1.0)], THROUGHPUT, slo(error_rate={"threshold": 0})).feasible


def test_a_soft_error_rate_never_lets_more_errors_through_than_the_benchmark():
    soft = slo(error_rate={"threshold": 0.005, "hard_fail": False})
    few, many = [level(error_rate=0.008)], [level(error_rate=0.5)]
    assert score(few, THROUGHPUT, soft).feasible
    assert score(few, THROUGHPUT, soft).penalty > 0
    assert not score(many, THROUGHPUT, soft).feasible


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(value):
    with pytest.raises(ExperimentFailed, match="c1: output_throughput is") as failed:
        score([level(output_throughput=value)], THROUGHPUT)
    assert failed.value.kind == FailureKind.BENCHMARK_ERRORS


def test_a_missing_objective_is_a_failure_that_names_the_metrics_present():
    with pytest.raises(ExperimentFailed, match=r"b is missing \(metrics present: a\)"):
        score([LevelResult("c1", {"a": 1.0})], Objectives((Objective("b", True),)))
    with pytest.raises(ExperimentFailed, match="no load level was measured"):
        score([], THROUGHPUT)


def test_an_objective_of_power_that_nobody_told_is_a_failure_that_says_so():
    efficient = parse_objectives("maximize_tokens_per_joule")
    with pytest.raises(ExperimentFailed, match="is missing: it needs the power of its GPUs"):
        score([level()], efficient)


def test_a_limit_that_was_not_measured_is_a_failure():
    with pytest.raises(ExperimentFailed, match="tpot_mean is missing"):
        score([level()], THROUGHPUT, slo(tpot={"threshold": 1.0}))


def test_a_job_is_scored_by_the_number_it_printed():
    assert score_job({"loss": 0.5}, parse_objectives("minimize_loss")).objective_score == 0.5
    assert score_job({"throughput": 7.0}, THROUGHPUT).value == 7.0
    assert score_job({"output_throughput": 8.0}, THROUGHPUT).value == 8.0
    for metrics in ({}, {"loss": math.nan}):
        with pytest.raises(ExperimentFailed, match="the output: loss is"):
            score_job(metrics, parse_objectives("minimize_loss"))


def test_better_follows_the_direction_and_nothing_beats_by_being_missing():
    assert better(2.0, 1.0, True) and not better(1.0, 1.0, True)
    assert better(1.0, 2.0, False) and not better(2.0, 1.0, False)
    assert better(1.0, None, True) and not better(None, 1.0, True)
    assert not better(math.nan, None, True) and not better(None, None, False)


def test_infeasible_and_unscored_results_never_win_and_ties_go_to_the_first():
    results = [(9.0, False), (None, None), (5.0, True), (5.0, True), (math.nan, True)]
    assert best(results, maximize=True) == 2
    assert best(results, maximize=False) == 2
    assert best([(1.0, False), (None, True)], maximize=True) is None


def test_a_gain_is_relative_and_positive_when_better():
    assert gain(118.0, 100.0, True) == pytest.approx(0.18)
    assert gain(0.82, 1.0, False) == pytest.approx(0.18)
    assert gain(90.0, 100.0, True) == pytest.approx(-0.1)
    assert gain(-8.0, -10.0, True) == pytest.approx(0.2)
    for baseline in (None, 0.0, math.nan):
        assert gain(1.0, baseline, True) is None
    assert gain(None, 1.0, True) is None


LIMITS = slo(
    ttft={
        "p90": {"threshold": 1.0, "hard_fail": True, "fail_ratio": 0.5},
        "mean": {"threshold": 2},
    },
    throughput={"threshold": 50, "weight": 3, "hard_fail": True},
    error_rate={"threshold": 0.1},
    steepness=0.5,
)
levels_of_any_kind = st.lists(
    st.builds(
        lambda throughput, p90, mean, errors: level(
            output_throughput=throughput, ttft_p90=p90, ttft_mean=mean, error_rate=errors
        ),
        *(st.floats(0.01, 1000), st.floats(0.01, 5), st.floats(0.01, 5), st.floats(0, 1)),
    ),
    min_size=1,
    max_size=4,
)


@given(levels_of_any_kind)
def test_an_experiment_is_feasible_when_each_of_its_levels_is(levels):
    alone = [score([one], THROUGHPUT, LIMITS).feasible for one in levels]
    scored = score(levels, THROUGHPUT, LIMITS)
    assert scored.feasible == all(alone)
    assert [verdict.feasible for verdict in scored.levels] == alone


@given(levels_of_any_kind, st.floats(1, 3))
def test_whatever_gets_worse_never_scores_better(levels, factor):
    def worse(one):
        metrics = {
            **one.metrics,
            "output_throughput": one.metrics["output_throughput"] / factor,
            "ttft_p90": one.metrics["ttft_p90"] * factor,
            "ttft_mean": one.metrics["ttft_mean"] * factor,
            "error_rate": min(1.0, one.metrics["error_rate"] * factor),
        }
        return LevelResult(one.label, metrics)

    for objectives in (THROUGHPUT, parse_objectives("minimize_ttft_p90"), SEVERAL):
        before = score(levels, objectives, LIMITS)
        after = score([worse(levels[0]), *levels[1:]], objectives, LIMITS)
        assert before.feasible or not after.feasible
        assert after.penalty >= before.penalty
        is_same = math.isclose(after.objective_score, before.objective_score, rel_tol=1e-9)
        is_better = better(after.objective_score, before.objective_score, objectives.maximize)
        assert is_same or not is_better
