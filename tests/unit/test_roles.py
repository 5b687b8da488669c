"""What each of the four roles may do, action by action, and what it is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from experiments import roles, shows
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION, typed, url

pytestmark = pytest.mark.usefixtures("site", "pool")
MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]

ROLES = ("nobody", "viewer", "operator", "engineer", "administrator")
JOB = {
    **{key: value for key, value in SPECIFICATION.items() if key != "model"},
    "base_runtime": "job",
    "command": ["true"],
    "optimization": {"objective": "maximize_speed"},
}


def login(role: str) -> Client:
    user = User.objects.create_user(role, is_staff=True)
    if role != "nobody":
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def at_least(role: str, needed: str) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def a_job(status: TaskStatus = TaskStatus.PENDING) -> TuningTask:
    task = TuningTask(status=status)
    task.describe(from_dict({**JOB, "task_name": "a job"}))
    task.save()
    return task


PAGES = [
    ("viewer", "admin:experiments_tuningtask_changelist"),
    ("viewer", "admin:experiments_experiment_changelist"),
    ("viewer", "gpus"),
    ("operator", "admin:experiments_auditentry_changelist"),
    ("operator", "admin:django_celery_results_taskresult_changelist"),
    ("engineer", "admin:experiments_tuningtask_add"),
    ("administrator", "admin:auth_user_changelist"),
    ("administrator", "admin:auth_group_changelist"),
]


@pytest.mark.parametrize(("needed", "page"), PAGES)
@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_for_its_role_and_above(role: str, needed: str, page: str, db: None) -> None:
    status = login(role).get(reverse(page)).status_code
    assert status == (200 if at_least(role, needed) else 403)


@pytest.mark.parametrize("role", ROLES)
def test_live_pages_sockets_and_experiments_with_their_logs_are_for_viewers(
    role: str, make_experiment: MakeExperiment
) -> None:
    experiment = make_experiment()
    client, may = login(role), at_least(role, "viewer")
    pages = [url("tuningtask_live", experiment.task_id), url("experiment_change", experiment.pk)]
    for page in pages:
        assert client.get(page).status_code == (200 if may else 403), page
    user = User.objects.get(username=role)
    may_do = [at_least(role, needed) for needed in ("operator", "engineer", "administrator")]
    assert shows.rights(user) == (roles.Rights(*may_do) if may else None)


VERBS = {
    "start": (TaskStatus.PENDING, "operator"),
    "pause": (TaskStatus.RUNNING, "operator"),
    "resume": (TaskStatus.PAUSED, "operator"),
    "cancel": (TaskStatus.RUNNING, "operator"),
    "retry": (TaskStatus.COMPLETED, "operator"),
    "extend": (TaskStatus.COMPLETED, "operator"),
    "clone": (TaskStatus.COMPLETED, "engineer"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("role", ROLES)
def test_a_button_works_for_its_role_and_above(
    role: str, verb: str, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    status, needed = VERBS[verb]
    task = make_task(status)
    make_experiment(task, status=Status.FAILED)
    said = {"number": "+1", "name": "twin"}
    answer = login(role).post(url("tuningtask_act", task.pk, verb), said)
    may = at_least(role, needed)
    assert (answer.status_code == 302) is may, answer.status_code
    assert answer.status_code in (302, 403)
    assert list(AuditEntry.objects.values_list("actor", "action")) == ([(role, verb)] * may)


@pytest.mark.parametrize("role", ROLES)
def test_the_actions_of_the_lists_are_for_operators(
    role: str, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.PENDING)
    experiment = make_experiment(task)
    client, may = login(role), at_least(role, "operator")
    for page, action, row in (
        ("experiment_changelist", "cancel_selected", experiment.pk),
        ("tuningtask_changelist", "start_selected", task.pk),
    ):
        client.post(url(page), {"action": action, "_selected_action": [row]})
    experiment.refresh_from_db()
    task.refresh_from_db()
    assert (experiment.status == Status.CANCELLED) is may
    assert (task.status == TaskStatus.RUNNING) is may


@pytest.mark.parametrize("role", ROLES)
def test_tasks_are_written_by_engineers(role: str, make_task: MakeTask) -> None:
    client, may = login(role), at_least(role, "engineer")
    task = make_task(TaskStatus.PENDING)
    client.post(url("tuningtask_change", task.pk), typed(name=task.name, seed="7"))
    client.post(url("tuningtask_add"), typed(name="another"))
    task.refresh_from_db()
    assert (task.file.optimization.seed == 7) is may
    assert TuningTask.objects.filter(name="another").exists() is may


COMMANDS = [
    {"engine": "job", "command": "true", "objective": "maximize_speed"},
    {"engine": "custom", "command": "serve\n--port={port}\n--seqs={max-num-seqs}"},
    {"executable": "/bin/sh"},
    {"environment": "LD_PRELOAD=/tmp/x.so"},
    {"search_space": "env.LD_PRELOAD: /tmp/x.so, /tmp/y.so"},
]


@pytest.mark.parametrize("fields", COMMANDS, ids=lambda fields: next(iter(fields)))
@pytest.mark.parametrize("role", ["engineer", "administrator"])
def test_what_program_runs_is_for_administrators_to_say(
    role: str, fields: dict[str, str], db: None
) -> None:
    answer = login(role).post(url("tuningtask_add"), typed(**fields))
    is_refused = "for the role administrator" in answer.content.decode()
    assert is_refused is (role == "engineer")
    assert TuningTask.objects.exists() is (role == "administrator")


@pytest.mark.parametrize("role", ["engineer", "administrator"])
def test_a_task_with_a_command_is_edited_and_cloned_by_administrators(role: str, db: None) -> None:
    task, client, may = a_job(), login(role), role == "administrator"
    fields = {"engine": "job", "command": "false", "objective": "maximize_speed", "model": ""}
    client.post(url("tuningtask_change", task.pk), typed(name=task.name, **fields))
    asked = client.get(url("tuningtask_ask", task.pk, "clone"))
    offered = client.get(url("tuningtask_live", task.pk)).content.decode()
    cloned = client.post(url("tuningtask_act", task.pk, "clone"), {"name": "twin"})
    task.refresh_from_db()
    assert task.file.command == (["false"] if may else ["true"])
    assert ("clone-task" in offered, ">Edit</a>" in offered) == (may, may)
    assert (asked.status_code, cloned.status_code) == ((200, 302) if may else (403, 403))
    assert client.post(url("tuningtask_act", task.pk, "start")).status_code == 302


@pytest.mark.parametrize("role", ROLES)
def test_tasks_are_deleted_and_gpus_operated_by_administrators(
    role: str, make_task: MakeTask
) -> None:
    task, client = make_task(TaskStatus.COMPLETED), login(role)
    may = role == "administrator"
    client.post(url("tuningtask_delete", task.pk), {"post": "yes"})
    assert TuningTask.objects.exists() is not may
    for verb in ("quarantine", "return", "drain", "undrain", "release"):
        said: dict[str, Any] = {"gpu": "x", "node": "x", "lease": "x", "why": "y"}
        status = client.post(reverse("gpus_act", args=[verb]), said).status_code
        assert status == (302 if may else 403)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_but_a_superuser_changes_users_or_the_audit(role: str, db: None) -> None:
    client = login(role)
    user, entry = User.objects.get(), AuditEntry.objects.create(actor="a", action="start")
    pages = [
        reverse("admin:auth_user_change", args=[user.pk]),
        url("auditentry_change", entry.pk),
        url("auditentry_delete", entry.pk),
    ]
    for page in pages:
        assert client.post(page, {"is_superuser": "on", "post": "yes"}).status_code == 403


def test_who_is_not_staff_may_nothing_whatever_his_group(client: Client, db: None) -> None:
    user = User.objects.create_user("guest")
    user.groups.add(Group.objects.get(name="administrator"))
    assert shows.rights(user) is None
    assert not roles.may_operate_pool(user) and not roles.may_write_commands(user)


def test_a_group_that_was_changed_stays_so_and_a_missing_one_comes_back(db: None) -> None:
    Group.objects.get(name="viewer").permissions.clear()
    Group.objects.get(name="operator").delete()
    call_command("migrate", verbosity=0)
    assert not Group.objects.get(name="viewer").permissions.exists()
    operator = Group.objects.get(name="operator")
    assert operator.permissions.filter(codename="steer_tuningtask").exists()
