"""Which level comes next, and when an experiment has lost: over results, without a server."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from experiments import ladder
from experiments.benchmarks.base import Level, Pace, Samples
from experiments.ladder import Step, hopeless, next_step
from experiments.objectives import parse_objective
from experiments.race import Rules, Standing, margin, score
from experiments.scoring import LevelResult
from experiments.slo import Slo

LABELS = ["c1", "c4", "c8"]
THROUGHPUT = Rules(parse_objective("maximize_throughput"))
LATENCY = Rules(parse_objective("minimize_latency"))
P90 = Rules(parse_objective("minimize_latency_p90"))


def level(label: str, **metrics: Any) -> LevelResult:
    told = {name: metrics.pop(name) for name in ("disturbed", "stopped_early") if name in metrics}
    errors = metrics.pop("standard_errors", {})
    usual = {"latency_mean": 1.0, "latency_p90": 1.0, "output_throughput": 100.0}
    return LevelResult(label, {**usual, "error_rate": 0.0, **metrics}, errors, **told)


def levels(metric: str, *values: float) -> list[LevelResult]:
    pairs = zip(LABELS, values, strict=True)
    return [level(label, **{metric: value}) for label, value in pairs]


BEST = Standing(4, levels("output_throughput", 50.0, 150.0, 400.0))
EVEN = Standing(4, levels("output_throughput", 200.0, 200.0, 201.0))
QUICK = Standing(4, levels("latency_mean", 1.0, 2.0, 3.0))


def climb(
    surface: Mapping[str, LevelResult], best: Standing | None, rules: Rules = THROUGHPUT
) -> tuple[list[str], Step]:
    """The levels in the order in which they are measured, and the last step."""
    measured: list[LevelResult] = []
    while (step := next_step(LABELS, measured, best, rules)).level:
        measured.append(surface[step.level])
    return [one.label for one in measured], step


def surface(found: Sequence[LevelResult]) -> dict[str, LevelResult]:
    return {one.label: one for one in found}


def test_without_a_best_every_level_is_measured_from_the_lightest() -> None:
    assert climb(surface(levels("output_throughput", 1, 1, 1)), None) == (LABELS, Step())


def test_the_first_level_is_the_one_at_which_the_best_stands() -> None:
    assert next_step(LABELS, [], BEST, THROUGHPUT).level == "c8"
    slow = Standing(4, levels("latency_mean", 1.0, 5.0, 3.0))
    assert next_step(LABELS, [], slow, LATENCY).level == "c4"
    worst = Standing(4, levels("latency_p90", 1.0, 2.0, 9.0))
    assert next_step(LABELS, [], worst, P90).level == "c8"


def test_what_clearly_loses_there_is_measured_nowhere_else() -> None:
    order, step = climb(surface(levels("output_throughput", 900, 900, 248)), BEST)
    assert order == ["c8"]
    assert step.pruned == "at c8: 248 tok/s, 38% below #4 (margin 12%)"


def test_within_the_margin_of_the_best_it_goes_on() -> None:
    order, step = climb(surface(levels("output_throughput", 220, 220, 180)), EVEN)
    assert order == ["c8", "c1", "c4"] and not step.pruned


def test_the_levels_that_weigh_most_in_the_best_score_come_first() -> None:
    order, step = climb(surface(levels("output_throughput", 50, 100, 380)), BEST)
    assert order == ["c8", "c4"] and step.pruned
    order, step = climb(surface(levels("output_throughput", 50, 150, 396)), BEST)
    assert order == ["c8", "c4", "c1"] and not step.pruned


def test_noisy_requests_make_the_margin_wider() -> None:
    noisy = {"output_throughput": 0.2}
    once = level("c8", output_throughput=170.0, standard_errors=noisy)
    assert not next_step(LABELS, [once], EVEN, THROUGHPUT).pruned
    assert next_step(LABELS, [level("c8", output_throughput=170.0)], EVEN, THROUGHPUT).pruned


def test_the_margin_adds_errors_as_squares_and_has_a_floor() -> None:
    assert margin(0.0, 0.0) == pytest.approx(0.1163, rel=1e-3)
    assert margin(0.0, 0.0, noise=0.01) == pytest.approx(0.0233, rel=1e-2)
    assert margin(0.03, 0.04, noise=0.0) == pytest.approx(1.645 * 0.05)


def test_a_level_that_was_disturbed_loses_only_by_more_than_a_neighbour_costs() -> None:
    def at(value: float) -> str:
        once = level("c8", output_throughput=value, disturbed=True)
        return next_step(LABELS, [once], BEST, THROUGHPUT).pruned

    assert not at(310.0)  # 387.5 on a quiet node
    assert at(280.0) == "at c8: 280 tok/s, 30% below #4 (margin 12%)"


def test_it_is_pruned_when_all_that_is_left_cannot_make_up_for_what_is_lost() -> None:
    order, step = climb(surface(levels("output_throughput", 50, 300, 190)), EVEN)
    assert order == ["c8", "c1"]
    assert step.pruned == "after 2 of 3 levels: at most 154.4 tok/s, 23% below #4"


def test_more_latency_loses_where_less_is_wanted() -> None:
    step = climb(surface(levels("latency_mean", 1.0, 2.0, 4.0)), QUICK, LATENCY)[1]
    assert step.pruned == "at c8: 4 s, 33% above #4 (margin 12%)"


def test_of_a_percentile_the_worst_level_alone_decides() -> None:
    best = Standing(4, levels("latency_p90", 1.0, 2.0, 3.0))
    order, step = climb(surface(levels("latency_p90", 2.9, 2.9, 2.9)), best, P90)
    assert order == ["c8", "c4", "c1"] and not step.pruned
    order, step = climb(surface(levels("latency_p90", 5.0, 1.0, 2.9)), best, P90)
    assert order == ["c8", "c4", "c1"] and not step.pruned
    order, step = climb(surface(levels("latency_p90", 1.0, 5.0, 2.9)), best, P90)
    assert order == ["c8", "c4"]
    assert step.pruned == "after 2 of 3 levels: at least 5 s, 67% above #4"


def test_what_misses_a_hard_limit_cannot_win_and_says_which() -> None:
    hard = Slo.model_validate({"latency": {"p90": {"threshold": 5.0, "hard_fail": True}}})
    rules = Rules(THROUGHPUT.objective, hard)
    broken = {**surface(levels("output_throughput", 50, 150, 900))}
    broken["c8"] = level("c8", output_throughput=900.0, latency_p90=6.0)
    order, step = climb(broken, BEST, rules)
    assert order == ["c8"]
    assert step.pruned == "at c8: latency_p90 6 s is 20% above 5 s"
    assert climb(broken, None, rules)[0] == LABELS


def test_the_penalty_of_the_best_is_part_of_what_is_to_be_beaten() -> None:
    soft = Slo.model_validate({"latency": {"p90": {"threshold": 1.0, "weight": 0.1}}})
    rules = Rules(THROUGHPUT.objective, soft)
    slow = Standing(4, [level(x, output_throughput=400.0, latency_p90=1.2) for x in LABELS])
    assert score(slow.levels, rules).penalty > 0.7
    fast = surface(levels("output_throughput", 300, 300, 300))
    assert climb(fast, slow, rules) == (["c1", "c4", "c8"], Step())


def test_throughput_is_compared_per_gpu_where_that_is_what_counts() -> None:
    rules = Rules(THROUGHPUT.objective, per_gpu=True)
    once = level("c8", output_throughput=500.0)
    assert not next_step(LABELS, [once], BEST, rules, gpus=1).pruned
    assert next_step(LABELS, [once], BEST, rules, gpus=2).pruned
    assert next_step(LABELS, [], BEST, rules, gpus=2).needed == pytest.approx(
        2 * next_step(LABELS, [], BEST, rules, gpus=1).needed
    )


TAKEN: Samples = {"latency": [0.4, 0.5], "ttft": [0.1, 0.2], "tpot": [0.01, None]}


def test_a_throughput_is_paced_by_latencies_where_a_fixed_number_is_in_flight() -> None:
    found = ladder.pace(THROUGHPUT, 300.0, Level("D(1,1)", 32), 400.0, TAKEN)
    assert found == Pace("output_throughput", 400.0, 300.0, "latency", [0.4, 0.5], after=32)
    assert found.is_throughput
    assert ladder.pace(THROUGHPUT, 3.0, Level("D(1,1)", request_rate=2.0), 4.0, TAKEN) is None


def test_a_mean_is_paced_by_its_own_times_and_a_percentile_not_at_all() -> None:
    tpot = Rules(parse_objective("minimize_tpot"))
    found = ladder.pace(tpot, 0.02, Level("D(1,1)", request_rate=2.0), 0.01, TAKEN)
    assert found == Pace("tpot_mean", 0.01, 0.02, "tpot", [0.01])
    assert not found.is_throughput
    assert ladder.pace(P90, 2.0, Level("D(1,1)", 4), 1.0, TAKEN) is None


def test_without_the_requests_of_the_best_there_is_no_pace() -> None:
    level = Level("D(1,1)", 4)
    assert ladder.pace(THROUGHPUT, 300.0, level, 400.0, {}) is None
    assert ladder.pace(THROUGHPUT, 300.0, level, None, TAKEN) is None
    assert ladder.pace(THROUGHPUT, None, level, 400.0, TAKEN) is None


def test_what_is_needed_at_a_level_is_where_it_would_be_pruned() -> None:
    """Just above it goes on, just below it has lost: at the deciding level, and at the others."""
    for measured in ([], [level("c8", output_throughput=400.0)]):
        step = next_step(LABELS, measured, BEST, THROUGHPUT)
        assert step.needed is not None
        for share, lost in ((1.001, False), (0.999, True)):
            once = level(step.level, output_throughput=step.needed * share)
            assert bool(next_step(LABELS, [*measured, once], BEST, THROUGHPUT).pruned) == lost


def test_a_level_that_was_stopped_early_has_lost_even_if_it_was_the_last() -> None:
    stopped = level("c4", output_throughput=140.0, stopped_early="10 s have gone")
    measured = [*levels("output_throughput", 50, 150, 400)[::2], stopped]
    why = next_step(LABELS, measured, BEST, THROUGHPUT).pruned
    assert why == "at c4: 140 tok/s, 7% below #4; 10 s have gone"


def test_a_pruned_one_is_estimated_in_proportion_to_the_best() -> None:
    scored = ladder.result(LABELS, [level("c8", output_throughput=248.0)], BEST, THROUGHPUT)
    assert scored.value == pytest.approx(200 * 0.62)
    assert (scored.feasible, scored.holds_at, len(scored.levels)) == (True, None, 1)
    worst = Standing(4, levels("latency_p90", 1.0, 2.0, 3.0))
    late = ladder.result(LABELS, [level("c8", latency_p90=6.0)], worst, P90)
    assert late.value == 6.0


def test_a_best_that_lacks_a_level_is_no_measure() -> None:
    elsewhere = Standing(4, BEST.levels[:2])
    assert next_step(LABELS, [], elsewhere, THROUGHPUT) == Step("c1")


def test_a_level_is_hopeless_beyond_a_hard_limit_or_below_what_is_needed() -> None:
    slo = Slo.model_validate(
        {
            "latency": {"p90": {"threshold": 5.0, "hard_fail": True, "fail_ratio": 0.2}},
            "ttft": {"threshold": 1.0},
            "requests_per_second": {"threshold": 2.0, "hard_fail": True},
        }
    )
    stop = hopeless(Rules(THROUGHPUT.objective, slo, max_error_rate=0.02), 300.0)
    assert stop.at_most == {"latency_p90": 6.0}
    assert stop.at_least == {"requests_per_second": 2.0, "output_throughput": 300.0}
    assert stop.max_error_rate == 0.02
    assert hopeless(Rules(LATENCY.objective, slo), 3.0).at_most["latency_mean"] == 3.0
    assert hopeless(LATENCY) == hopeless(THROUGHPUT)
