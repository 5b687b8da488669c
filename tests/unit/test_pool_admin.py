"""The page of the GPUs: who may do what there, what it shows, and that a click is one action."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from experiments import audit
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Action, TaskStatus
from gpupool import Lease, open_inventory
from tests.unit.conftest import SCRIPT

MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]
pytestmark = pytest.mark.usefixtures("site", "pool")
BY_HTMX = {"HX-Request": "true"}


@pytest.fixture
def operator(staff: Callable[..., Client]) -> Client:
    return staff("operate_pool", "view_experiment")


def do(client: Client, verb: str, **said: str) -> str:
    """Click, as a browser without scripts does; the page that follows."""
    answer = client.post(reverse("gpus_act", args=[verb]), said, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def states() -> list[str]:
    return [gpu.state for gpu in gpu_pool().gpus()]


def granted(holder: str, **request: Any) -> Lease:
    lease = gpu_pool().acquire(holder, **request)
    assert lease is not None
    return lease


ADDRESSES = [
    ("get", "gpus", []),
    ("get", "gpus_now", []),
    ("get", "gpus_ask", ["release"]),
    ("post", "gpus_act", ["quarantine"]),
    ("post", "gpus_act", ["return"]),
    ("post", "gpus_act", ["drain"]),
    ("post", "gpus_act", ["undrain"]),
    ("post", "gpus_act", ["release"]),
]


# ── who may ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "name", "words"), ADDRESSES)
def test_strangers_log_in_first_and_who_may_not_is_refused(
    method: str, name: str, words: list[str], client: Client, staff: Callable[..., Client]
) -> None:
    address = reverse(name, args=words)
    said = {"gpu": "alpha/0", "node": "alpha", "why": "x"}
    answer = getattr(client, method)(address, said)
    assert answer.headers["Location"].startswith(reverse("admin:login"))
    for nobody in (staff("view_tuningtask"), staff("operate_pool", is_staff=False)):
        assert getattr(nobody, method)(address, said).status_code == 403
    assert states() == ["free"] * 4 and not AuditEntry.objects.exists()


def test_an_open_page_whose_session_ended_is_loaded_anew(client: Client) -> None:
    for answer in (
        client.get(reverse("gpus_now"), headers=BY_HTMX),
        client.post(reverse("gpus_act", args=["drain"]), headers=BY_HTMX),
    ):
        assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")


def test_who_may_only_view_sees_the_pool_and_has_no_buttons(staff: Callable[..., Client]) -> None:
    granted("someone")
    viewer = staff("view_pool")
    page = viewer.get(reverse("gpus")).content.decode()
    assert "sim-alpha-0" in page and "someone" in page
    assert "Quarantine" not in page and "Drain" not in page and "Release" not in page
    for method, name, words in ADDRESSES[2:]:
        assert getattr(viewer, method)(reverse(name, args=words)).status_code == 403


def test_the_sidebar_has_the_page_for_those_who_may_see_it(staff: Callable[..., Client]) -> None:
    index = reverse("admin:index")
    link = f'href="{reverse("gpus")}"'
    assert link in staff("view_pool").get(index).content.decode()
    assert link in staff("operate_pool").get(index).content.decode()
    assert link not in staff("view_tuningtask").get(index).content.decode()


def test_a_link_does_nothing(operator: Client) -> None:
    for verb in ("quarantine", "return", "drain", "undrain", "release"):
        answer = operator.get(reverse("gpus_act", args=[verb]), {"gpu": "alpha/0", "why": "x"})
        assert answer.status_code == 405
    assert states() == ["free"] * 4


def test_a_post_without_its_csrf_token_is_refused(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    for by in ({}, BY_HTMX):
        answer = client.post(
            reverse("gpus_act", args=["drain"]), {"node": "alpha", "why": "x"}, headers=by
        )
        assert answer.status_code == 403
    assert states() == ["free"] * 4


def test_a_verb_that_is_none_is_not_found(operator: Client) -> None:
    assert operator.post(reverse("gpus_act", args=["destroy"])).status_code == 404
    assert operator.get(reverse("gpus_ask", args=["return"])).status_code == 404


# ── what a click does ───────────────────────────────────────────────────────────────────────


def test_each_button_is_one_audited_action_of_the_user(operator: Client) -> None:
    lease = granted("someone")
    said = {
        "is quarantined for 10 min": (
            "quarantine",
            {"gpu": "sim-alpha-3", "why": "x", "for": "10m"},
        ),
        "is returned": ("return", {"gpu": "sim-alpha-3"}),
        "alpha takes nothing new; 1 of its GPUs": ("drain", {"node": "alpha", "why": "new driver"}),
        "alpha takes experiments again": ("undrain", {"node": "alpha"}),
        "someone is told to stop": ("release", {"lease": lease.id}),
    }
    for words, (verb, fields) in said.items():
        assert words in do(operator, verb, **fields)
    entries = list(AuditEntry.objects.order_by("id").values_list("actor", "action"))
    assert entries == [("user0", verb) for verb, _ in said.values()]


def test_a_second_click_changes_nothing_and_says_so(operator: Client) -> None:
    lease = granted("someone")
    for verb, fields, again in (
        ("quarantine", {"gpu": "alpha/3", "why": "hot"}, "is quarantined"),
        ("return", {"gpu": "alpha/3"}, "is not quarantined"),
        ("drain", {"node": "alpha", "why": "new driver"}, "takes nothing new"),
        ("undrain", {"node": "alpha"}, "is not drained"),
        ("release", {"lease": lease.id}, "already taken away by user0"),
    ):
        do(operator, verb, **fields)
        before = (states(), AuditEntry.objects.count())
        assert again in do(operator, verb, **fields)
        assert (states(), AuditEntry.objects.count()) == before


def test_what_is_not_possible_is_a_message(operator: Client) -> None:
    assert "say why" in do(operator, "quarantine", gpu="alpha/0", why=" ")
    assert "is not a time" in do(operator, "quarantine", gpu="alpha/0", why="x", **{"for": "soon"})
    assert "there is no GPU" in do(operator, "return", gpu="gone")
    assert "there is no lease" in do(operator, "release")
    assert not AuditEntry.objects.exists()


def test_the_page_that_asked_gets_its_parts_and_what_was_done(operator: Client) -> None:
    answer = operator.post(
        reverse("gpus_act", args=["quarantine"]), {"gpu": "alpha/0", "why": "hot"}, headers=BY_HTMX
    )
    parts = answer.content.decode()
    assert answer.status_code == 200 and "<html" not in parts
    for name in ("summary", "gpus", "leases", "waiting", "messages", "ask"):
        assert f'id="pool-{name}"' in parts
    assert "is quarantined until it is returned" in parts
    # The next look leaves the message where it is
    assert "pool-messages" not in operator.get(reverse("gpus_now")).content.decode()


def test_what_cannot_be_undone_is_asked_first(operator: Client) -> None:
    lease = granted("someone")
    for verb, target, words in (
        ("quarantine", "sim-alpha-0", "What runs on it, someone, goes on"),
        ("drain", "alpha", "1 of its GPUs are leased"),
        ("release", lease.id, "Release the lease of someone?"),
    ):
        question = operator.get(reverse("gpus_ask", args=[verb]), {"of": target}).content.decode()
        assert words in question and "csrfmiddlewaretoken" in question
        gone = operator.get(reverse("gpus_ask", args=[verb]), {"of": "x"}).content.decode()
        assert "Nothing is done: " in gone and "csrfmiddlewaretoken" not in gone
    assert not AuditEntry.objects.exists()


# ── what is shown ───────────────────────────────────────────────────────────────────────────


def test_the_page_shows_who_holds_what_and_who_waits_for_what(
    operator: Client, staff: Callable[..., Client], make_experiment: MakeExperiment
) -> None:
    experiment = make_experiment()
    granted(experiment.holder, gpus=3, min_host_memory_mb=2048)
    gpu_pool().acquire("notebook", gpus=4, min_memory_mb=8192, min_host_memory_mb=1024)
    do(operator, "quarantine", gpu="alpha/0", why="fan noise")
    page = operator.get(reverse("gpus")).content.decode()
    link = reverse("admin:experiments_experiment_change", args=[experiment.pk])
    for text in (
        *(f'href="{link}"', "task #1", "3 / 4", "2 / 62.5 GiB", "then quarantined"),
        *("fan noise (user0)", "4 GPUs of one node, 8 GiB free on each, 1 GiB of the host"),
        *("notebook", 'title="sim-alpha-0"'),
    ):
        assert text in page, text
    without = staff("view_pool").get(reverse("gpus")).content.decode()
    assert "task #1" not in without and experiment.holder in without


def test_a_pool_that_does_not_grant_yet_says_when_it_does(operator: Client) -> None:
    gpu_pool().redis.flushall()
    gpu_pool().publish("alpha", open_inventory("simulated:1", "alpha").gpus())
    assert "The pool opens in " in operator.get(reverse("gpus")).content.decode()


def test_an_empty_pool_says_what_fills_it(operator: Client) -> None:
    gpu_pool().withdraw_node("alpha")
    assert "manage.py worker" in operator.get(reverse("gpus")).content.decode()


def test_without_redis_the_page_says_so_and_a_click_does_nothing(
    operator: Client, settings: Any, tmp_path: Path
) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    gpu_pool.cache_clear()
    for name in ("gpus", "gpus_now"):
        assert "Redis does not answer" in operator.get(reverse(name)).content.decode()
    assert "Nothing is done: Redis" in do(operator, "quarantine", gpu="alpha/0", why="hot")
    ask = operator.get(reverse("gpus_ask", args=["drain"]), {"of": "alpha"}).content.decode()
    assert "Nothing is done: Redis" in ask
    assert not AuditEntry.objects.exists()


def test_markup_in_any_text_is_only_text(admin_client: Client) -> None:
    gpu_pool().publish(SCRIPT, open_inventory("simulated:2", SCRIPT).gpus())
    granted(SCRIPT, gpus=4)
    granted(SCRIPT * 2, gpus=2)
    gpu_pool().acquire(f"{SCRIPT}'\"", gpus=4)
    do(admin_client, "quarantine", gpu=f"sim-{SCRIPT}-0", why=SCRIPT)
    do(admin_client, "drain", node=SCRIPT, why=SCRIPT)
    for address in (
        *(reverse("gpus"), reverse("admin:experiments_auditentry_changelist")),
        f"{reverse('gpus_ask', args=['drain'])}?of={SCRIPT}",
        f"{reverse('gpus_ask', args=['quarantine'])}?of=sim-{SCRIPT}-0",
        f"{reverse('gpus_ask', args=['release'])}?of={SCRIPT}",
    ):
        page = admin_client.get(address).content.decode()
        assert SCRIPT not in page and "&lt;script&gt;" in page, address


# ── the audit ───────────────────────────────────────────────────────────────────────────────


def test_the_audit_is_read_filtered_and_searched_and_never_changed(
    staff: Callable[..., Client], admin_client: Client
) -> None:
    audit.record("ann", Action.DRAIN, "alpha", "new driver")
    entry = audit.record("bob", Action.RELEASE, "lease-7", "experiment:1:1")
    list_ = reverse("admin:experiments_auditentry_changelist")

    def shown(**query: str) -> list[bool]:
        page = staff("view_auditentry").get(list_, query).content.decode()
        return [text in page for text in ("new driver", "experiment:1:1")]

    assert shown() == [True, True]
    assert shown(action__exact="drain") == [True, False]
    assert shown(actor="bob") == [False, True]
    assert shown(q="lease-7") == [False, True]
    assert staff("view_pool").get(list_).status_code == 403
    change = reverse("admin:experiments_auditentry_change", args=[entry.pk])
    assert "lease-7" in admin_client.get(change).content.decode()
    assert admin_client.post(change, {"actor": "nobody"}).status_code == 403
    assert admin_client.get(reverse("admin:experiments_auditentry_add")).status_code == 403
    delete = reverse("admin:experiments_auditentry_delete", args=[entry.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403


# ── max parallel experiments, on the live page ──────────────────────────────────────────────


def parallel(client: Client, task: TuningTask, text: str) -> str:
    address = reverse("admin:experiments_tuningtask_act", args=[task.pk, "parallel"])
    answer = client.post(address, {"number": text}, follow=True)
    assert answer.status_code == 200
    task.refresh_from_db()
    return answer.content.decode()


def test_the_limit_of_a_running_task_is_changed_on_its_page(
    admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    assert "runs at most 4 experiments at once" in parallel(admin_client, task, "4")
    assert task.max_parallel_experiments == 4
    parallel(admin_client, task, "4")
    [entry] = AuditEntry.objects.all()
    assert (entry.actor, entry.action, entry.target) == ("admin", "limit", "task")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "at most 4, the smaller of 8 (setting MAX_PARALLEL_EXPERIMENTS) and 4 (GPUs"),
        ("0", "0 is not 1 or more"),
        ("-1", "-1 is not 1 or more"),
        ("", "is not a whole number"),
        ("2.5", "is not a whole number"),
    ],
)
def test_a_limit_that_is_refused_says_why(
    text: str, said: str, admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task()
    assert said in parallel(admin_client, task, text)
    assert task.max_parallel_experiments == 2


def test_only_who_may_change_a_task_changes_its_limit(
    staff: Callable[..., Client], admin_user: User, make_task: MakeTask
) -> None:
    task = make_task()
    address = reverse("admin:experiments_tuningtask_act", args=[task.pk, "parallel"])
    viewer, editor = staff("view_tuningtask", "operate_pool"), staff("change_tuningtask")
    assert viewer.post(address, {"number": "3"}).status_code == 403
    assert editor.get(address).status_code == 405
    question = reverse("admin:experiments_tuningtask_ask", args=[task.pk, "change"])
    assert viewer.get(question).status_code == 403
    assert 'name="parallel" min="1" max="4"' in editor.get(question).content.decode()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(address, {"number": "3"}).status_code == 403
    task.refresh_from_db()
    assert task.max_parallel_experiments == 2


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.COMPLETED])
def test_a_task_that_does_not_run_has_no_limit_to_change(
    status: TaskStatus, admin_client: Client, make_task: MakeTask
) -> None:
    task = make_task(status)
    page = parallel(admin_client, task, "3")
    assert "Nothing is done: " in page and "change-task" not in page
    assert task.max_parallel_experiments == 2
