"""What people do to tasks and experiments: each one move, one audit entry, and safe twice."""

import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from experiments import dispatch, healing, steering, tuning
from experiments.errors import BadInput, MovedElsewhere
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import ENDED, Status, TaskStatus
from experiments.strategies.base import Trial
from experiments.taskfile import from_dict
from tests.integration.redis_server import running_redis

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pool")]


def entries() -> list[tuple[str, str, str, str]]:
    """The audit, the oldest first."""
    fields = ("actor", "action", "target", "detail")
    return list(AuditEntry.objects.order_by("id").values_list(*fields))


def do(verb: str, task: TuningTask, **said: Any) -> str:
    """Ann does it, and the row is read again."""
    done = steering.act(verb, "ann", task, said)
    task.refresh_from_db()
    return done.says


def placed(task: TuningTask) -> list[Experiment]:
    """Experiments of the task that have GPUs and wait for a worker."""
    tuning.advance(task.pk)
    return dispatch.fill()


def holders() -> set[str]:
    """Who has GPUs, and who waits for some."""
    pool = gpu_pool().snapshot()
    return {one.holder for one in (*pool.leases, *pool.waiting)}


# ── what each verb does, once ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("start", TaskStatus.PENDING, TaskStatus.RUNNING),
        ("pause", TaskStatus.RUNNING, TaskStatus.PAUSED),
        ("resume", TaskStatus.PAUSED, TaskStatus.RUNNING),
        ("cancel", TaskStatus.PENDING, TaskStatus.CANCELLED),
        ("cancel", TaskStatus.RUNNING, TaskStatus.CANCELLED),
        ("cancel", TaskStatus.PAUSED, TaskStatus.CANCELLED),
    ],
)
def test_what_is_said_twice_is_done_and_written_down_once(
    verb: str, before: TaskStatus, after: TaskStatus, make_task: MakeTask
) -> None:
    task = make_task(before)
    do(verb, task)
    assert task.status == after
    assert "already" in do(verb, task)
    assert (task.status, entries()) == (after, [("ann", verb, "task", "")])


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "cancel"])
@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED])
def test_what_has_ended_is_not_started_paused_resumed_or_cancelled(
    verb: str, status: TaskStatus, make_task: MakeTask
) -> None:
    task = make_task(status)
    with pytest.raises(BadInput, match=f"task is {status}"):
        do(verb, task)
    assert (task.status, entries()) == (status, [])


def test_a_task_that_this_site_cannot_run_is_not_started(make_task: MakeTask) -> None:
    task = make_task(TaskStatus.PENDING, max_parallel_experiments=5)
    with pytest.raises(BadInput, match="5 is too many: at most 4"):
        do("start", task)
    task.refresh_from_db()
    assert (task.status, entries()) == (TaskStatus.PENDING, [])


def test_a_task_that_was_deleted_meanwhile_is_said_so(make_task: MakeTask) -> None:
    task = make_task()
    seen = TuningTask.objects.get(pk=task.pk)
    task.delete()
    with pytest.raises(BadInput, match="was deleted meanwhile"):
        steering.pause("ann", seen, {})


# ── pause ───────────────────────────────────────────────────────────────────────────────────


def test_a_pause_takes_back_what_waits_and_what_no_worker_has_started(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=3)
    runs, placed_only = placed(task)[:2]
    runs.start(["engine"])
    queued = placed_only.queued_at
    assert "the experiment that runs goes on" in do("pause", task)
    assert [one.status for one in task.experiments.order_by("number")] == [
        *(Status.DEPLOYING, Status.PENDING, Status.PENDING)
    ]
    assert holders() == {runs.holder}
    placed_only.refresh_from_db()
    assert (placed_only.attempt, placed_only.queued_at) == (1, queued)
    assert placed(task) == []


def test_a_worker_that_comes_after_the_pause_starts_nothing(make_task: MakeTask) -> None:
    task = make_task()
    [seen, _] = placed(task)
    do("pause", task)
    with pytest.raises(MovedElsewhere):
        seen.start(["engine"])


def test_a_grant_that_comes_after_the_pause_is_given_back(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=1)
    tuning.advance(task.pk)
    [waiting] = task.experiments.all()
    lease = gpu_pool().acquire(waiting.holder)  # Granted, and the notice is on its way
    assert lease is not None
    TuningTask.objects.update(status=TaskStatus.PAUSED)
    assert dispatch.take(lease) is None
    waiting.refresh_from_db()
    assert (waiting.status, holders()) == (Status.PENDING, set())


def test_what_is_placed_though_its_task_is_paused_is_put_back(make_task: MakeTask) -> None:
    task = make_task()
    placed(task)
    TuningTask.objects.update(status=TaskStatus.PAUSED)
    healing.hold_back_what_is_paused()
    assert {one.status for one in task.experiments.all()} == {Status.PENDING}
    assert holders() == set()


def test_a_paused_task_gets_nothing_and_goes_on_where_it_was(make_task: MakeTask) -> None:
    task = make_task()
    before = {one.number: one.holder for one in placed(task)}
    do("pause", task)
    for _ in range(3):
        healing.advance_all()
        assert dispatch.fill() == []
    do("resume", task)
    assert {one.number: one.holder for one in placed(task)} == before


def test_who_was_paused_has_the_age_that_it_had(make_task: MakeTask) -> None:
    first = make_task(max_parallel_experiments=1)
    [_] = placed(first)
    assert gpu_pool().acquire("another", gpus=3) is not None
    do("pause", first)
    assert gpu_pool().acquire("last", gpus=1) is not None
    second = TuningTask(status=TaskStatus.RUNNING)
    second.describe(from_dict({**first.specification, "task_name": "second"}))
    second.save()
    assert placed(second) == []
    do("resume", first)
    assert dispatch.fill() == []
    waiting = [int(one.holder.split(":")[1]) for one in gpu_pool().waiting()]
    tasks = [Experiment.objects.get(pk=pk).task_id for pk in waiting]
    assert tasks[0] == first.pk and set(tasks[1:]) == {second.pk}


# ── priority ────────────────────────────────────────────────────────────────────────────────


def test_a_new_priority_reaches_requests_that_wait_already(make_task: MakeTask) -> None:
    assert gpu_pool().acquire("all", gpus=4) is not None
    first = make_task(max_parallel_experiments=1)
    second = TuningTask(status=TaskStatus.RUNNING)
    second.describe(from_dict({**first.specification, "task_name": "second"}))
    second.save()
    for task in (first, second):
        assert placed(task) == []
    for _ in range(2):
        assert do("priority", second, number="5") == "second has the priority 5"
    dispatch.fill()
    turns = [one.holder for one in gpu_pool().waiting()]
    assert turns[0] == second.experiments.get(number=1).holder
    assert entries() == [("ann", "priority", "second", "0 → 5")]


@pytest.mark.parametrize("number", ["101", "-101", "high", ""])
def test_a_priority_is_a_number_within_its_limits(number: str, make_task: MakeTask) -> None:
    with pytest.raises(BadInput, match="number: "):
        do("priority", make_task(), number=number)
    assert entries() == []


# ── the budget ──────────────────────────────────────────────────────────────────────────────


def run_all(task: TuningTask, status: Status = Status.SUCCESS) -> None:
    """Until the task has ended, every experiment of it ends so."""
    while task.status == TaskStatus.RUNNING:
        tuning.advance(task.pk)
        for one in task.experiments.exclude(status__in=ENDED):
            score = {"objective_score": float(one.number), "feasible": True}
            Experiment.objects.filter(pk=one.pk).update(
                status=status, **(score if status == Status.SUCCESS else {"error_kind": "timeout"})
            )
        task.refresh_from_db()


@pytest.mark.parametrize("strategy", ["grid_search", "random", "bayesian"])
def test_a_search_goes_on_where_it_was_when_it_is_extended(
    strategy: str, make_task: MakeTask
) -> None:
    in_one_go = make_task(strategy=strategy, max_iterations=6)
    run_all(in_one_go)
    expected = [one.parameters for one in in_one_go.experiments.order_by("number")]
    in_one_go.delete()
    task = make_task(strategy=strategy, max_iterations=3)
    run_all(task)
    assert (task.status, task.experiments.count()) == (TaskStatus.COMPLETED, 3)
    for _ in range(2):
        do("extend", task, number="6")
    assert (task.status, task.finished_at) == (TaskStatus.RUNNING, None)
    run_all(task)
    assert [one.parameters for one in task.experiments.order_by("number")] == expected
    assert entries() == [("ann", "extend", "task", "3 → 6 experiments")]


def test_a_space_that_is_used_up_ends_the_task_again_and_says_so(make_task: MakeTask) -> None:
    task = make_task(max_iterations=7)  # The baseline, and three times two
    run_all(task)
    assert task.message == ""
    do("extend", task, number="+10")
    run_all(task)
    assert (task.status, task.message) == (TaskStatus.COMPLETED, "every configuration was tried")
    assert (task.max_experiments, task.experiments.count()) == (17, 7)


@pytest.mark.parametrize(
    ("number", "said"),
    [("4", "4 is not between 5"), ("-1", "is not between"), ("+0", "already"), ("9" * 9, "")],
)
def test_a_budget_only_grows(number: str, said: str, make_task: MakeTask) -> None:
    task = make_task()
    if said == "already" or not said:
        assert said in do("extend", task, number=number)
    else:
        with pytest.raises(BadInput, match=said):
            do("extend", task, number=number)
        assert entries() == []


def test_a_task_that_was_cancelled_before_its_start_is_started_by_its_extension(
    make_task: MakeTask,
) -> None:
    task = make_task(TaskStatus.PENDING)
    do("cancel", task)
    do("extend", task, number="6")
    assert task.status == TaskStatus.RUNNING and task.started_at is not None


def test_a_task_is_not_ended_by_who_saw_it_before_it_was_extended(make_task: MakeTask) -> None:
    task = make_task(max_iterations=1)
    run_all(task)
    TuningTask.objects.update(status=TaskStatus.RUNNING)
    seen = TuningTask.objects.get(pk=task.pk)
    do("extend", task, number="2")
    with pytest.raises(MovedElsewhere):
        seen.finish()


def test_several_are_changed_at_once_and_what_was_not_changed_is_left_alone(
    make_task: MakeTask,
) -> None:
    task = make_task()
    form = {"parallel": "2", "priority": "0", "budget": "5"}
    before = {f"{name}_before": text for name, text in form.items()}
    do("parallel", task, number="3")  # By somebody else, meanwhile
    says = do("change", task, **{**form, "priority": "7", "budget": "8"}, **before)
    assert says == "task may try 8 experiments in all; task has the priority 7"
    assert (task.max_parallel_experiments, task.priority, task.max_experiments) == (3, 7, 8)
    with pytest.raises(BadInput, match="is too many"):
        do("change", task, **{**form, "priority": "9", "parallel": "99"}, **before)
    task.refresh_from_db()
    assert task.priority == 7
    assert do("change", task, **form, **before) == "task is as it was"


# ── experiments ─────────────────────────────────────────────────────────────────────────────


def test_one_experiment_is_cancelled_and_the_task_goes_on(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=3)
    runs, waits = placed(task)[:2]
    runs.start(["engine"])
    for _ in range(2):
        assert do("cancel", task, experiment="1,2").startswith("#1, #2 of task is cancelled")
    runs.refresh_from_db()
    waits.refresh_from_db()
    assert (runs.status, runs.cancel_requested) == (Status.DEPLOYING, True)
    assert (waits.status, task.status) == (Status.CANCELLED, TaskStatus.RUNNING)
    assert waits.holder not in holders()
    assert entries() == [("ann", "cancel", "task", "#1, #2")]


@pytest.mark.parametrize("text", ["", "x", "9", "1,9", "1,"])
def test_a_number_that_is_no_experiment_is_refused_and_cancels_no_task(
    text: str, make_experiment: Make
) -> None:
    task = make_experiment().task
    for verb in ("cancel", "retry"):
        with pytest.raises(BadInput, match="experiment: "):
            do(verb, task, experiment=text)
    assert (task.status, entries()) == (TaskStatus.RUNNING, [])


def test_what_has_ended_is_not_cancelled(make_experiment: Make) -> None:
    task = make_experiment(status=Status.SUCCESS).task
    with pytest.raises(BadInput, match="#1 is SUCCESS"):
        do("cancel", task, experiment="1")
    assert entries() == []


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_what_failed_is_tried_again_and_its_task_with_it(
    status: TaskStatus, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(status)
    for one in (Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.FAILED):
        make_experiment(task, status=one)
    assert do("retry", task).startswith("#2, #4 of task is tried again as GPUs are free")
    assert [one.status for one in task.experiments.order_by("number")] == [
        *(Status.SUCCESS, Status.PENDING, Status.CANCELLED, Status.PENDING)
    ]
    assert task.status == TaskStatus.RUNNING
    with pytest.raises(BadInput, match="no experiment of task has failed"):
        do("retry", task)
    assert "has not ended" in do("retry", task, experiment="2")
    do("retry", task, experiment=[3])
    assert entries() == [("ann", "retry", "task", "#2, #4"), ("ann", "retry", "task", "#3")]


def test_a_result_is_kept_and_not_tried_again(make_experiment: Make) -> None:
    task = make_experiment(status=Status.SUCCESS).task
    with pytest.raises(BadInput, match="#1 is SUCCESS: it has a result"):
        do("retry", task, experiment="1")
    assert entries() == []


def test_what_is_tried_again_counts_as_running_for_the_search(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(max_parallel_experiments=2)
    failed = make_experiment(task, status=Status.FAILED, error_kind="timeout", feasible=False)
    make_experiment(task, status=Status.FAILED, error_kind="timeout", feasible=False)
    do("retry", task)
    failed.refresh_from_db()
    assert tuning.trial(failed, task.objectives) == Trial(failed.parameters, None, None)
    tuning.advance(task.pk)
    assert task.experiments.count() == 2  # As many are in flight as may be


def test_a_retry_in_a_paused_task_waits_for_its_resumption(make_experiment: Make) -> None:
    experiment = make_experiment(status=Status.FAILED)
    do("pause", experiment.task)
    assert "when the task is resumed" in do("retry", experiment.task)
    assert dispatch.fill() == []


def test_a_long_list_of_numbers_is_cut(make_task: MakeTask) -> None:
    task = make_task()
    many = [Experiment(task=task, number=n, parameters={}, status="FAILED") for n in range(1, 31)]
    Experiment.objects.bulk_create(many)
    assert "#19, #20 and 10 more of task" in do("retry", task)


# ── clone ───────────────────────────────────────────────────────────────────────────────────


def test_a_clone_has_the_file_as_it_was_started_and_waits(make_task: MakeTask) -> None:
    task = make_task(TaskStatus.COMPLETED, max_iterations=3)
    TuningTask.objects.update(max_experiments=50)
    for _ in range(2):
        assert "not started" in do("clone", task, name=" twin ")
    twin = TuningTask.objects.get(name="twin")
    assert twin.specification == {**task.specification, "task_name": "twin"}
    assert (twin.status, twin.max_experiments, twin.started_at) == (TaskStatus.PENDING, 3, None)
    assert entries() == [("ann", "clone", "twin", "of task")]


def test_a_clone_may_be_started_at_once_where_this_site_can_run_it(make_task: MakeTask) -> None:
    task = make_task(TaskStatus.COMPLETED)
    do("clone", task, name="twin", start=True)
    assert TuningTask.objects.get(name="twin").status == TaskStatus.RUNNING
    assert [entry[1] for entry in entries()] == ["clone", "start"]
    task.delete()
    large = make_task(TaskStatus.COMPLETED, max_parallel_experiments=5)
    with pytest.raises(BadInput, match="5 is too many"):
        do("clone", large, name="large twin", start=True)
    assert not TuningTask.objects.filter(name="large twin").exists()


@pytest.mark.parametrize("name", ["task", "", "two\nlines", "x" * 201])
def test_a_clone_needs_a_name_of_its_own(name: str, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.COMPLETED)
    with pytest.raises(BadInput, match="task_name: "):
        do("clone", task, name=name)
    assert entries() == [] and TuningTask.objects.count() == 1


# ── without Redis ───────────────────────────────────────────────────────────────────────────


def test_the_row_is_the_truth_while_redis_is_away(
    settings: Any, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task)
    make_experiment(task, status=Status.FAILED)
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as server:
        settings.REDIS_URL = server.url
        gpu_pool.cache_clear()
        server.kill()
        for verb, said in (
            *(("pause", {}), ("resume", {}), ("retry", {}), ("priority", {"number": "3"})),
            *(("extend", {"number": "9"}), ("clone", {"name": "twin"})),
            *(("cancel", {"experiment": "1"}), ("cancel", {})),
        ):
            do(verb, task, **said)
    assert [entry[1] for entry in entries()] == [
        *("pause", "resume", "retry", "priority", "extend", "clone", "cancel", "cancel")
    ]


# ── the limit of a task ─────────────────────────────────────────────────────────────────────


def test_the_limit_of_a_running_task_is_changed_once(make_task: MakeTask) -> None:
    task = make_task()
    for _ in range(2):
        steering.act("parallel", "ann", task, {"number": "4"})
    task.refresh_from_db()
    assert task.max_parallel_experiments == 4
    assert entries() == [("ann", "limit", "task", "2 → 4 experiments at once")]


def test_a_limit_counts_at_once_for_those_who_wait(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=1)
    asked = {"group": task.group, "group_limit": 1}
    assert gpu_pool().acquire("one", **asked) is not None
    assert gpu_pool().acquire("two", **asked) is None
    steering.act("parallel", "ann", task, {"number": "2"})
    assert {lease.holder for lease in gpu_pool().leases()} == {"one", "two"}
    steering.act("parallel", "ann", task, {"number": "1"})
    assert len(gpu_pool().leases()) == 2  # Who has one keeps it


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (0, "0 is not 1 or more"),
        (5, r"at most 4, the smaller of 8 \(setting .*\) and 4 \(GPUs in the pool\)"),
    ],
)
def test_a_limit_that_is_not_possible_here_is_refused(
    most: int, said: str, make_task: MakeTask
) -> None:
    task = make_task()
    with pytest.raises(BadInput, match=said):
        steering.act("parallel", "ann", task, {"number": str(most)})
    task.refresh_from_db()
    assert (task.max_parallel_experiments, entries()) == (2, [])


@pytest.mark.parametrize(
    ("status", "said"),
    [(TaskStatus.PENDING, "is not started"), (TaskStatus.COMPLETED, "has ended")],
)
def test_only_a_task_that_runs_has_its_limit_changed(
    status: TaskStatus, said: str, make_task: MakeTask
) -> None:
    with pytest.raises(BadInput, match=said):
        steering.act("parallel", "ann", make_task(status), {"number": "3"})
    assert entries() == []


def test_parallel_changes_the_limit_and_needs_no_broker(make_task: MakeTask) -> None:
    task = make_task()
    said = StringIO()
    call_command("parallel", task.name, "3", stdout=said)
    assert "at most 3 experiments at once" in said.getvalue()
    for words in (("task", "many"), ("task", "99"), ("nobody", "3")):
        with pytest.raises(CommandError) as refused:
            call_command("parallel", *words)
        assert refused.value.returncode == 2
