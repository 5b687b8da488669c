"""The pages of the audit, of job results and of people: what they say, and where they lead."""

import json
from collections.abc import Callable

import pytest
import yaml
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from experiments import audit, roles
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.states import Action, Status, TaskStatus
from tests.unit.conftest import SPECIFICATION, typed, url

MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]
pytestmark = pytest.mark.usefixtures("site")


def page_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def entries() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("pk").values_list("actor", "action", "target"))


# ── the audit ───────────────────────────────────────────────────────────────────────────────


def test_an_entry_leads_to_its_task_or_the_gpus_as_long_as_they_are_there(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    audit.record("ann", Action.PAUSE, task)
    audit.record("bob", Action.DRAIN, "node-1", "new driver")
    audit.record("cid", Action.CANCEL, "a task that was deleted")
    for address in (url("auditentry_changelist"), url("auditentry_change", 1)):
        assert url("tuningtask_live", task.pk) in page_of(admin_client, address)
    page = page_of(admin_client, url("auditentry_changelist"))
    assert f'href="{reverse("gpus")}">node-1</a>' in page
    assert ">a task that was deleted</a>" not in page and "a task that was deleted" in page


def test_the_audit_is_filtered_and_searched(admin_client: Client) -> None:
    audit.record("ann", Action.PAUSE, "one", "a reason")
    audit.record("bob", Action.DRAIN, "two")
    listed = url("auditentry_changelist")
    for query in ("?action__exact=pause", "?actor=ann", "?q=reason", "?q=one"):
        page = page_of(admin_client, listed + query)
        assert ">one<" in page and ">two<" not in page, query


def test_many_entries_cost_as_many_queries_as_one(admin_client: Client) -> None:
    costs = []
    for number in (1, 20):
        for _ in range(number):
            audit.record("ann", Action.PAUSE, "a task")
        with CaptureQueriesContext(connection) as queries:
            page_of(admin_client, url("auditentry_changelist"))
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_what_is_written_in_a_form_is_audited(admin_client: Client, make_task: MakeTask) -> None:
    admin_client.post(url("tuningtask_add"), typed(name="written"))
    task = TuningTask.objects.get()
    admin_client.post(url("tuningtask_change", task.pk), typed(name="written", seed="5"))
    ended = make_task(TaskStatus.COMPLETED)
    admin_client.post(url("tuningtask_delete", ended.pk), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [task.pk], "post": "yes"}
    admin_client.post(url("tuningtask_changelist"), chosen)
    assert not TuningTask.objects.exists()
    written = [("add", "written"), ("edit", "written"), ("delete", "task"), ("delete", "written")]
    assert entries() == [("admin", action, target) for action, target in written]
    assert "seed" in AuditEntry.objects.get(action="edit").detail


def test_what_is_pasted_is_audited(admin_client: Client) -> None:
    file = yaml.safe_dump({**SPECIFICATION, "task_name": "pasted"})
    admin_client.post(url("tuningtask_paste"), {"text": file})
    assert entries() == [("admin", "add", "pasted")]


def test_what_is_refused_is_not_audited(admin_client: Client, make_task: MakeTask) -> None:
    admin_client.post(url("tuningtask_add"), typed(max_parallel_experiments="99"))
    admin_client.post(url("tuningtask_delete", make_task().pk), {"post": "yes"})
    assert not entries()


def test_who_made_whom_what_is_audited(admin_client: Client) -> None:
    new = {"username": "eve", "password1": "long-enough-1", "password2": "long-enough-1"}
    admin_client.post(reverse("admin:auth_user_add"), {**new, "usable_password": "true"})
    user = User.objects.get(username="eve")
    engineers = Group.objects.get(name="engineer")
    fields = {"username": "eve", "is_active": "on", "is_staff": "on", "groups": [engineers.pk]}
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    admin_client.post(reverse("admin:auth_user_change", args=[user.pk]), {**fields, **joined})
    assert entries() == [("admin", "add", "user eve"), ("admin", "edit", "user eve")]
    assert "Groups" in AuditEntry.objects.get(action="edit").detail


# ── job results ─────────────────────────────────────────────────────────────────────────────


def result(experiment: Experiment, **said: object) -> TaskResult:
    kept = {"experiment": str(experiment), "error": "", "objective_score": None, **said}
    return TaskResult.objects.create(
        task_id=f"job-{experiment.pk}",
        task_args=json.dumps(f"({experiment.pk}, 'lease')"),
        status="SUCCESS",
        result=json.dumps(kept),
    )


def test_a_result_says_what_came_of_which_experiment(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    good = make_experiment()
    bad = make_experiment(good.task)
    one = result(good, status=Status.SUCCESS, objective_score=12.345)
    result(bad, status=Status.FAILED, error="out of memory")
    TaskResult.objects.create(task_id="raised", status="FAILURE", result="not even JSON")
    listed = reverse("admin:django_celery_results_taskresult_changelist")
    shown = reverse("admin:django_celery_results_taskresult_change", args=[one.pk])
    page = page_of(admin_client, listed)
    for text in ("score 12.3", "out of memory", "FAILED", "not even JSON"):
        assert text in page, text
    for address in (listed, shown):
        assert url("experiment_change", good.pk) in page_of(admin_client, address)
    good.task.delete()
    assert f"{good}" in page_of(admin_client, listed)


# ── people ──────────────────────────────────────────────────────────────────────────────────


def test_the_pages_of_people_say_what_each_role_may(admin_client: Client) -> None:
    User.objects.create_user("ann", is_staff=True).groups.add(Group.objects.get(name="viewer"))
    for name in ("auth_user", "auth_group"):
        page = page_of(admin_client, reverse(f"admin:{name}_changelist"))
        assert all(f"<dt>{role}</dt>" in page for role in roles.ROLES)
        assert "ann" in page and "viewer" in page
