"""A Pareto front of what was measured again, and how sure each of it is."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import budget, findings, fronts, pareto, reports
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from tests.unit.conftest import TWO, measured
from tests.unit.test_repeats import run_to_the_end, wide

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


def numbers(task: TuningTask) -> list[int]:
    rows = list(task.experiments.order_by("number"))
    return [point.together.number for point in fronts.front(rows, task.objectives)]


def again(task: TuningTask) -> int | None:
    return fronts.next_to_repeat(task.experiments.order_by("number"), task.objectives)


def fair(one: Experiment) -> tuple[float, float]:
    """More sequences: more throughput, and longer waits in the same ratio; 0.1 % of noise."""
    seqs = one.parameters.get("max-num-seqs", 50)
    return (100.0 + seqs) * (1 + 0.001 * (one.number % 3)), (100.0 + seqs) / 1000


def test_each_of_a_front_is_measured_again_the_best_score_first(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 300.0, 1.5)
    measured(make_experiment, task, 150.0, 0.5)
    measured(make_experiment, task, 140.0, 0.6)  # Beaten by #2
    assert again(task) == 2
    measured(make_experiment, task, 151.0, 0.5, repeat_of=2)
    assert again(task) == 1
    measured(make_experiment, task, 301.0, 1.5, repeat_of=1)
    assert again(task) is None


def test_a_lucky_measurement_falls_from_the_front_when_it_is_made_again(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 150.0, 0.5)
    measured(make_experiment, task, 160.0, 0.4)
    assert numbers(task) == [2]
    measured(make_experiment, task, 140.0, 0.6, repeat_of=2)
    assert again(task) == 1  # What takes its place may be lucky, too
    measured(make_experiment, task, 150.0, 0.5, repeat_of=1)
    assert numbers(task) == [1]


def test_one_that_was_measured_once_displaces_a_certain_one_only_beyond_the_noise(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 150.0, 0.50)
    for values in ((150.0, 0.51), (156.0, 0.50), (147.0, 0.49)):
        measured(make_experiment, task, *values, repeat_of=1)
    lucky = measured(make_experiment, task, 155.0, 0.49)
    assert numbers(task) == [1, lucky.number]
    better = measured(make_experiment, task, 300.0, 0.25)
    assert numbers(task) == [better.number]


def test_one_that_fails_when_it_is_measured_again_is_on_no_front(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 150.0, 0.5)
    measured(make_experiment, task, 100.0, 0.9)
    failed = {"status": Status.FAILED, "feasible": False, "error_kind": "engine_crashed"}
    make_experiment(task, repeat_of=1, **failed)
    assert numbers(task) == [2]


def test_what_was_pruned_is_measured_when_the_one_that_it_lost_to_falls(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 300.0, 0.5)
    pruned = measured(make_experiment, task, 250.0, 2.5, pruned=True)
    measured(make_experiment, task, 130.0, 0.7)
    measured(make_experiment, task, 130.0, 0.7, repeat_of=3)
    measured(make_experiment, task, 300.0, 0.5, repeat_of=1, feasible=False)
    assert numbers(task) == [3] and again(task) == pruned.number
    measured(make_experiment, task, 240.0, 2.5, repeat_of=pruned.number)
    assert numbers(task) == [pruned.number, 3]
    rows = list(task.experiments.order_by("number"))
    shown = fronts.members(rows, task.objectives, fronts.goals(rows, task.objectives))
    assert [one.measurements for one in shown] == [1, 2]


def test_the_defaults_leave_the_front_for_what_beats_them_though_they_were_measured_again(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 100.0, 1.0, is_baseline=True, parameters={})
    measured(make_experiment, task, 105.0, 0.95, repeat_of=1)
    measured(make_experiment, task, 150.0, 0.7)
    assert numbers(task) == [3]


def test_where_no_noise_is_known_what_was_pruned_does_not_win_by_one_repeat(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 110.0, 1.0, pruned=True)
    measured(make_experiment, task, 100.0, 1.0, repeat_of=1)
    measured(make_experiment, task, 300.0, 0.2)
    found = findings.found_by(task, list(task.experiments.order_by("number")))
    assert [one.number for one in found.front] == [3] and found.best in found.front


def test_the_penalty_counts_for_the_front_but_the_values_are_what_was_measured(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 150.0, 0.5, penalty=1.0)  # As good as 75 and 1
    measured(make_experiment, task, 100.0, 0.8)
    assert numbers(task) == [2]
    rows = list(task.experiments.order_by("number"))
    assert fronts.values(fronts.goals(rows, task.objectives))[1] == pytest.approx((150.0, 0.5))


def test_a_front_has_a_fifth_of_the_budget_for_repeats_and_ends_certain(db: None) -> None:
    task = wide(objective=TWO, max_iterations=30)
    assert budget.planned_repeats(task) == 6

    def lucky_once(one: Experiment) -> dict[str, Any]:
        speed, wait = fair(one)
        is_lucky = one.parameters.get("max-num-seqs", 0) > 60 and one.repeat_of is None
        values = [speed * (2.0 if is_lucky else 1.0), wait]
        score = pareto.together(values, task.objectives)
        return {"objective_values": values, "objective_score": score}

    done = run_to_the_end(task, lucky_once)
    assert sum(one.repeat_of is None for one in done) == 24 and len(done) == 30
    found = findings.found_by(task, done)
    repeated = {one.repeat_of for one in done if one.repeat_of and one.repeat_of != 1}
    assert repeated <= {one.number for one in done} and len(repeated) >= 3
    assert found.best is not None and found.sure is not None and found.sure.winner.times > 1
    assert found.best in found.front


def test_the_gain_of_each_on_the_front_has_its_interval_for_every_objective(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective=TWO)
    measured(make_experiment, task, 100.0, 1.0, is_baseline=True, parameters={})
    measured(make_experiment, task, 101.0, 1.01, repeat_of=1)
    first = measured(make_experiment, task, 220.0, 0.9)
    measured(make_experiment, task, 200.0, 1.0, repeat_of=first.number)
    measured(make_experiment, task, 202.0, 1.0, repeat_of=first.number)
    (shown,) = [one for one in reports.document(task)["front"] if one["number"] == first.number]
    speed, wait = shown["objectives"]
    assert shown["measurements"] == 3
    assert speed["value"] == pytest.approx(201.0, rel=1e-3) and speed["is_real"]
    assert speed["gain"] == pytest.approx(1.0, rel=1e-2) and 0 < speed["plus_minus"] < 0.1
    assert wait["value"] == pytest.approx(1.0) and not wait["is_real"]
