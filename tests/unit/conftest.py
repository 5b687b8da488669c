"""Rows in the states where stories start."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from autotuner_site.celery import app
from experiments import pareto
from experiments.form_places import PLACES
from experiments.forms import TaskForm
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from gpupool import Lease, open_inventory
from tests.integration.redis_server import RedisServer, running_redis

SPECIFICATION: dict[str, Any] = {
    "task_name": "task",
    "base_runtime": "vllm",
    "model": {"id_or_path": "/models/m"},
    "parameters": {"max-num-seqs": [1, 2, 4], "enable-prefix-caching": [True, False]},
    "optimization": {
        "strategy": "grid_search",
        "objective": "maximize_throughput",
        "max_iterations": 5,
        "repeats": 0,
        "max_parallel_experiments": 2,
    },
}


@pytest.fixture
def make_task(db: None) -> Callable[..., TuningTask]:
    def make(status: TaskStatus = TaskStatus.RUNNING, **optimization: Any) -> TuningTask:
        specification = {
            **SPECIFICATION,
            "optimization": {**SPECIFICATION["optimization"], **optimization},
        }
        task = TuningTask(status=status)
        task.describe(from_dict(specification))
        task.save()
        return task

    return make


@pytest.fixture
def make_experiment(make_task: Callable[..., TuningTask]) -> Callable[..., Experiment]:
    def make(task: TuningTask | None = None, **fields: Any) -> Experiment:
        task = task or make_task()
        number = task.experiments.count() + 1
        fields.setdefault("parameters", {"max-num-seqs": number})
        if fields.get("status") in (Status.PLACED, Status.DEPLOYING, Status.BENCHMARKING):
            fields.setdefault("lease_id", f"lease-{number}")
        return Experiment.objects.create(task=task, number=number, **fields)

    return make


TWO = ["maximize_throughput", "minimize_ttft_p90"]


def measured(
    make: Callable[..., Experiment], task: TuningTask, *values: float, **fields: Any
) -> Experiment:
    """A finished experiment of a task with several objectives, as a worker writes it."""
    done: dict[str, Any] = {
        "status": Status.SUCCESS,
        "feasible": True,
        "objective_values": list(values),
        "objective_score": pareto.together(values, task.objectives),
        "penalty": 0.0,
    }
    return make(task, **{**done, **fields})


@pytest.fixture
def task_with_a_front(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> TuningTask:
    """Throughput and TTFT: #4 and #5 are on the front, and #5 is the best; #1 is the baseline."""
    task = make_task(objective=TWO)
    measured(make_experiment, task, 100.0, 1.0, is_baseline=True, parameters={})
    measured(make_experiment, task, 900.0, 0.1, feasible=False)  # It collapses at some level
    make_experiment(task, status=Status.FAILED, feasible=False, objective_values=[950.0, 0.1])
    measured(make_experiment, task, 300.0, 1.5)  # 3 x 1 / 1.5
    measured(make_experiment, task, 150.0, 0.5)  # 1.5 x 2: the most
    measured(make_experiment, task, 140.0, 0.6)
    measured(make_experiment, task, 500.0, 0.4, pruned=True)  # An estimate
    return task


@pytest.fixture
def lease() -> Lease:
    return Lease("lease-a", 7, "holder", "group", "node-1", ("GPU-1",), 0.0, 60.0)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as server:
        yield server


@pytest.fixture
def pool(redis_server: RedisServer, settings: Any) -> Iterator[None]:
    """An open pool with one node of four GPUs."""
    settings.REDIS_URL = redis_server.url
    gpu_pool.cache_clear()
    gpu_pool().redis.flushall()
    gpu_pool().initialise()
    gpu_pool().publish("alpha", open_inventory("simulated:4", "alpha").gpus(), 64_000)
    yield
    gpu_pool.cache_clear()


# ── pages ───────────────────────────────────────────────────────────────────────────────────

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def site(db: None, settings: Any, tmp_path: Path) -> Iterator[None]:
    """Logs of this test's own; nothing that takes long for nothing."""
    quick = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
    patient, app.conf.broker_transport_options = app.conf.broker_transport_options, quick
    settings.LOG_DIR = tmp_path / "logs"
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    yield
    app.conf.broker_transport_options = patient


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """A logged-in member of the staff with these permissions."""

    def make(*permissions: str, is_staff: bool = True) -> Client:
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=is_staff)
        for permission in permissions:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        client = Client()
        client.force_login(user)
        return client

    return make


def url(name: str, *arguments: object) -> str:
    """The address of a page of tasks, experiments or the audit."""
    return reverse(f"admin:experiments_{name}", args=arguments)


def succeeded(**fields: Any) -> dict[str, Any]:
    """The fields of an experiment that has ended well, just now."""
    now = timezone.now()
    done = {"status": Status.SUCCESS, "feasible": True, "started_at": now, "finished_at": now}
    return {**done, **fields}


def typed(**changes: str) -> dict[str, str]:
    """A new task as a browser posts it."""
    form = TaskForm()
    shown = {name: form[name].value() for name in PLACES}
    texts = {name: "" if value is None else str(value) for name, value in shown.items()}
    small = {"name": "new", "model": "/models/x", "search_space": "max-num-seqs: 4, 8"}
    return {**texts, **small, **changes}
