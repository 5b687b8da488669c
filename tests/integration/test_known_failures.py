"""What one task has learnt by running an engine, it and the next tasks do not run again."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from experiments import dispatch, execution, picture, reports, roles, tuning
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from gpupool import open_inventory
from tests.integration.redis_server import RedisServer, running_redis

SERVER = Path(__file__).parents[1] / "programs" / "fake_openai_server.py"
Run = Callable[..., TuningTask]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Engine:
    """A program that looks like llama-server, in a version, and is the fake server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts = path.with_suffix(".starts")
        self.be("1")

    def be(self, version: str) -> None:
        self.path.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = --version ]; then echo "version: {version}"; exit; fi\n'
            f"echo start >> {self.starts}\n"
            f'exec {sys.executable} {SERVER} "$@"\n'
        )
        self.path.chmod(0o755)

    def started(self) -> int:
        """How often since this was asked last."""
        count = len(self.starts.read_text().splitlines()) if self.starts.exists() else 0
        self.starts.unlink(missing_ok=True)
        return count


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "llama-server")


@pytest.fixture
def run(
    transactional_db: None,
    redis_server: RedisServer,
    settings: LazySettings,
    tmp_path: Path,
    engine: Engine,
) -> Iterator[Run]:
    """Runs a task to its end, one experiment after the other."""
    settings.REDIS_URL, settings.LOG_DIR = redis_server.url, tmp_path / "logs"
    settings.NODE, settings.GPUPOOL_INVENTORY = "testnode", "simulated:1"
    gpu_pool.cache_clear()
    gpu_pool().redis.flushall()
    gpu_pool().initialise()
    gpus = open_inventory("simulated:1", "testnode").gpus()

    def to_its_end(name: str, parameters: dict[str, Any], **options: Any) -> TuningTask:
        task = TuningTask(status=TaskStatus.RUNNING)
        task.describe(from_dict(task_file(name, engine, parameters, options)))
        task.save()
        while task.status == TaskStatus.RUNNING:
            # As its worker does: a node that is not heard from is given nothing
            gpu_pool().publish("testnode", gpus, 64_000)
            tuning.advance(task.pk)
            for experiment in dispatch.fill():
                execution.run(experiment.pk, experiment.lease_id)
            task.refresh_from_db()
        return task

    yield to_its_end
    gpu_pool.cache_clear()


def task_file(
    name: str, engine: Engine, parameters: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    return {
        "task_name": name,
        "base_runtime": "llamacpp",
        "engine": {"executable": str(engine.path), **options.pop("engine", {})},
        "model": {"id_or_path": "fake.gguf"},
        "parameters": parameters,
        "optimization": {
            "strategy": "grid_search",
            "objective": "maximize_throughput",
            "max_iterations": 20,
            "repeats": 0,
            **options.pop("optimization", {}),
        },
        "benchmark": {
            "num_concurrency": [1],
            "traffic_scenarios": ["D(10,5)"],
            "max_requests_per_iteration": 5,
            "max_time_per_iteration": 0.05,
            **options.pop("benchmark", {}),
        },
    }


def of(task: TuningTask) -> list[tuple[str, dict[str, Any]]]:
    rows = task.experiments.order_by("number").values_list("status", "parameters")
    return [(status, parameters) for status, parameters in rows]


BROKEN = {"tokens-per-word": ["x", 1.5], "slots": [2, 4]}


def test_a_refused_value_is_started_once_and_never_again_by_any_task(
    run: Run, engine: Engine
) -> None:
    first = run("first", BROKEN)
    assert [status for status, _ in of(first)] == ["SUCCESS", "FAILED", "SUCCESS", "SUCCESS"]
    assert engine.started() == 4 and first.vetoes.count() == 1
    ran_on = first.experiments.get(number=2).environment
    assert (ran_on["version"], ran_on["node"]) == ("version: 1", "testnode")
    assert ran_on["flags"] == {"tokens-per-word": "x", "slots": 2}

    second = run("second", {**BROKEN, "slots": [2, 8]})
    assert [status for status, _ in of(second)] == ["SUCCESS"] * 3
    assert engine.started() == 3
    same, like_it = second.vetoes.all()
    assert same.reason.startswith("failed in task first #2: argument --tokens-per-word")
    assert like_it.reason.startswith("tokens-per-word=x was refused in task first #2: ")


def test_another_version_of_the_engine_is_asked_again(run: Run, engine: Engine) -> None:
    run("old", BROKEN)
    engine.be("2")
    new = run("new", BROKEN)
    # The first proposal was made before the new version was known; then its veto was lifted
    failed = new.experiments.filter(status=Status.FAILED)
    assert failed.count() == 1 and new.vetoes.filter(state="standing").count() == 1
    assert Experiment.objects.get(task=new, number=1).fingerprint not in set(
        Experiment.objects.filter(task__name="old").values_list("fingerprint", flat=True)
    )


def test_other_fixed_flags_are_another_matter(run: Run) -> None:
    run("plain", BROKEN)
    other = run("fixed", BROKEN, engine={"arguments": {"ttft": 0.01}})
    assert other.experiments.filter(status=Status.FAILED).count() == 1


# ── measured once ───────────────────────────────────────────────────────────────────────────

SLOTS = {"slots": [2, 4]}
REUSE = {"reuse": True}


def test_the_same_measurement_is_taken_over_and_scored_anew(run: Run, engine: Engine) -> None:
    first = run("first", SLOTS)
    assert engine.started() == 3
    second = run("second", {"slots": [2, 8]}, optimization={**REUSE, "objective": "minimize_ttft"})
    assert engine.started() == 2  # The baseline, and what was not measured yet
    before, taken = first.experiments.get(number=2), second.experiments.get(number=2)
    assert taken.reused_from == before and taken.status == Status.SUCCESS
    assert taken.measured_as == f"measured as task first #2 on {before.finished_at:%Y-%m-%d}"
    assert taken.metrics["ttft_mean"] == before.metrics["ttft_mean"]
    assert taken.objective_value == pytest.approx(before.metrics["ttft_mean"])
    assert [level["label"] for level in taken.levels] == ["D(10,5) · concurrency 1"]
    assert taken.samples.count() == 1
    (move,) = taken.moves.all()
    assert (move.old, move.new, move.reason) == ("PENDING", "SUCCESS", taken.measured_as)
    shown = reports.document(second)["experiments"][1]
    assert shown["reused_from"]["task"] == first.pk and shown["node"] == ""
    assert taken.measured_as in picture.draw(second.pk, roles.Rights()).fragments["rows"]
    first.delete()
    assert second.experiments.get(number=2).measured_as == taken.measured_as


@pytest.mark.parametrize(
    "options",
    [
        {},  # Nobody has allowed it
        {"optimization": {**REUSE, "seed": 5}},
        {"optimization": REUSE, "benchmark": {"max_requests_per_iteration": 6}},
        {"optimization": REUSE, "engine": {"arguments": {"ttft": 0.01}}},
        {"optimization": REUSE, "engine": {"env": {"OMP": "2"}}},
    ],
)
def test_another_measurement_is_not_taken_over(
    run: Run, engine: Engine, options: dict[str, Any]
) -> None:
    run("first", {"slots": [2]})
    second = run("second", {"slots": [2]}, **options)
    assert engine.started() == 4 and not second.experiments.exclude(measured_as="").exists()


# ── flags without effect ────────────────────────────────────────────────────────────────────


def test_a_flag_that_the_engine_changes_is_shown_and_so_are_twins(run: Run) -> None:
    task = run("sizes", {"n-ctx": [300, 512, 600]})
    said = {one["number"]: one for one in reports.document(task)["experiments"]}
    assert said[2]["without_effect"] == ["asked n-ctx=300, runs with 512"]
    assert said[3]["without_effect"] == [] and said[3]["same_settings_as"] == [2]
    assert said[4]["effective"] == {"n-ctx": 768} and said[4]["same_settings_as"] == []
    rows = picture.draw(task.pk, roles.Rights()).fragments["rows"]
    assert "asked n-ctx=300, runs with 512" in rows and "the same settings as #2" in rows
