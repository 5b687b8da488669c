"""The admin: what people may do there, what they may not, and that all text is only text."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_results.models import TaskResult

from experiments.models import Experiment, Preset, TuningTask
from experiments.states import FailureKind, Status, TaskStatus
from gpupool import Lease
from tests.unit.conftest import SCRIPT, succeeded, typed, url

MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]
pytestmark = pytest.mark.usefixtures("site")


# ── adding and editing ──────────────────────────────────────────────────────────────────────


def test_a_task_is_added_with_the_form_and_its_live_page_opens(admin_client: Client) -> None:
    page = admin_client.get(url("tuningtask_add")).content.decode()
    assert "Max parallel experiments" in page
    assert "Number of experiments to run concurrently (limited by GPU availability)" in page
    answer = admin_client.post(url("tuningtask_add"), typed(max_parallel_experiments="3"))
    task = TuningTask.objects.get()
    assert answer.headers["Location"] == url("tuningtask_live", task.pk)
    assert task.max_parallel_experiments == 3
    assert task.created_by is not None
    assert (task.status, task.file.task_name) == (TaskStatus.PENDING, "new")


def test_a_refused_task_is_not_saved_and_says_why(admin_client: Client) -> None:
    answer = admin_client.post(url("tuningtask_add"), typed(max_parallel_experiments="9"))
    assert "9 is too many: at most 8" in answer.content.decode()
    assert not TuningTask.objects.exists()


def test_a_waiting_task_is_edited(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.PENDING)
    data = typed(name=task.name, max_parallel_experiments="2", seed="5")
    admin_client.post(url("tuningtask_change", task.pk), data)
    task.refresh_from_db()
    assert (task.file.optimization.seed, task.status) == (5, TaskStatus.PENDING)


def test_save_and_start_does_both_and_what_is_refused_is_neither(
    admin_client: Client, make_task: MakeTask
) -> None:
    add, start = url("tuningtask_add"), {"_start": "Save and start"}
    assert "Save and start" in admin_client.get(add).content.decode()
    admin_client.post(add, typed(max_parallel_experiments="9") | start)
    assert not TuningTask.objects.exists()
    admin_client.post(add, typed() | start)
    assert TuningTask.objects.get().status == TaskStatus.RUNNING
    waiting = make_task(TaskStatus.PENDING)
    change = url("tuningtask_change", waiting.pk)
    admin_client.post(change, typed(name=waiting.name, seed="5") | start)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.file.optimization.seed) == (TaskStatus.RUNNING, 5)


@pytest.mark.parametrize("status", [s for s in TaskStatus if s != TaskStatus.PENDING])
def test_a_task_that_was_started_is_only_shown(
    status: TaskStatus, admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task(status)
    page = admin_client.get(url("tuningtask_change", task.pk)).content.decode()
    assert "task_name: task" in page and 'name="search_space"' not in page
    assert url("tuningtask_live", task.pk) in page
    answer = admin_client.post(url("tuningtask_change", task.pk), typed(seed="5"))
    assert answer.status_code == 403
    task.refresh_from_db()
    assert task.file.optimization.seed == 0


# ── starting and cancelling ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["start", "cancel"])
def test_a_link_never_starts_or_cancels(
    verb: str, admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.PENDING)
    assert admin_client.get(url("tuningtask_act", task.pk, verb)).status_code == 405
    task.refresh_from_db()
    assert task.status == TaskStatus.PENDING


@pytest.mark.parametrize("verb", ["start", "cancel"])
def test_a_post_without_its_csrf_token_is_refused(
    verb: str, admin_user: User, make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.PENDING)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url("tuningtask_act", task.pk, verb)).status_code == 403


def test_start_without_redis_is_kept_and_said(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.PENDING)
    answer = admin_client.post(url("tuningtask_act", task.pk, "start"), follow=True)
    task.refresh_from_db()
    assert task.status == TaskStatus.RUNNING
    assert "Redis does not answer" in answer.content.decode()


def test_a_second_click_is_only_a_message(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.CANCELLED)
    for verb, said in (
        ("start", "only a PENDING task can be started"),
        ("cancel", "cancelled already"),
    ):
        answer = admin_client.post(url("tuningtask_act", task.pk, verb), follow=True)
        assert answer.status_code == 200
        assert said in answer.content.decode()


def test_a_task_is_cancelled_with_what_waits(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    experiment = make_experiment()
    admin_client.post(url("tuningtask_act", experiment.task_id, "cancel"))
    experiment.refresh_from_db()
    assert (experiment.status, experiment.task.status) == (Status.CANCELLED, TaskStatus.CANCELLED)


def test_the_list_starts_and_cancels_too(admin_client: Client, make_task: MakeTask) -> None:
    task = make_task(TaskStatus.PENDING)
    for verb, status in (("start", TaskStatus.RUNNING), ("cancel", TaskStatus.CANCELLED)):
        data = {"action": f"{verb}_selected", "_selected_action": [task.pk]}
        admin_client.post(url("tuningtask_changelist"), data)
        task.refresh_from_db()
        assert task.status == status


def test_nobody_sees_or_changes_a_task_without_permission(
    client: Client, staff: Callable[..., Client], make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.PENDING)
    live, start = url("tuningtask_live", task.pk), url("tuningtask_act", task.pk, "start")
    assert client.get(live).headers["Location"].startswith(reverse("admin:login"))
    assert client.post(start).headers["Location"].startswith(reverse("admin:login"))
    nobody = staff()
    assert (nobody.get(live).status_code, nobody.post(start).status_code) == (403, 403)
    task.refresh_from_db()
    assert task.status == TaskStatus.PENDING


def test_who_may_only_view_has_no_buttons(
    staff: Callable[..., Client], make_task: MakeTask
) -> None:
    task = make_task(TaskStatus.PENDING)
    viewer = staff("view_tuningtask")
    page = viewer.get(url("tuningtask_live", task.pk)).content.decode()
    assert "PENDING" in page and "start-task" not in page and "cancel-task" not in page
    assert "start_selected" not in viewer.get(url("tuningtask_changelist")).content.decode()
    for verb in ("start", "cancel"):
        assert viewer.post(url("tuningtask_act", task.pk, verb)).status_code == 403


# ── deleting ────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_runs_is_not_deleted(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    running = make_task(TaskStatus.RUNNING)
    data = {"action": "delete_selected", "_selected_action": [running.pk], "post": "yes"}
    admin_client.post(url("tuningtask_delete", running.pk), {"post": "yes"})
    admin_client.post(url("tuningtask_changelist"), data)
    assert TuningTask.objects.filter(pk=running.pk).exists()


def test_a_task_whose_engine_still_stops_is_not_deleted(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.CANCELLED)
    make_experiment(task, status=Status.BENCHMARKING)
    admin_client.post(url("tuningtask_delete", task.pk), {"post": "yes"})
    assert TuningTask.objects.exists()


def test_an_ended_task_is_deleted_with_its_experiments(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, status=Status.SUCCESS)
    admin_client.post(url("tuningtask_delete", task.pk), {"post": "yes"})
    assert not TuningTask.objects.exists() and not Experiment.objects.exists()


# ── what is shown ───────────────────────────────────────────────────────────────────────────


def test_the_live_page_shows_winner_gain_and_errors(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    metrics = {"output_throughput": 100.0, "ttft_mean": 0.25, "tpot_mean": 0.0125}
    make_experiment(
        task, is_baseline=True, parameters={}, **succeeded(objective_score=100.0, metrics=metrics)
    )
    make_experiment(task, **succeeded(objective_score=150.0, gpu_uuids=["GPU-1234567890"]))
    make_experiment(task, **succeeded(objective_score=900.0, feasible=False, holds_at="level 1"))
    make_experiment(
        task,
        status=Status.FAILED,
        error_kind=FailureKind.OUT_OF_MEMORY,
        error_message="not enough memory",
    )
    page = admin_client.get(url("tuningtask_live", task.pk)).content.decode()
    for text in (
        *("4 / 5", "1 failed", "+50.0%", "over the engine&#x27;s defaults", "experiment #2"),
        *("vllm serve /models/m", "--max-num-seqs 2", "250", "12.5", "34567890"),
        *("out_of_memory", "not enough memory", "misses the objectives; holds up to level 1"),
    ):
        assert text in page, text


def test_the_lists_show_score_gain_and_errors(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, is_baseline=True, **succeeded(objective_score=100.0))
    make_experiment(task, **succeeded(objective_score=1250.4))
    make_experiment(task, status=Status.FAILED, error_kind="timeout", error_message="too slow")
    tasks = admin_client.get(url("tuningtask_changelist")).content.decode()
    for text in ("3/5", "1,250 tok/s", "+1,150%", url("tuningtask_live", task.pk)):
        assert text in tasks, text
    experiments = admin_client.get(url("experiment_changelist")).content.decode()
    for text in ("max-num-seqs=2", "timeout: too slow", "1,250 tok/s"):
        assert text in experiments, text


def test_markup_in_any_text_is_only_text(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    task.specification["model"]["id_or_path"] = SCRIPT
    TuningTask.objects.update(
        name=SCRIPT,
        model=SCRIPT,
        message=SCRIPT,
        description=SCRIPT,
        specification=task.specification,
    )
    texts: dict[str, Any] = {"parameters": {"max-num-seqs": SCRIPT}, "metrics": {SCRIPT: 1.0}}
    make_experiment(
        task, **succeeded(objective_score=1.0, gpu_uuids=[SCRIPT], node=SCRIPT, **texts)
    )
    experiment = make_experiment(
        task,
        status=Status.FAILED,
        error_kind="timeout",
        error_message=SCRIPT,
        parameters={},
        command=[SCRIPT],
    )
    TaskResult.objects.create(task_id="1", result=SCRIPT, task_args=SCRIPT)
    for page in (
        *(url("tuningtask_live", task.pk), url("tuningtask_change", task.pk)),
        *(url("tuningtask_changelist"), url("experiment_changelist")),
        *(url("experiment_change", experiment.pk), url("tuningtask_delete", task.pk)),
        *(url("experiment_change", experiment.pk - 1), reverse("admin:index")),
        reverse("admin:django_celery_results_taskresult_changelist"),
    ):
        answer = admin_client.get(page)
        assert answer.status_code == 200, page
        assert SCRIPT not in answer.content.decode(), page


def test_a_long_task_shows_its_newest_experiments_and_where_the_others_are(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    Experiment.objects.bulk_create(
        Experiment(task=task, number=number, parameters={"max-num-seqs": number})
        for number in range(1, 151)
    )
    page = admin_client.get(url("tuningtask_live", task.pk)).content.decode()
    assert "max-num-seqs=150<" in page and "max-num-seqs=50<" not in page
    assert f"?task__id__exact={task.pk}" in page


def test_a_task_that_is_not_there_is_not_found(admin_client: Client) -> None:
    assert admin_client.get(url("tuningtask_live", 99)).status_code == 404
    assert admin_client.post(url("tuningtask_act", 99, "start")).status_code == 404


# ── experiments and job results are for reading ─────────────────────────────────────────────


def test_an_experiment_shows_its_moves_and_the_end_of_its_log(
    admin_client: Client, make_experiment: MakeExperiment, lease: Lease
) -> None:
    experiment = make_experiment()
    experiment.place(lease)
    experiment.start(["vllm", "serve"])
    experiment.folder.mkdir(parents=True)
    (experiment.folder / "engine.log").write_text(
        "the first words\n" + "x" * 70_000 + "\nlast words\n"
    )
    page = admin_client.get(url("experiment_change", experiment.pk)).content.decode()
    assert "last words" in page and "the first words" not in page
    assert "PLACED" in page and "DEPLOYING" in page and 'name="status"' not in page


def test_the_log_of_another_node_says_where_it_is(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    experiment = make_experiment(**succeeded(node="far-away"))
    page = admin_client.get(url("experiment_change", experiment.pk)).content.decode()
    assert "The log is on node far-away" in page


def test_a_log_outside_the_folder_of_the_logs_is_not_shown(
    admin_client: Client, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    experiment = make_experiment(**succeeded(node="testnode"))
    (tmp_path / "engine.log").write_text("a secret")
    experiment.folder.parent.mkdir(parents=True, exist_ok=True)
    experiment.folder.symlink_to(tmp_path)
    page = admin_client.get(url("experiment_change", experiment.pk)).content.decode()
    assert "a secret" not in page and "not in the folder of the logs" in page


def test_experiments_and_job_results_cannot_be_changed(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    experiment = make_experiment()
    result = TaskResult.objects.create(task_id="1", status="SUCCESS", result='"done"')
    for name, key in (
        ("experiments_experiment", experiment.pk),
        ("django_celery_results_taskresult", result.pk),
    ):
        change = reverse(f"admin:{name}_change", args=[key])
        assert admin_client.get(change).status_code == 200
        assert admin_client.post(change, {"status": "FAILED"}).status_code == 403
        assert admin_client.get(reverse(f"admin:{name}_add")).status_code == 403
        delete = reverse(f"admin:{name}_delete", args=[key])
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403


def test_no_page_may_run_or_load_what_is_not_ours(admin_client: Client) -> None:
    answer = admin_client.get(reverse("admin:index"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "http" not in policy


def test_a_failed_experiment_says_where_why_and_whether_a_retry_is_worth_it(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    failed = make_experiment(
        status=Status.FAILED,
        error_kind="benchmark_errors",
        error_message="no request completed",
        error_lines="<b>loading\nConnectError: the hub is away",
        error_where="level 2 of 4: D(100,100) · concurrency 4",
        error_may_pass=True,
    )
    page = admin_client.get(url("experiment_change", failed.pk)).content.decode()
    for said in ("level 2 of 4: D(100,100)", "&lt;b&gt;loading", "ConnectError: the hub is away"):
        assert said in page
    assert "Worth a retry" in page and "<b>loading" not in page


def path_of(page: str) -> list[str]:
    """The steps of the path on top of a page."""
    return re.findall(r'class="at-crumb">([^<]*)<', page)


def test_the_path_to_a_page_has_the_words_of_the_menu(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    one = make_experiment(make_task())
    page = admin_client.get(url("experiment_change", one.pk)).content.decode()
    assert path_of(page) == ["Tuning", "Experiments", "Task / #1"]
    job = TaskResult.objects.create(task_id="a job")
    for address in (
        reverse("admin:django_celery_results_taskresult_changelist"),
        reverse("admin:django_celery_results_taskresult_change", args=[job.pk]),
    ):
        page = admin_client.get(address).content.decode()
        assert path_of(page)[:2] == ["Tuning", "Job results"] and "ask result" not in page


@pytest.mark.parametrize(
    ("name", "next_step"),
    [
        ("admin:experiments_tuningtask_changelist", "manage.py tune FILE"),
        ("admin:experiments_experiment_changelist", "manage.py start ID"),
        ("admin:experiments_preset_changelist", "manage.py presets import FILE"),
        ("admin:django_celery_results_taskresult_changelist", "manage.py doctor"),
    ],
)
def test_an_empty_list_says_what_to_do_next(
    admin_client: Client, name: str, next_step: str
) -> None:
    Preset.objects.all().delete()
    empty = admin_client.get(reverse(name)).content.decode()
    assert next_step in empty and "Show all" not in empty
    searched = admin_client.get(reverse(name), {"q": "nowhere"}).content.decode()
    assert "Nothing is like that" in searched and "Show all" in searched


def test_an_experiment_that_has_not_failed_shows_no_failure(
    admin_client: Client, make_experiment: MakeExperiment
) -> None:
    works = make_experiment(status=Status.SUCCESS)
    assert (
        "Worth a retry" not in admin_client.get(url("experiment_change", works.pk)).content.decode()
    )


def test_an_experiments_load_levels_are_a_table_and_a_repeat_says_of_what(
    staff: Callable[..., Client], make_experiment: MakeExperiment
) -> None:
    first = make_experiment(status=Status.SUCCESS)
    level = {"label": "D(9,9) · concurrency 4", "feasible": True, "violations": [], "seconds": 1.5}
    again = make_experiment(
        first.task,
        repeat_of=first.number,
        levels=[{**level, "metrics": {"output_throughput": 123.0}}],
        status=Status.SUCCESS,
    )
    page = staff("view_experiment").get(url("experiment_change", again.pk)).content.decode()
    assert "<td>D(9,9) · concurrency 4</td>" in page and "&#x27;label&#x27;" not in page
    assert "measures #1 again" in page
