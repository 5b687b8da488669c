"""What a task measures again, and when."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from experiments import budget, findings, repeats, reports, tuning
from experiments.models import Experiment, TuningTask
from experiments.states import ENDED, Status, TaskStatus
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
Score = Callable[[Experiment], float | None]


def run_to_the_end(
    task: TuningTask, measured: Callable[[Experiment], dict[str, Any] | None]
) -> list[Experiment]:
    """All experiments, in the order in which the task asks for them; `measured` has the columns of
    a success, None is a failure.
    """
    for _ in range(200):
        tuning.advance(task.pk)
        task.refresh_from_db()
        if task.status != TaskStatus.RUNNING:
            break
        for one in task.experiments.exclude(status__in=ENDED):
            columns = measured(one)
            ended = {"status": Status.FAILED, "error_kind": "engine_crashed", "feasible": False}
            if columns is not None:
                ended = {"status": Status.SUCCESS, "feasible": True, **columns}
            Experiment.objects.filter(pk=one.pk).update(finished_at=timezone.now(), **ended)
    return list(task.experiments.order_by("number"))


def search(task: TuningTask, score: Score) -> list[Experiment]:
    """The same of one objective; None is a failure."""

    def measured(one: Experiment) -> dict[str, Any] | None:
        value = score(one)
        return None if value is None else {"objective_score": value}

    return run_to_the_end(task, measured)


def wide(**optimization: Any) -> TuningTask:
    """A running task with a hundred configurations beside the baseline."""
    asked = {"objective": "maximize_throughput", "strategy": "random", "max_iterations": 20}
    task = TuningTask(status=TaskStatus.RUNNING)
    task.describe(
        from_dict(
            {
                **SPECIFICATION,
                "task_name": f"task-{TuningTask.objects.count()}",
                "parameters": {"max-num-seqs": list(range(1, 101))},
                "optimization": {**asked, **optimization},
            }
        )
    )
    task.save()
    return task


def by_seqs(one: Experiment) -> float:
    """The more sequences, the better; each measurement is a little different."""
    return 100.0 + one.parameters.get("max-num-seqs", 0) + 0.1 * (one.number % 3)


def test_a_fifth_of_the_budget_measures_again_the_baseline_and_the_best(
    db: None,
) -> None:
    task = wide(repeats=4)
    done = search(task, by_seqs)
    again = [one.repeat_of for one in done if one.repeat_of]
    assert budget.planned_repeats(wide()) == 4
    best = max(done, key=lambda one: one.objective_score or 0.0)
    assert again[0] == 1 and (best.repeat_of or best.number) in again
    assert sum(one.repeat_of is None for one in done) == 16


def test_a_repeat_has_its_configuration_and_is_no_baseline(db: None) -> None:
    done = search(wide(), by_seqs)
    by_number = {one.number: one for one in done}
    for one in done:
        if one.repeat_of:
            assert one.parameters == by_number[one.repeat_of].parameters
            assert not one.is_baseline and by_number[one.repeat_of].repeat_of is None


def test_finalists_are_measured_with_nothing_of_the_task_beside_them(
    db: None,
) -> None:
    task = wide(max_parallel_experiments=4)
    most_beside = 0

    def score(one: Experiment) -> float:
        nonlocal most_beside
        searched = task.experiments.filter(repeat_of=None).count()
        if one.repeat_of and searched == budget.to_search(task):
            beside = task.experiments.exclude(status__in=ENDED).exclude(pk=one.pk)
            if beside.filter(repeat_of=None).exists():
                return by_seqs(one)  # The baseline's, in the search
            most_beside = max(most_beside, beside.count())
        return by_seqs(one)

    search(task, score)
    assert most_beside == 0


def test_a_flaky_winner_loses(db: None) -> None:
    def score(one: Experiment) -> float | None:
        is_flaky = one.parameters.get("max-num-seqs", 0) > 90
        return None if is_flaky and one.repeat_of else by_seqs(one)

    task = wide()
    done = search(task, score)
    best = findings.best_of(task, done)
    assert best is not None and best.parameters["max-num-seqs"] <= 90


def test_a_failure_that_says_nothing_of_the_configuration_does_not_count(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    done: dict[str, Any] = {"status": Status.SUCCESS, "feasible": True, "objective_score": 9.0}
    first = make_experiment(task, **done)
    lost = {"status": Status.FAILED, "feasible": False, "error_kind": "lost"}
    make_experiment(task, repeat_of=first.number, **lost)
    assert [one.feasible for one in repeats.measured(task.experiments.all())] == [True]


def test_a_task_that_has_searched_all_that_it_may_does_not_go_beyond_its_budget(db: None) -> None:
    task = wide(repeats=0)
    search(task, by_seqs)
    task.specification["optimization"] |= {"repeats": 6, "max_iterations": 21}
    task.max_experiments, task.status = 21, TaskStatus.RUNNING
    task.save()
    assert len(search(task, by_seqs)) == 21


def test_jobs_small_budgets_and_whole_grids_keep_their_experiments(
    db: None,
) -> None:
    assert budget.planned_repeats(wide(max_iterations=9)) == 0
    grid = wide(strategy="grid_search", max_iterations=101)
    assert (budget.planned_repeats(grid), budget.to_search(grid)) == (0, 101)
    with_rest = wide(strategy="grid_search", max_iterations=110)
    assert (budget.planned_repeats(with_rest), budget.to_search(with_rest)) == (9, 101)
    assert budget.most_experiments(with_rest) == 110


def test_what_is_said_of_the_winner_has_its_interval(db: None) -> None:
    task = wide()
    document = reports.document(task) if search(task, by_seqs) else {}
    sure = document["certainty"]
    assert sure["is_real"] and sure["measurements"] >= 2 and sure["degrees_of_freedom"] >= 2
    assert sure["sentence"].endswith("over the engine's defaults, real") or "; within" in str(sure)
    assert document["gain"] == sure["gain"] and document["best_score"] == sure["score"]
