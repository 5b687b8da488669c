"""The buttons of a task: which are there, what they ask, and what a click on a stale page does."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from autotuner_site.celery import app
from experiments import picture, roles
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.states import Status, TaskStatus

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
pytestmark = pytest.mark.usefixtures("pool")
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[None]:
    """Nothing that takes long for nothing: there is no broker."""
    quick = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
    patient = app.conf.broker_transport_options
    app.conf.broker_transport_options = quick
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    yield
    app.conf.broker_transport_options = patient


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    def make(*permissions: str) -> Client:
        user = User.objects.create(username="-".join(permissions) or "nobody", is_staff=True)
        for permission in permissions:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        client = Client()
        client.force_login(user)
        return client

    return make


def url(name: str, *arguments: object) -> str:
    return reverse(f"admin:experiments_{name}", args=arguments)


def buttons(task: TuningTask) -> list[str]:
    """Those of the head, in their order."""
    head = picture.draw(task.pk, roles.Rights(True, True)).fragments["head"]
    return [part.split('"')[0] for part in head.split('<button id="')[1:]]


# ── which buttons there are ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (TaskStatus.PENDING, ["start", "clone", "cancel"]),
        (TaskStatus.RUNNING, ["pause", "change", "clone", "cancel"]),
        (TaskStatus.PAUSED, ["resume", "change", "clone", "cancel"]),
        (TaskStatus.COMPLETED, ["extend", "clone"]),
        (TaskStatus.FAILED, ["extend", "clone"]),
        (TaskStatus.CANCELLED, ["extend", "clone"]),
    ],
)
def test_each_status_has_the_buttons_that_do_something(
    status: TaskStatus, shown: list[str], make_task: MakeTask
) -> None:
    assert buttons(make_task(status)) == [f"{verb}-task" for verb in shown]


def test_what_failed_can_be_retried_and_what_has_not_ended_cancelled(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    for status in Status:
        make_experiment(task, status=status)
    make_experiment(task, status=Status.BENCHMARKING, cancel_requested=True)
    assert buttons(task) == [
        f"{verb}-task" for verb in ("pause", "retry", "change", "clone", "cancel")
    ]
    drawn = picture.draw(task.pk, roles.Rights(True, True)).fragments
    assert "Retry 1 failed" in drawn["head"]
    found = [part.split('"')[0] for part in drawn["rows"].split('<button id="')[1:]]
    assert found == ["retry-7", "retry-6", "cancel-4", "cancel-3", "cancel-2", "cancel-1"]
    assert "is being stopped" in drawn["rows"]


def test_who_may_not_change_a_task_has_no_buttons_and_is_refused(
    staff: Callable[..., Client], make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, status=Status.FAILED)
    viewer = staff("view_tuningtask", "view_experiment")
    assert "<button id=" not in viewer.get(url("tuningtask_live", task.pk)).content.decode()
    for verb in ("pause", "retry", "change", "clone"):
        assert viewer.post(url("tuningtask_act", task.pk, verb)).status_code == 403
        assert viewer.get(url("tuningtask_ask", task.pk, verb)).status_code == 403
    for name in ("tuningtask", "experiment"):
        html = viewer.get(url(f"{name}_changelist")).content.decode()
        offered = set(re.findall(r'value="(\w+)_selected"', html))
        assert offered <= {"compare", "csv", "export"}  # Which only read
    data = {"action": "retry_selected", "_selected_action": [1]}
    viewer.post(url("experiment_changelist"), data)
    assert not AuditEntry.objects.exists()


# ── questions ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "texts"),
    [
        ("cancel", ["Cancel task?", "What was measured is kept"]),
        ("cancel?experiment=1", ["Cancel experiment #1?", 'name="experiment" value="1"']),
        ("clone", ["Clone task", 'value="task (2)"']),
        ("extend", ['min="6" value="15"', "5 until now"]),
        ("change", ['name="priority" min="-100" max="100" value="0"', 'name="budget" min="5"']),
    ],
)
def test_a_question_says_what_would_be_done(
    verb: str, texts: list[str], admin_client: Client, make_experiment: Make
) -> None:
    verb, _, query = verb.partition("?")
    task = make_experiment().task
    page = admin_client.get(f"{url('tuningtask_ask', task.pk, verb)}?{query}").content.decode()
    for text in texts:
        assert text in page, text


def test_only_questions_are_asked_and_only_verbs_are_done(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    assert admin_client.get(url("tuningtask_ask", task.pk, "pause")).status_code == 404
    assert admin_client.post(url("tuningtask_act", task.pk, "fly")).status_code == 404
    assert admin_client.get(url("tuningtask_act", task.pk, "pause")).status_code == 405


def test_the_name_of_a_clone_is_free_and_not_too_long(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    for name in ("task (2)", "x" * 200):
        TuningTask.objects.create(
            name=name, engine="job", objective="maximize_x", specification=task.specification
        )
    page = admin_client.get(url("tuningtask_ask", task.pk, "clone")).content.decode()
    assert 'value="task (3)"' in page
    long = TuningTask.objects.get(name="x" * 200)
    page = admin_client.get(url("tuningtask_ask", long.pk, "clone")).content.decode()
    assert f'value="{"x" * 190} (2)"' in page


# ── clicks ──────────────────────────────────────────────────────────────────────────────────


def test_a_click_is_answered_with_the_parts_of_the_page(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    address = url("tuningtask_act", task.pk, "pause")
    page = admin_client.post(address, headers=HTMX).content.decode()
    for text in ("PAUSED", 'id="live-messages"', "task is paused", 'id="live-rows"', "resume-task"):
        assert text in page, text
    assert "is paused already" in admin_client.post(address, headers=HTMX).content.decode()
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("verb", ["pause", "resume", "start", "cancel", "retry", "extend"])
def test_a_click_on_a_stale_page_is_a_message(
    verb: str, admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    answer = admin_client.post(url("tuningtask_act", task.pk, verb), {"number": "1"}, headers=HTMX)
    assert answer.status_code == 200 and "Nothing is done: " in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_an_experiment_is_cancelled_and_retried_in_its_row(
    admin_client: Client, make_experiment: Make
) -> None:
    experiment = make_experiment()
    for verb, status in (("cancel", Status.CANCELLED), ("retry", Status.PENDING)):
        admin_client.post(
            url("tuningtask_act", experiment.task_id, verb), {"experiment": "1"}, headers=HTMX
        )
        experiment.refresh_from_db()
        assert experiment.status == status
    assert experiment.task.status == TaskStatus.RUNNING


def test_a_clone_leads_to_its_form(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.COMPLETED)
    address = url("tuningtask_act", task.pk, "clone")
    answer = admin_client.post(address, {"name": "twin"}, headers=HTMX)
    twin = TuningTask.objects.get(name="twin")
    assert answer.headers["HX-Redirect"] == url("tuningtask_change", twin.pk)
    assert twin.created_by is not None
    again = admin_client.post(address, {"name": "twin"})
    assert again.headers["Location"] == url("tuningtask_change", twin.pk)
    assert 'name="search_space"' in admin_client.get(again.headers["Location"]).content.decode()


def test_who_is_logged_out_is_asked_to_log_in_and_comes_back(
    client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    answer = client.post(url("tuningtask_act", task.pk, "pause"), headers=HTMX)
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")
    answer = client.post(url("tuningtask_act", task.pk, "pause"))
    assert answer.headers["Location"].endswith(f"?next={url('tuningtask_live', task.pk)}")
    assert not AuditEntry.objects.exists()


# ── the lists ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("start", TaskStatus.PENDING, TaskStatus.RUNNING),
        ("pause", TaskStatus.RUNNING, TaskStatus.PAUSED),
        ("resume", TaskStatus.PAUSED, TaskStatus.RUNNING),
        ("cancel", TaskStatus.RUNNING, TaskStatus.CANCELLED),
        ("retry", TaskStatus.FAILED, TaskStatus.RUNNING),
    ],
)
def test_the_list_of_tasks_has_the_same_actions(
    verb: str,
    before: TaskStatus,
    after: TaskStatus,
    admin_client: Client,
    make_task: MakeTask,
    make_experiment: Make,
) -> None:
    task = make_task(before)
    make_experiment(task, status=Status.FAILED)
    data = {"action": f"{verb}_selected", "_selected_action": [task.pk]}
    answer = admin_client.post(url("tuningtask_changelist"), data, follow=True)
    assert answer.status_code == 200
    task.refresh_from_db()
    assert task.status == after
    assert [entry.action for entry in AuditEntry.objects.all()] == [verb]


def test_the_list_of_experiments_cancels_and_retries_task_by_task(
    admin_client: Client, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    made = [make_experiment(task) for _ in range(3)]
    keys = [one.pk for one in made[:2]]
    for verb, status in (("cancel", Status.CANCELLED), ("retry", Status.PENDING)):
        data = {"action": f"{verb}_selected", "_selected_action": keys}
        answer = admin_client.post(url("experiment_changelist"), data, follow=True)
        assert "#1, #2 of task is" in answer.content.decode()
        assert set(Experiment.objects.filter(pk__in=keys).values_list("status", flat=True)) == {
            status
        }
    assert [entry.detail for entry in AuditEntry.objects.all()] == ["#1, #2", "#1, #2"]


def test_the_list_clones_under_free_names_and_starts_nothing(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    data = {"action": "clone_selected", "_selected_action": [task.pk]}
    for _ in range(2):
        admin_client.post(url("tuningtask_changelist"), data)
    names = list(TuningTask.objects.order_by("pk").values_list("name", "status"))
    assert names[0] == ("task", "RUNNING")
    assert set(names[1:]) == {("task (2)", "PENDING"), ("task (3)", "PENDING")}


def test_a_command_is_cloned_by_nobody_who_may_not_write_it(
    staff: Callable[..., Client], make_task: MakeTask
) -> None:
    task = make_task()
    task.specification |= {"base_runtime": "job", "command": ["true"]}
    task.save()
    engineer = staff("view_tuningtask", "change_tuningtask", "add_tuningtask")
    data = {"action": "clone_selected", "_selected_action": [task.pk]}
    answer = engineer.post(url("tuningtask_changelist"), data, follow=True)
    assert "is not cloned" in answer.content.decode()
    assert TuningTask.objects.count() == 1


def test_chosen_tasks_are_exported_in_one_archive_and_a_task_from_its_page(
    admin_client: Client, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, status=Status.SUCCESS, feasible=True, objective_score=2.0)
    data = {"action": "export_selected", "_selected_action": [task.pk]}
    for answer in (
        admin_client.post(url("tuningtask_changelist"), data),
        admin_client.get(url("tuningtask_export", task.pk)),
    ):
        assert 'filename="task.zip"' in answer["Content-Disposition"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
            folder = f"task-{task.pk}"
            names = {"report.md", "task.json", "experiments.csv"}
            assert set(files.namelist()) == {f"{folder}/{name}" for name in names}
            assert json.loads(files.read(f"{folder}/task.json"))["best"]["objective_score"] == 2.0
    assert "/export/" in admin_client.get(url("tuningtask_live", task.pk)).content.decode()


def test_results_are_exported_by_those_who_may_see_experiments(
    staff: Callable[..., Client], make_task: MakeTask
) -> None:
    task = make_task()
    viewer = staff("view_tuningtask")
    assert viewer.get(url("tuningtask_export", task.pk)).status_code == 403
    assert "/export/" not in viewer.get(url("tuningtask_live", task.pk)).content.decode()


# ── the form ────────────────────────────────────────────────────────────────────────────────


def test_an_edited_budget_and_priority_are_written_into_columns_and_file(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.PENDING)
    page = admin_client.get(url("tuningtask_change", task.pk))
    form = page.context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    data = {name: "" if value is None else value for name, value in shown.items()}
    admin_client.post(
        url("tuningtask_change", task.pk), {**data, "max_experiments": "9", "priority": "4"}
    )
    task.refresh_from_db()
    assert (task.max_experiments, task.priority) == (9, 4)
    found = task.file.optimization
    assert (found.max_iterations, found.priority) == (9, 4)
