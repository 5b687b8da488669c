"""Which experiment is a task's winner, and which are its front."""

import itertools
from collections.abc import Callable

import pytest

from experiments import findings
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from tests.unit.conftest import TWO, measured

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_the_winner_does_not_depend_on_who_ends_first(
    make_task: MakeTask, make_experiment: Make, order: tuple[int, ...]
) -> None:
    task = make_task()
    results = [(10.0, True), (99.0, False), (20.0, True), (None, False)]
    made = [make_experiment(task, status=Status.PENDING) for _ in results]
    for index in order:
        score, feasible = results[index]
        Experiment.objects.filter(pk=made[index].pk).update(
            status=Status.SUCCESS if score else Status.FAILED,
            objective_score=score,
            feasible=feasible,
        )
    best = findings.best_of(task, list(task.experiments.all()))
    assert best is not None and best.number == 3  # The infeasible 99 does not win


def test_a_front_has_neither_infeasible_nor_failed_ones_and_the_best_is_on_it(
    task_with_a_front: TuningTask,
) -> None:
    experiments = list(task_with_a_front.experiments.all())
    assert [e.number for e in findings.front_of(task_with_a_front, experiments)] == [4, 5]
    best = findings.best_of(task_with_a_front, experiments)
    assert best is not None and best.number == 5


def test_with_weights_there_is_one_winner_and_no_front(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(objective={TWO[0]: 3, TWO[1]: 1})
    measured(make_experiment, task, 300.0, 1.5)
    measured(make_experiment, task, 150.0, 0.5)
    experiments = list(task.experiments.all())
    best = findings.best_of(task, experiments)
    assert best is not None and best.number == 1
    assert findings.front_of(task, experiments) == []


def test_the_older_one_of_equals_wins(make_task: MakeTask, make_experiment: Make) -> None:
    task = make_task()
    for _ in range(3):
        make_experiment(task, status=Status.SUCCESS, objective_score=5.0, feasible=True)
    best = findings.best_of(task, list(task.experiments.order_by("-number")))
    assert best is not None and best.number == 1
