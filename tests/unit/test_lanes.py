"""The lanes of GPUs: where a bar begins and ends, what it says, and which lanes there are."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from experiments.lanes import Lane, Span, bar, chart, of_task, spread
from experiments.models import Experiment, TuningTask
from experiments.states import FailureKind, Status

Make = Callable[..., Experiment]
NOW = timezone.now()
HOUR = Span(NOW - timedelta(minutes=100), NOW)  # A minute is 1 %


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def ran(make: Make, *gpus: str, **fields: Any) -> Experiment:
    """It was placed 50 minutes ago, began its benchmark 40 and ended 10 minutes ago."""
    times = {"placed_at": ago(50), "benchmarking_at": ago(40), "finished_at": ago(10)}
    done = {"status": Status.SUCCESS, "feasible": True, "node": "alpha", "gpu_uuids": list(gpus)}
    return make(**{**times, **done, **fields})


def test_a_bar_is_light_until_the_benchmark_and_solid_until_the_end(make_experiment: Make) -> None:
    drawn = bar(ran(make_experiment, "a"), HOUR, "", True)
    assert (drawn["x"], drawn["load"]) == ("50%", "10%")
    assert (drawn["solid_x"], drawn["solid"]) == ("60%", "30%")
    assert (drawn["text"], drawn["tone"]) == ("#1", "good")


def test_what_runs_goes_on_until_now(make_experiment: Make) -> None:
    running = {"status": Status.BENCHMARKING, "finished_at": None, "feasible": None}
    drawn = bar(ran(make_experiment, "a", **running), HOUR, "", True)
    assert (drawn["solid_x"], drawn["solid"], drawn["tone"]) == ("60%", "40%", "busy")


def test_what_loads_is_light_until_now(make_experiment: Make) -> None:
    loading = {"status": Status.DEPLOYING, "finished_at": None, "benchmarking_at": None}
    drawn = bar(ran(make_experiment, "a", **loading), HOUR, "", True)
    assert (drawn["x"], drawn["load"], drawn["solid"]) == ("50%", "50%", "0%")


def test_what_began_before_is_cut_at_the_left_edge(make_experiment: Make) -> None:
    drawn = bar(ran(make_experiment, "a", placed_at=ago(300)), HOUR, "", True)
    assert (drawn["x"], drawn["load"]) == ("0%", "60%")


@pytest.mark.parametrize(
    ("fields", "tone", "words"),
    [
        ({}, "good", "SUCCESS"),
        ({"feasible": False}, "soft", "SUCCESS, misses the objectives"),
        ({"pruned": True}, "good", "SUCCESS, pruned"),
        (
            {"status": Status.FAILED, "error_kind": FailureKind.OUT_OF_MEMORY},
            "bad",
            "FAILED, out_of_memory",
        ),
        ({"status": Status.CANCELLED}, "gone", "CANCELLED"),
    ],
)
def test_an_outcome_has_a_colour_and_a_word(
    fields: dict[str, Any], tone: str, words: str, make_experiment: Make
) -> None:
    drawn = bar(ran(make_experiment, "a", **fields), HOUR, "llama", True)
    assert (drawn["tone"], drawn["title"]) == (tone, f"llama #1: {words}, 40 min 00 s")
    assert drawn["text"].startswith("✕") is (tone == "bad")


def test_a_bar_that_is_too_narrow_has_no_number(make_experiment: Make) -> None:
    assert bar(ran(make_experiment, "a", placed_at=ago(11)), HOUR, "", True)["text"] == ""


def test_however_short_it_was_a_bar_can_be_seen(make_experiment: Make) -> None:
    moment = ran(make_experiment, "a", placed_at=NOW, benchmarking_at=NOW, finished_at=NOW)
    drawn = bar(moment, HOUR, "", True)
    assert (drawn["x"], drawn["load"], drawn["solid"]) == ("99.7%", "0.3%", "0%")


def test_only_those_who_may_see_an_experiment_get_a_link(make_experiment: Make) -> None:
    experiment = ran(make_experiment, "a")
    address = reverse("admin:experiments_experiment_change", args=[experiment.pk])
    assert bar(experiment, HOUR, "", True)["url"] == address
    assert bar(experiment, HOUR, "", False)["url"] == ""


def test_an_experiment_on_two_gpus_is_in_both_lanes(make_experiment: Make) -> None:
    drawn = chart([ran(make_experiment, "a", "b")], HOUR, {})
    assert [[one["number"] for one in lane.bars] for lane in drawn["lanes"]] == [[1], [1]]


def test_known_gpus_come_first_in_their_order_and_others_by_node(
    make_experiment: Make, make_task: Callable[..., TuningTask]
) -> None:
    task = make_task()
    experiments = [
        ran(make_experiment, "z", task=task, node="beta"),
        ran(make_experiment, "y", task=task, node="alpha"),
        ran(make_experiment, "k1", task=task),
    ]
    known = {"k2": Lane("alpha 2", ""), "k1": Lane("alpha 1", "")}
    lanes = chart(experiments, HOUR, known)["lanes"]
    assert [lane.name for lane in lanes] == ["alpha 2", "alpha 1", "y", "z"]
    assert [len(lane.bars) for lane in lanes] == [0, 1, 1, 1]
    assert not known["k1"].bars  # What was given stays as it was


def test_a_task_that_had_no_gpu_yet_has_no_lanes(make_experiment: Make) -> None:
    assert of_task([make_experiment()], NOW) is None


def test_the_lanes_of_an_ended_task_end_with_it(make_experiment: Make) -> None:
    drawn = of_task([ran(make_experiment, "a")], NOW)
    assert drawn is not None and not drawn["is_open"]
    (only,) = drawn["lanes"][0].bars
    assert (only["x"], only["load"], only["solid"]) == ("0%", "25%", "75%")
    assert drawn["ticks"][0] == ("0%", "0 s")


def test_a_chart_is_the_same_for_a_thousandth_of_its_width() -> None:
    begin = NOW.replace(second=0, microsecond=0)
    hours = begin + timedelta(hours=5)  # A thousandth is 18 s, so a step is 16 s
    assert spread(begin, hours).end >= hours and spread(begin, hours).begin <= begin
    later = {spread(begin + timedelta(seconds=n), hours + timedelta(seconds=n)) for n in range(12)}
    assert len(later) <= 3


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, ["now", "−15 s", "−30 s", "−45 s", "−1 min"]),
        (130, ["now", "−30 min", "−1 h", "−1.5 h", "−2 h"]),
        (360, ["now", "−1 h", "−2 h", "−3 h", "−4 h", "−5 h", "−6 h"]),
    ],
)
def test_moments_are_written_as_round_times_before_now(minutes: int, words: list[str]) -> None:
    ticks = Span(NOW - timedelta(minutes=minutes), NOW).ticks()
    assert [text for _, text in ticks] == words
    assert ticks[0][0] == "100%"


def test_a_span_without_a_length_breaks_nothing() -> None:
    assert Span(NOW, NOW).share(NOW) == 0.0 and Span(NOW, NOW).ticks() == []
