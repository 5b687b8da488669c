"""The pages of experiments: the log and who may read it, the buttons, comparing, CSV."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.http import StreamingHttpResponse
from django.test import Client

from experiments import logs
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.states import FailureKind, Status, TaskStatus
from gpupool import Lease
from tests.unit.conftest import SCRIPT, succeeded, url

pytestmark = pytest.mark.usefixtures("site")
MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]


def test_what_was_pruned_says_so_and_has_an_estimate(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, **succeeded(objective_score=12.5, pruned=True))
    page = said(admin_client.get(url("experiment_changelist")))
    assert "≈ 12.5 tok/s" in page and ">pruned<" in page


@pytest.fixture
def running(make_experiment: MakeExperiment, lease: Lease) -> Experiment:
    """One that writes a log."""
    experiment = make_experiment()
    experiment.place(lease)
    experiment.start(["vllm", "serve", "--api-key", "hunter2"])
    experiment.folder.mkdir(parents=True)
    write(experiment, f"\x1b[31mred\x1b[0m\n{SCRIPT}\n")
    return experiment


def write(experiment: Experiment, text: str) -> None:
    with open(experiment.folder / "engine.log", "a") as log:
        log.write(text)


def said(answer: Any) -> str:
    return bytes(answer.content).decode()


# ── the log ─────────────────────────────────────────────────────────────────────────────────


def test_the_log_of_what_runs_is_asked_for_again_and_only_what_is_new_is_sent(
    admin_client: Client, running: Experiment
) -> None:
    log = url("experiment_log", running.pk)
    first = said(admin_client.get(log))
    assert 'hx-trigger="every 1s"' in first and '<span class="at-ansi-1">red</span>' in first
    seen = {"seen": first.split("?seen=")[1].split('"')[0]}
    assert admin_client.get(log, seen).status_code == 204
    write(running, "more\n")
    assert "more" in said(admin_client.get(log, seen))


def test_the_log_of_what_has_ended_is_not_asked_for_again(
    admin_client: Client, running: Experiment
) -> None:
    seen = {"seen": logs.mark(running)}
    running.fail(FailureKind.TIMEOUT, "too slow")
    moved = admin_client.get(url("experiment_log", running.pk), seen)
    assert moved.headers["HX-Refresh"] == "true"  # The rest of the page is another, too
    log = said(admin_client.get(url("experiment_log", running.pk)))
    assert "red" in log and "hx-get" not in log


def test_markup_in_a_log_is_only_text(admin_client: Client, running: Experiment) -> None:
    for page in ("experiment_log", "experiment_change"):
        shown = said(admin_client.get(url(page, running.pk)))
        assert "&lt;script&gt;alert(1)" in shown and SCRIPT not in shown


def test_the_whole_log_is_downloaded_as_plain_text(
    admin_client: Client, running: Experiment
) -> None:
    write(running, "x" * 100_000)
    answer = admin_client.get(url("experiment_download", running.pk))
    assert isinstance(answer, StreamingHttpResponse)
    text = b"".join(answer.streaming_content)  # type: ignore[arg-type]
    assert text.startswith(b"\x1b[31mred") and len(text) > 100_000
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_log_that_leads_out_of_the_folder_is_not_downloaded(
    admin_client: Client, running: Experiment, tmp_path: Any
) -> None:
    (tmp_path / "elsewhere").write_text("secret")
    log = running.folder / "engine.log"
    log.unlink()
    log.symlink_to(tmp_path / "elsewhere")
    assert admin_client.get(url("experiment_download", running.pk)).status_code == 404
    assert "secret" not in said(admin_client.get(url("experiment_log", running.pk)))


@pytest.mark.parametrize("role", ["nobody", "viewer"])
def test_logs_are_for_those_who_may_view_experiments(role: str, running: Experiment) -> None:
    user = User.objects.create_user(role, is_staff=True)
    if role != "nobody":
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    for page in ("experiment_log", "experiment_download"):
        answer = client.get(url(page, running.pk))
        assert answer.status_code == (200 if role == "viewer" else 403)
        assert Client().get(url(page, running.pk)).status_code == 302
    assert client.get(url("experiment_compare")).status_code == (302 if role == "viewer" else 403)
    assert client.post(url("experiment_act", running.pk, "cancel")).status_code == 403


# ── the page ────────────────────────────────────────────────────────────────────────────────


def test_an_experiment_shows_how_it_differs_from_the_defaults_and_the_best(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, is_baseline=True, parameters={}, **succeeded(objective_score=1.0))
    make_experiment(task, **succeeded(objective_score=9.0))
    third = make_experiment(task, **succeeded(objective_score=3.0))
    page = said(admin_client.get(url("experiment_change", third.pk)))
    for text in ("this one", "defaults, #1", "best, #2", "at-differs"):
        assert text in page, text


def test_secrets_of_the_command_are_masked(admin_client: Client, running: Experiment) -> None:
    page = said(admin_client.get(url("experiment_change", running.pk)))
    assert "--api-key" in page and "hunter2" not in page


@pytest.mark.usefixtures("pool")
def test_an_experiment_is_retried_and_cancelled_on_its_page(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    one = make_experiment(task, status=Status.FAILED, error_kind="timeout")
    for verb, status in (("retry", Status.PENDING), ("cancel", Status.CANCELLED)):
        answer = admin_client.post(url("experiment_act", one.pk, verb))
        assert answer.headers["Location"] == url("experiment_change", one.pk)
        one.refresh_from_db()
        assert one.status == status
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {"retry", "cancel"}
    assert admin_client.get(url("experiment_act", one.pk, "retry")).status_code == 405
    assert admin_client.post(url("experiment_act", one.pk, "start")).status_code == 404


# ── the list ────────────────────────────────────────────────────────────────────────────────


def choose(client: Client, action: str, *experiments: Experiment) -> Any:
    data = {"action": action, "_selected_action": [one.pk for one in experiments]}
    return client.post(url("experiment_changelist"), data, follow=True)


def test_two_to_six_experiments_are_compared_and_what_differs_is_marked(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    parameters = {"same": 1, SCRIPT: "x"}
    ones = [
        make_experiment(task, parameters={**parameters, "other": n}, **succeeded(metrics={"m": n}))
        for n in range(7)
    ]
    page = said(choose(admin_client, "compare_selected", *ones[:3]))
    assert "Compare experiments" in page and page.count('class="at-differs"') == 2
    assert SCRIPT not in page
    for chosen in (ones[:1], ones):
        assert "Choose two to six" in said(choose(admin_client, "compare_selected", *chosen))
    assert admin_client.get(url("experiment_compare"), {"ids": "x,99"}).status_code == 302


def test_chosen_experiments_are_exported_as_csv(
    admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    one = make_experiment(task, parameters={"p": "=1+1"}, **succeeded(metrics={"m": 2.5}))
    answer = choose(admin_client, "csv_selected", one)
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = said(answer).splitlines()
    assert lines[0].startswith("task,number,attempt") and lines[0].endswith("p,m")
    assert lines[1].endswith("'=1+1,2.5")


@pytest.mark.parametrize(
    "chosen",
    ["node=far", "gpu=b", "feasible__exact=0", "error_kind__exact=timeout", "status__exact=FAILED"],
)
def test_the_list_is_filtered(
    chosen: str, admin_client: Client, make_task: MakeTask, make_experiment: MakeExperiment
) -> None:
    task = make_task(TaskStatus.COMPLETED)
    make_experiment(task, **succeeded(node="near", gpu_uuids=["ab"]))
    failed = {"status": Status.FAILED, "feasible": False, "error_kind": "timeout"}
    make_experiment(task, node="far", gpu_uuids=["a", "b"], **failed)
    page = said(admin_client.get(f"{url('experiment_changelist')}?{chosen}"))
    assert "task #2" in page and "task #1" not in page
