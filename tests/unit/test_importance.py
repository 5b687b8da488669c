"""What matters is worked out beside the page, and the page is told."""

from collections.abc import Callable

from experiments.importance import Importances
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus


def measured(make: Callable[..., Experiment], task: TuningTask, number: int) -> Experiment:
    values = {"max-num-seqs": (1, 2, 4)[number % 3], "enable-prefix-caching": number < 3}
    score = 100.0 * values["max-num-seqs"]
    done = {"status": Status.SUCCESS, "feasible": True, "objective_score": score}
    return make(task, parameters=values, **done)


def test_a_page_never_waits_for_it_and_it_is_worked_out_once(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    made = [measured(make_experiment, task, number) for number in range(6)]
    importances = Importances()
    assert importances.of(task, made) == []
    importances.thread.submit(int).result()  # All that was asked before is done
    known = importances.of(task, made)
    assert [name for name, _, _ in known] == ["max-num-seqs", "enable-prefix-caching"]
    assert known[0][1].endswith("%") and known[1][2] == "0%"
    assert not importances.asked


def test_it_is_worked_out_again_when_more_have_ended(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    made = [measured(make_experiment, task, number) for number in range(6)]
    importances = Importances()
    for ended in (5, 6):  # Five are too few
        importances.of(task, made[:ended])
        importances.thread.submit(int).result()
        assert importances.known[task.pk].ended == ended
    assert importances.known[task.pk].bars
