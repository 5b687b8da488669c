"""One server under its load levels, with a server that is a function."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from experiments import climbing
from experiments.benchmarks.base import Level, Measurement, StopWhen
from experiments.climbing import Climb
from experiments.models import Experiment, TuningTask
from experiments.samples import Samples
from experiments.states import Status

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
# Tokens per second at a level, or all that is said of it
Serve = Callable[[Level, str], float | Measurement]


def climber(task: TuningTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """Measures an experiment of a task whose best has 50 and 150 tok/s, on a server."""
    best = {"level-1": 50.0, "level-2": 150.0}
    levels = [
        {"label": level.label, "metrics": {"output_throughput": best[f"level-{number}"]}}
        for number, level in enumerate(task.file.levels(), start=1)
    ]
    done = {"status": Status.SUCCESS, "feasible": True}
    leader = make_experiment(task, objective_score=100.0, levels=levels, **done)
    for level in levels:
        Samples.objects.create(
            experiment=leader, level=level["label"], data={"latency": [0.5, 0.7]}
        )
    make_experiment(task, objective_score=900.0, pruned=True, **done)

    def results(
        serve: Serve,
        time_left: float = 600,
        calls: list[str] | None = None,
        stops: list[StopWhen | None] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        calls = [] if calls is None else calls
        stops = [] if stops is None else stops

        def measure(
            level: Level, *, name: str, seed: int, stop_when: StopWhen | None
        ) -> Measurement:
            stops.append(stop_when)
            to_its_end = bool(fields) or name.endswith("again")
            assert (stop_when is None) == (to_its_end or not task.file.optimization.pruning)
            served = serve(level, name)
            if isinstance(served, Measurement):
                return served
            return Measurement({"output_throughput": served, "error_rate": 0.0})

        mine = make_experiment(task, status=Status.BENCHMARKING, node="a", **fields)
        run = Climb(
            mine,
            measure,
            at=lambda *_: None,
            time_left=lambda: time_left,
            pause=lambda: calls.append("pause"),
        )
        return run.results()

    return results


@pytest.fixture
def climb(make_task: MakeTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """Every level is measured to its end."""
    return climber(make_task(pruning=False), make_experiment)


@pytest.fixture
def race(make_task: MakeTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """What has clearly lost is pruned."""
    return climber(make_task(pruning=True), make_experiment)


def test_the_load_generator_hears_how_fast_the_best_was(race: Any) -> None:
    stops: list[StopWhen | None] = []
    race(lambda level, name: 60.0 if name == "level-1" else 160.0, stops=stops)
    paces = [stop.pace for stop in stops if stop and stop.pace]
    assert [(one.metric, one.time, one.value) for one in paces] == [
        ("output_throughput", "latency", 150.0),
        ("output_throughput", "latency", 50.0),
    ]
    assert all(one.times == [0.5, 0.7] for one in paces)
    assert 0 < paces[1].needed < paces[0].needed < 150


@pytest.fixture
def neighbour(make_experiment: Make) -> Experiment:
    """One that starts its engine on the same node."""
    fields = {"status": Status.DEPLOYING, "node": "a", "started_at": timezone.now()}
    return make_experiment(TuningTask.objects.get(), **fields)


def test_each_level_says_who_was_on_the_node(climb: Any, neighbour: Experiment) -> None:
    levels = climb(lambda level, name: 10.0)["levels"]
    assert [level["neighbours"] for level in levels] == [{"steady": 0, "starting": 1}] * 2
    assert [level["disturbed"] for level in levels] == [True, True]


def test_a_disturbed_level_near_the_best_is_measured_again_and_the_quiet_one_counts(
    climb: Any, neighbour: Experiment
) -> None:
    def serve(level: Level, name: str) -> float:
        if name == "level-2":
            neighbour.begin_benchmark()  # It has started before the end of the second level
        return 130.0 if name.endswith("again") else 95.0

    done = climb(serve)
    assert done["objective_score"] == 130.0
    assert [level["disturbed"] for level in done["levels"]] == [False, False]
    superseded = [level["superseded"] for level in done["levels"]]
    assert [one["metrics"]["output_throughput"] for one in superseded] == [95.0, 95.0]
    assert all(one["disturbed"] for one in superseded)


def test_a_level_that_is_disturbed_both_times_counts_as_it_was_first(
    climb: Any, neighbour: Experiment
) -> None:
    done = climb(lambda level, name: 130.0 if name.endswith("again") else 95.0)
    assert done["objective_score"] == 95.0
    assert done["levels"][0]["superseded"]["metrics"]["output_throughput"] == 130.0


def test_it_waits_for_a_quiet_node_and_no_longer_than_the_level_took(
    climb: Any, neighbour: Experiment
) -> None:
    calls: list[str] = []

    def serve(level: Level, name: str) -> float:
        time.sleep(0.05)
        if name == "level-1-again":
            calls.append(name)
            neighbour.begin_benchmark()
        elif name == "level-2-again":
            calls.append(name)
        return 95.0

    climb(serve, calls=calls)
    assert calls[0] == "pause" and calls[-2:] == ["level-1-again", "level-2-again"]


@pytest.mark.parametrize(("served", "time_left"), [(60.0, 600), (95.0, 0)])
def test_far_from_the_best_or_short_of_time_nothing_is_measured_again(
    climb: Any, neighbour: Experiment, served: float, time_left: float
) -> None:
    names = []
    climb(lambda level, name: names.append(name) or served, time_left)
    assert names == ["level-1", "level-2"]


def test_what_nobody_disturbs_is_measured_once(climb: Any) -> None:
    names = []
    done = climb(lambda level, name: names.append(name) or 200.0)
    assert names == ["level-1", "level-2"] and "superseded" not in done["levels"][0]


# ── what has clearly lost ───────────────────────────────────────────────────────────────────


def test_a_new_configuration_is_probed_where_the_best_stands_and_pruned_there(race: Any) -> None:
    done = race(lambda level, name: {"level-1": 500.0, "level-2": 90.0}[name])
    assert [level["label"] for level in done["levels"]] == ["D(100,100) · concurrency 4"]
    assert (done["pruned"], done["feasible"], done["holds_at"]) == (True, True, "")
    assert done["pruned_why"] == (
        "at D(100,100) · concurrency 4: 90 tok/s, 40% below #1 (margin 12%)"
    )
    assert done["objective_score"] == pytest.approx(60.0)
    assert done["metrics"]["output_throughput"] == 90.0


def test_what_may_win_is_measured_at_every_level_and_they_are_in_their_order(race: Any) -> None:
    names = []
    done = race(lambda level, name: names.append(name) or 150.0)
    assert names == ["level-2", "level-1"] and not done["pruned"]
    assert [level["label"][-1] for level in done["levels"]] == ["1", "4"]


@pytest.mark.parametrize("role", [{"is_baseline": True}])
def test_what_others_are_compared_with_is_measured_to_the_end(race: Any, role: Any) -> None:
    done = race(lambda level, name: 1.0, **role)
    assert not done["pruned"] and len(done["levels"]) == 2


def test_a_repeat_is_measured_to_the_end_and_is_not_what_others_must_beat(
    race: Any, make_experiment: Make
) -> None:
    done = race(lambda level, name: 1.0, repeat_of=1)
    assert not done["pruned"] and len(done["levels"]) == 2
    lucky = {"status": Status.SUCCESS, "feasible": True, "objective_score": 102.0}
    make_experiment(TuningTask.objects.get(), repeat_of=1, levels=done["levels"], **lucky)
    assert race(lambda level, name: 90.0)["pruned_why"].endswith("below #1 (margin 11%)")


def test_without_the_database_the_last_known_best_counts(
    race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("experiments.database.connection", type("Open", (), {"close": list}))
    monkeypatch.setattr(climbing, "standing", away)
    monkeypatch.setattr(climbing, "best_score", away)
    assert not race(lambda level, name: 1.0)["pruned"]


def test_a_disturbed_level_that_was_stopped_early_is_measured_to_its_end(
    race: Any, neighbour: Experiment
) -> None:
    """Half a level says little, and a neighbour may be to blame."""

    def serve(level: Level, name: str) -> Measurement:
        stopped = "" if name.endswith("again") else "10 s have gone"
        value = 160.0 if name.endswith("again") else 125.0
        return Measurement({"output_throughput": value, "error_rate": 0.0}, {}, stopped)

    done = race(serve)
    assert not done["pruned"] and done["objective_score"] == 160.0
    assert done["levels"][0]["superseded"]["stopped_early"] == "10 s have gone"


# ── several objectives ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def two_races(make_task: MakeTask, make_experiment: Make) -> Callable[..., dict[str, Any]]:
    """Measures an experiment of a front whose best has 50 and 150 tok/s, and waits of 1 s."""
    task = make_task(objective=["maximize_throughput", "minimize_ttft_mean"], pruning=True)
    levels = [
        {"label": level.label, "metrics": {"output_throughput": speed, "ttft_mean": 1.0}}
        for level, speed in zip(task.file.levels(), (50.0, 150.0), strict=True)
    ]
    done = {"status": Status.SUCCESS, "feasible": True}
    make_experiment(
        task, objective_score=10.0, objective_values=[100.0, 1.0], levels=levels, **done
    )

    def results(speeds: dict[str, float], wait: float, calls: list[str]) -> dict[str, Any]:
        def measure(level: Level, *, name: str, **_: Any) -> Measurement:
            calls.append(name)
            metrics = {"output_throughput": speeds[name[:7]], "ttft_mean": wait, "error_rate": 0.0}
            return Measurement(metrics)

        mine = make_experiment(task, status=Status.BENCHMARKING, node="a")
        run = Climb(mine, measure, at=lambda *_: None, time_left=lambda: 600.0, pause=lambda: None)
        return run.results()

    return results


def test_of_several_objectives_one_is_pruned_when_the_best_beats_it_in_all_of_them(
    two_races: Any,
) -> None:
    calls: list[str] = []
    found = two_races({"level-1": 25.0, "level-2": 75.0}, 2.0, calls)
    assert found["pruned"] and calls == ["level-2"]  # Which decides the best's throughput
    assert "75 tok/s, 50% below #1" in found["pruned_why"]
    assert "at least 1.442 s, 44% above #1" in found["pruned_why"]
    # At the level that is left it is to the best as it was
    assert found["objective_values"] == [pytest.approx(50.0), pytest.approx(2.0)]
    assert found["objective_score"] == pytest.approx((50.0 / 2.0) ** 0.5)


def test_of_several_objectives_nothing_is_lost_at_a_level_that_a_neighbour_disturbed(
    two_races: Any, neighbour: Experiment
) -> None:
    calls: list[str] = []
    found = two_races({"level-1": 25.0, "level-2": 75.0}, 2.0, calls)
    assert not found["pruned"] and {"level-1", "level-2"} <= set(calls)


def test_of_several_objectives_one_that_is_better_in_any_of_them_is_measured_to_its_end(
    two_races: Any,
) -> None:
    calls: list[str] = []
    found = two_races({"level-1": 5.0, "level-2": 7.0}, 0.5, calls)
    assert not found["pruned"] and sorted(calls) == ["level-1", "level-2"]
    assert found["objective_values"] == [pytest.approx(6.0), pytest.approx(0.5)]
