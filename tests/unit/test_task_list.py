"""The list of tasks asks for the lines that have changed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from experiments import summaries
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION

MakeExperiment = Callable[..., Experiment]
LIST = "admin:experiments_tuningtask_changelist"
CELLS = "admin:experiments_tuningtask_cells"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh() -> None:
    summaries.forget()


def make_task(name: str, status: TaskStatus = TaskStatus.RUNNING) -> TuningTask:
    task = TuningTask(status=status)
    task.describe(from_dict({**SPECIFICATION, "task_name": name}))
    task.save()
    return task


def asked(page: str) -> dict[str, Any]:
    """What the page sends when it asks again."""
    fields = re.findall(r'name="(seen|newest)" value="([^"]*)"', page)
    return {
        "seen": [value for name, value in fields if name == "seen"],
        "newest": next(value for name, value in fields if name == "newest"),
    }


def test_only_a_line_that_has_changed_is_sent_and_its_next_state_is_known(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    task, other = make_task("task"), make_task("other", TaskStatus.COMPLETED)
    page = admin_client.get(reverse(LIST)).content.decode()
    assert f'id="task-{task.pk}-state"' in page and "0/5" in page
    quiet = admin_client.get(reverse(CELLS), asked(page)).content.decode()
    assert "task-list-seen" in quiet and f"task-{task.pk}-state" not in quiet
    make_experiment(task, status=Status.SUCCESS, objective_score=5.0)
    moved = admin_client.get(reverse(CELLS), asked(quiet)).content.decode()
    assert f'id="task-{task.pk}-progress" hx-swap-oob="true"' in moved and "1/5" in moved
    assert f"task-{other.pk}-" not in moved
    again = admin_client.get(reverse(CELLS), asked(moved)).content.decode()
    assert f"task-{task.pk}-progress" not in again


def test_a_task_that_is_made_meanwhile_is_offered(admin_client: Client) -> None:
    make_task("task")
    page = admin_client.get(reverse(LIST)).content.decode()
    make_task("newer")
    assert "There are new tasks" in admin_client.get(reverse(CELLS), asked(page)).content.decode()


def test_a_page_of_tasks_costs_the_same_queries_whatever_is_in_it(
    admin_client: Client,
    make_experiment: MakeExperiment,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(12):
        task = make_task(f"task {number}")
        for _ in range(3):
            make_experiment(task, status=Status.SUCCESS, objective_score=5.0)
    with django_assert_max_num_queries(10):
        admin_client.get(reverse(LIST))


@pytest.mark.parametrize(
    "query",
    [
        "seen=x",
        "seen=1:2&seen=a:b",
        "newest=-1",
        "seen=99:1",
        "seen=²:x",
        "seen=007:x",
        "seen=99999999999999999999:x",
        "",
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_nothing(
    admin_client: Client, query: str
) -> None:
    make_task("task")
    answer = admin_client.get(f"{reverse(CELLS)}?{query}")
    assert answer.status_code == 200 and "hx-swap-oob" in answer.content.decode()


def test_only_who_may_view_tasks_is_answered(client: Client) -> None:
    assert client.get(reverse(CELLS)).status_code == 302
