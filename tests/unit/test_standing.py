"""What a task's other experiments are to the one that is being measured."""

from collections.abc import Callable

import pytest

from experiments.confidence import Measured
from experiments.models import Experiment, TuningTask
from experiments.race import NOISE
from experiments.samples import Samples
from experiments.standing import best_of_others, best_score, noise, samples_of, standing
from experiments.states import Status

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
DONE = {"status": Status.SUCCESS, "feasible": True}
LEVELS = [{"label": "c4", "metrics": {"output_throughput": 9.0}}]


def test_the_best_is_feasible_whole_and_another_one(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, objective_score=50.0, levels=LEVELS, gpus=2, **DONE)
    make_experiment(task, objective_score=900.0, **{**DONE, "feasible": False})
    make_experiment(task, objective_score=900.0, pruned=True, **DONE)
    make_experiment(task, status=Status.FAILED)
    mine = make_experiment(task, objective_score=900.0, **DONE)
    found = standing(mine)
    assert found is not None and best_score(mine) == pytest.approx(50.0)
    best, _ = found
    assert (best.number, best.gpus, best.levels[0].label) == (1, 2, "c4")


def test_a_task_without_a_result_has_no_best(make_experiment: Make) -> None:
    mine = make_experiment()
    assert (standing(mine), best_score(mine), best_of_others(mine)) == (None, None, None)


def test_what_the_requests_of_the_best_took_is_read_by_level(
    make_task: MakeTask, make_experiment: Make
) -> None:
    other = make_experiment(make_task(), **DONE)
    TuningTask.objects.update(name="other")
    task = make_task()
    best, mine = make_experiment(task, **DONE), make_experiment(task)
    for experiment, superseded in ((other, False), (best, True), (best, False)):
        took = {"latency": [experiment.pk + superseded / 2]}
        Samples.objects.create(experiment=experiment, level="c4", superseded=superseded, data=took)
    assert samples_of(mine, best.number, "c4") == {"latency": [best.pk]}
    assert samples_of(mine, best.number, "c8") == {}


def test_of_repeats_the_mean_counts(make_task: MakeTask, make_experiment: Make) -> None:
    task = make_task()
    make_experiment(task, objective_score=100.0, **DONE)
    make_experiment(task, objective_score=110.0, **DONE)
    make_experiment(task, objective_score=81.0, repeat_of=2, **DONE)
    mine = make_experiment(task)
    best = best_of_others(mine)
    assert best is not None and best.number == 1
    assert best_score(mine) == pytest.approx(100.0)
    make_experiment(task, objective_score=999.0, repeat_of=1, **{**DONE, "feasible": False})
    now = best_of_others(mine)
    assert now is not None and now.number == 2


def test_the_noise_is_the_usual_one_until_repeats_correct_it() -> None:
    once = Measured(1, (100.0,), True)
    assert noise([]) == noise([once]) == pytest.approx(NOISE)
    quiet = Measured(2, (100.0,) * 14, True)  # The one that it was chosen by does not count
    assert noise([once, quiet]) == pytest.approx(NOISE / 2)
    assert noise([Measured(2, (100.0, 200.0), True)]) > NOISE
    assert noise([Measured(2, (0.0, 5.0), True)]) == NOISE
