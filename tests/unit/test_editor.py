"""The line above the form of a task: what the task would do, and what is wrong with it."""

import html
from collections.abc import Callable
from datetime import timedelta

import pytest
import yaml
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse, reverse_lazy
from django.utils import timezone

from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from tests.unit.conftest import SPECIFICATION, typed

MakeTask = Callable[..., TuningTask]
PASTE = reverse_lazy("admin:experiments_tuningtask_paste")
SUMMARY = "admin:experiments_tuningtask_summary"
pytestmark = pytest.mark.django_db


def said(client: Client, *task: int, **changes: str) -> str:
    answer = client.post(reverse(SUMMARY, args=task), typed(**changes))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_what_is_typed_is_said_as_a_plan_and_nothing_is_saved(admin_client: Client) -> None:
    text = said(admin_client, search_space="max-num-seqs: 4, 8\nenable-prefix-caching: true, false")
    assert "valid" in text and "<b>4</b> combinations" in text
    assert "how long is not known yet" in text and "vllm serve /models/x" in text
    assert not TuningTask.objects.exists()


def test_what_is_wrong_is_said_with_its_field_as_plain_text(admin_client: Client) -> None:
    text = said(admin_client, search_space="<script>: 9..1", max_parallel_experiments="9")
    assert "1 to correct" in text and "<b>Search space</b>" in text
    assert "9 is too many" not in text  # What cannot be read is corrected first
    assert "<script>" not in text and "at most 8" in said(
        admin_client, max_parallel_experiments="9"
    )


def test_how_long_it_takes_is_what_the_latest_of_the_same_model_took(
    admin_client: Client, make_task: MakeTask
) -> None:
    earlier, end = make_task(), timezone.now()
    TuningTask.objects.filter(pk=earlier.pk).update(engine="vllm", model="/models/x")
    Experiment.objects.create(
        task=earlier,
        number=1,
        status=Status.SUCCESS,
        started_at=end - timedelta(minutes=30),
        finished_at=end,
    )
    text = said(admin_client, max_experiments="6", max_parallel_experiments="2", repeats="0")
    assert "at most <b>3</b> experiments" in text and "<b>0.8 h</b>" in text


def test_a_task_that_is_edited_may_keep_its_name(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task()
    assert "valid" in said(admin_client, task.pk, name=task.name)
    assert "already" in said(admin_client, name=task.name)


def test_only_who_may_change_tasks_is_told(client: Client) -> None:
    assert client.post(reverse(SUMMARY), typed()).status_code == 302


# ── a task file, pasted ─────────────────────────────────────────────────────────────────────


def test_a_pasted_task_file_is_a_task_that_waits_to_be_started(
    admin_client: Client, admin_user: User
) -> None:
    text = yaml.safe_dump({**SPECIFICATION, "task_name": "pasted"})
    answer = admin_client.post(PASTE, {"text": text})
    task = TuningTask.objects.get()
    assert (task.name, task.status, task.created_by) == ("pasted", TaskStatus.PENDING, admin_user)
    assert answer.headers["Location"] == reverse(
        "admin:experiments_tuningtask_change", args=[task.pk]
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("task_name: [", "line 1"),
        ("task_name: x\nbase_runtime: <b>", "base_runtime"),
    ],
)
def test_a_pasted_file_that_cannot_be_used_is_kept_and_its_field_named(
    admin_client: Client, text: str, why: str
) -> None:
    page = admin_client.post(PASTE, {"text": text}).content.decode()
    assert why in page and html.escape(text) in page and "<b>" not in page.split("<form")[-1]
    assert not TuningTask.objects.exists()


def test_a_pasted_command_is_for_administrators_to_write(client: Client, db: None) -> None:
    engineer = User.objects.create_user("e", is_staff=True)
    engineer.groups.add(Group.objects.get(name="engineer"))
    client.force_login(engineer)
    job = {"task_name": "j", "base_runtime": "job", "command": ["true"], "parameters": {"x": [1]}}
    text = yaml.safe_dump({**job, "optimization": {"objective": "maximize_speed"}})
    page = client.post(PASTE, {"text": text}).content.decode()
    assert "role administrator" in page and not TuningTask.objects.exists()


def test_the_form_as_it_is_is_downloaded_without_secrets_and_nothing_is_saved(
    admin_client: Client,
) -> None:
    address = reverse("admin:experiments_tuningtask_download")
    answer = admin_client.post(address, typed(environment="HF_TOKEN=hf_very_secret"))
    assert 'filename="new.yaml"' in answer["Content-Disposition"]
    file = yaml.safe_load(answer.content)
    assert file["model"] == {"id_or_path": "/models/x"}
    assert b"hf_very_secret" not in answer.content and not TuningTask.objects.exists()


def test_a_form_that_is_no_task_file_says_why_instead(admin_client: Client) -> None:
    address = reverse("admin:experiments_tuningtask_download")
    answer = admin_client.post(address, typed(search_space="x: 9..1"))
    assert answer.status_code == 400 and "<b>Search space</b>" in answer.content.decode()


def test_a_file_is_uploaded_in_place_of_a_paste(admin_client: Client) -> None:
    file = SimpleUploadedFile("task.yaml", yaml.safe_dump(SPECIFICATION).encode())
    assert admin_client.post(PASTE, {"text": "", "file": file}).status_code == 302
    assert TuningTask.objects.get().name == "task"
    picture = SimpleUploadedFile("task.png", b"\xff\xfe\x00\x80")
    assert "not text in UTF-8" in admin_client.post(PASTE, {"file": picture}).content.decode()
