"""The start page: who sees what of it, what it costs, and what it says when parts are away."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments import dashboard, summaries
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Status, TaskStatus
from gpupool import Lease

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
Login = Callable[..., Client]
pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"
BY_HTMX = {"HX-Request": "true"}
START = "/admin/"
NOW = "/admin/dashboard/now/"


@pytest.fixture(autouse=True)
def site(pool: None, settings: Any) -> Iterator[None]:
    """An open pool with one node of four GPUs, and a page that nobody has looked at."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    dashboard.forget()
    summaries.forget()
    yield
    dashboard.forget()


@pytest.fixture
def login() -> Login:
    """A logged-in member of the staff with these permissions."""

    def make(*permissions: str, is_staff: bool = True) -> Client:
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=is_staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return make


def page(client: Client, address: str = START, **said: str) -> str:
    dashboard.forget()
    answer = client.get(address, said)
    assert answer.status_code == 200
    return answer.content.decode()


def ran(make: Make, task: TuningTask, **fields: Any) -> Experiment:
    """It ended a minute ago, on one GPU of the pool."""
    now = timezone.now()
    done = {"status": Status.SUCCESS, "feasible": True, "objective_score": 5.0, "node": "alpha"}
    times = {"placed_at": now - timedelta(minutes=9), "finished_at": now - timedelta(minutes=1)}
    return make(task, **{**done, **times, "gpu_uuids": ["sim-alpha-1"], **fields})


# ── who may ─────────────────────────────────────────────────────────────────────────────────


def test_it_is_for_those_who_may_view_tasks_and_others_have_the_admins_own_start(
    login: Login, client: Client
) -> None:
    assert "dashboard-tasks" in page(login("view_tuningtask"))
    assert "dashboard-tasks" in page(login("change_tuningtask"))
    other = login("view_pool")
    assert "dashboard-" not in page(other)
    assert other.get(NOW).status_code == 403
    assert client.get(NOW).headers["Location"].startswith(reverse("admin:login"))
    assert client.get(NOW, headers=BY_HTMX).headers["HX-Refresh"] == "true"
    assert login("view_tuningtask").post(NOW).status_code == 405


def test_the_pool_and_links_to_experiments_are_for_those_who_may_see_them(
    login: Login, make_task: MakeTask, make_experiment: Make
) -> None:
    experiment = ran(make_experiment, make_task())
    link = reverse("admin:experiments_experiment_change", args=[experiment.pk])
    less, more = login("view_tuningtask"), login("view_tuningtask", "view_experiment", "view_pool")
    assert link not in page(less) and "pool-gpus" not in page(less)
    assert "sim-alpha-1" in page(less)  # The lane of an experiment is no secret
    assert link in page(more) and "pool-gpus" in page(more) and "pool-waiting" in page(more)


def test_what_is_drawn_for_many_has_no_buttons(login: Login) -> None:
    operator = login("view_tuningtask", "operate_pool", "view_experiment")
    assert "Quarantine" not in page(operator) and "csrfmiddlewaretoken" not in page(operator, NOW)


def test_those_who_may_see_less_never_get_what_was_drawn_for_others(login: Login) -> None:
    more, less = login("view_tuningtask", "view_pool"), login("view_tuningtask")
    assert "pool-gpus" in more.get(NOW).content.decode()
    assert "pool-gpus" not in less.get(NOW).content.decode()


# ── what is shown ───────────────────────────────────────────────────────────────────────────


def test_it_shows_tasks_lanes_and_the_pool(
    admin_client: Client, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    TuningTask.objects.update(created_at=timezone.now() - timedelta(hours=1))
    ran(make_experiment, task)
    running = {"status": Status.BENCHMARKING, "finished_at": None, "feasible": None}
    ran(make_experiment, task, **running, benchmarking_at=timezone.now(), gpu_uuids=["sim-alpha-2"])
    gpu_pool().quarantine("sim-alpha-3", "fan noise")
    gpu_pool().acquire("notebook", gpus=9)
    shown = page(admin_client)
    for text in (
        *('aria-label="1 of 5 experiments ended"', "5 tok/s", "about ", "1 succeeded, 0 failed"),
        *("GPU 1 of alpha, sim-alpha-1: 1 experiment", "task #2: BENCHMARKING", "at-now"),
        *("fan noise", "quarantined", "notebook", "9 GPUs of one node", " s ago"),
    ):
        assert text in shown, text


def test_an_empty_service_says_what_to_do_next(admin_client: Client) -> None:
    gpu_pool().withdraw_node("alpha")
    shown = page(admin_client)
    for text in ("No task yet.", "manage.py tune", "manage.py worker", "Nobody waits."):
        assert text in shown, text


def test_names_are_escaped(
    admin_client: Client, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    TuningTask.objects.update(name=SCRIPT, model=SCRIPT)
    ran(make_experiment, task, node=SCRIPT, gpu_uuids=[SCRIPT])
    gpu_pool().acquire(SCRIPT, gpus=9)
    assert SCRIPT not in page(admin_client) and SCRIPT not in page(admin_client, NOW)


def test_without_redis_it_says_so_and_everything_else_stays(
    admin_client: Client,
    make_task: MakeTask,
    make_experiment: Make,
    settings: Any,
    tmp_path: Path,
) -> None:
    ran(make_experiment, make_task())
    settings.REDIS_URL = f"unix://{tmp_path / 'nothing.sock'}"
    gpu_pool.cache_clear()
    shown = page(admin_client)
    assert "Redis does not answer." in shown
    assert "1 of 5 experiments ended" in shown and "sim-alpha-1 of alpha: 1 experiment" in shown


# ── what moves, and what it costs ───────────────────────────────────────────────────────────


def test_a_page_gets_only_what_is_not_as_it_has_it(
    login: Login, make_task: MakeTask, make_experiment: Make
) -> None:
    client, task = login("view_tuningtask"), make_task(TaskStatus.PAUSED)
    has = ",".join(part.digest for part in dashboard.parts(user_of(client)).values())
    assert "dashboard-tasks" not in client.get(NOW, {"seen": has}).content.decode()
    make_experiment(task, status=Status.CANCELLED)
    changed = page(client, NOW, seen=has)
    assert 'aria-label="1 of 5 experiments ended"' in changed
    assert "<html" not in changed and 'id="dashboard-seen"' in changed


def user_of(client: Client) -> User:
    return User.objects.get(pk=client.session["_auth_user_id"])


def test_many_viewers_within_a_second_cost_one_rendering(
    login: Login, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "FRESH", 60.0)
    make_task()
    users = [user_of(login("view_tuningtask", "view_pool")) for _ in range(3)]
    drawn = [dashboard.parts(user) for user in users]
    assert drawn[0] is drawn[1] is drawn[2]


def test_while_nothing_happens_only_the_pool_is_drawn_anew_and_a_move_is_seen_at_once(
    login: Login, make_task: MakeTask, make_experiment: Make, lease: Lease, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dashboard, "FRESH", 0.0)
    monkeypatch.setattr(dashboard, "SHARE", 0)
    monkeypatch.setattr(dashboard, "LONGEST", 60.0)
    one, user = make_experiment(make_task()), user_of(login("view_tuningtask", "view_pool"))
    before, again = dashboard.parts(user), dashboard.parts(user)
    assert all(before[name] is again[name] for name in dashboard.OWN)
    gpu_pool().acquire("notebook", gpus=9)
    assert "notebook" in dashboard.parts(user)["waiting"].html
    one.place(lease)
    one.start(["vllm"])
    assert "at-busy" in dashboard.parts(user)["tasks"].html


def test_the_number_of_queries_is_the_same_for_any_number_of_rows(
    admin_user: User, make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    ran(make_experiment, task)
    few = queries(admin_user)
    for number in range(4):
        TuningTask.objects.filter(pk=task.pk).update(name=f"task {number}")
        task = make_task()
        for _ in range(5):
            ran(make_experiment, task)
        lease = gpu_pool().acquire(make_experiment(task).holder)
        assert lease is not None
    assert queries(admin_user) == few + 1  # The names of those who hold GPUs


def queries(user: User) -> int:
    with CaptureQueriesContext(
        connection,
    ) as done:
        dashboard.draw(User.objects.get(pk=user.pk))
    return len(done)
