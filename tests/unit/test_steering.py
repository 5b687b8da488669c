"""What people do to tasks and experiments: each one move, one audit entry, and safe twice."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from experiments import steering
from experiments.errors import BadInput
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import TaskStatus

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pool")]


def entries() -> list[tuple[str, str, str, str]]:
    """The audit, the oldest first."""
    fields = ("actor", "action", "target", "detail")
    return list(AuditEntry.objects.order_by("id").values_list(*fields))


# ── the limit of a task ─────────────────────────────────────────────────────────────────────


def test_the_limit_of_a_running_task_is_changed_once(make_task: MakeTask) -> None:
    task = make_task()
    for _ in range(2):
        steering.act("parallel", "ann", task, {"number": str(4)})
    task.refresh_from_db()
    assert task.max_parallel_experiments == 4
    assert entries() == [("ann", "limit", "task", "2 → 4 experiments at once")]


def test_a_limit_counts_at_once_for_those_who_wait(make_task: MakeTask) -> None:
    task = make_task(max_parallel_experiments=1)
    asked = {"group": task.group, "group_limit": 1}
    assert gpu_pool().acquire("one", **asked) is not None
    assert gpu_pool().acquire("two", **asked) is None
    steering.act("parallel", "ann", task, {"number": str(2)})
    assert {lease.holder for lease in gpu_pool().leases()} == {"one", "two"}
    steering.act("parallel", "ann", task, {"number": str(1)})
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
        steering.act("parallel", "ann", make_task(status), {"number": str(3)})
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
