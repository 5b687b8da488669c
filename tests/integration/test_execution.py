"""One attempt, run in this process on what misbehaves: real programs, a real pool, a real disk."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError

from experiments import dispatch, execution, exports, findings, measuring
from experiments.execution import Attempt
from experiments.log_files import LOG_CAP
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.states import FailureKind, Status, TaskStatus
from experiments.taskfile import from_dict
from gpupool import open_inventory
from tests.integration.redis_server import RedisServer, running_redis

PROGRAMS = Path(__file__).parents[1] / "programs"
SERVER = [sys.executable, str(PROGRAMS / "fake_openai_server.py"), "--port", "{port}"]
SERVE = f"exec {sys.executable} {PROGRAMS / 'fake_openai_server.py'} --port $PORT"

# A tenth may be slower; several end at once, so that it is not always the 7th that is seen
TOO_SLOW = re.compile(r"latency_p90: (7|8|9|1\d) of at most 60 requests took longer")

Make = Callable[..., Experiment]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def placed(
    transactional_db: None, redis_server: RedisServer, settings: LazySettings, tmp_path: Path
) -> Iterator[Make]:
    """Makes an experiment on an engine, with a lease, that waits for its worker."""
    settings.REDIS_URL, settings.LOG_DIR = redis_server.url, tmp_path / "logs"
    settings.GPUPOOL_LEASE_TTL = 6
    gpu_pool.cache_clear()
    gpu_pool().redis.flushall()
    gpu_pool().initialise()
    gpu_pool().publish("testnode", open_inventory("simulated:4", "testnode").gpus(), 64_000)

    def make(
        command: list[str], benchmark: Any = None, slo: Any = None, **optimization: Any
    ) -> Experiment:
        file: dict[str, Any] = {
            "task_name": "task",
            "base_runtime": "custom",
            "model": {"id_or_path": "fake"},
            "command": command,
            "parameters": {"env.X": [1]},
            "optimization": {"objective": "maximize_throughput", **optimization},
            "benchmark": {
                "num_concurrency": [1, 2],
                "traffic_scenarios": ["D(10,5)"],
                "max_requests_per_iteration": 10,
                "max_time_per_iteration": 0.05,
                **(benchmark or {}),
            },
            **({"slo": slo} if slo else {}),
        }
        if "rate_search" in file["benchmark"]:
            del file["benchmark"]["num_concurrency"]
        task = TuningTask(status=TaskStatus.RUNNING)
        task.describe(from_dict(file))
        task.save()
        experiment = Experiment.objects.create(task=task, number=1, parameters={"env.X": 1})
        assert dispatch.request(experiment)
        return experiment

    yield make
    gpu_pool.cache_clear()


def run(experiment: Experiment) -> Experiment:
    """One attempt, to its end; its lease is given back, and nothing of it is left."""
    done = execution.run(experiment.pk, experiment.lease_id)
    assert gpu_pool().leases() == []
    written = Experiment.objects.get(pk=experiment.pk)
    assert (written.status, written.error_message) == (done.status, done.error_message)
    return written


def last_reason(experiment: Experiment) -> str:
    return list(experiment.moves.all())[-1].reason


def shell(script: str) -> list[str]:
    return ["sh", "-c", script.replace("{", "{{").replace("}", "}}")]


# ── engines that misbehave ──────────────────────────────────────────────────────────────────


def test_each_load_level_says_how_long_it_took(placed: Make) -> None:
    done = run(placed(SERVER))
    assert done.status == Status.SUCCESS
    assert all(0 < level["seconds"] < 10 for level in done.levels) and len(done.levels) == 2


def test_each_load_level_keeps_what_its_requests_took(placed: Make) -> None:
    done = run(placed(SERVER))
    one, two = done.samples.all()
    assert [one.level, two.level] == [level["label"] for level in done.levels]
    assert one.data["output_tokens"] == [5] * 10 and len(one.data["ttft"]) == 10
    errors = done.levels[0]["standard_errors"]
    assert 0 < errors["output_throughput"] < 1 and 0 < errors["latency_p90"] < 1
    [exported] = json.loads(exports.as_json_with_samples(done.task))["experiments"]
    assert [level["ttft"] for level in exported["samples"]] == [one.data["ttft"], two.data["ttft"]]


def test_a_level_during_which_a_neighbour_starts_is_disturbed_and_measured_again(
    placed: Make,
) -> None:
    mine = placed(SERVER)
    there = {"status": Status.DEPLOYING, "node": "testnode", "lease_id": "another"}
    Experiment.objects.create(
        task=mine.task, number=2, parameters={}, started_at=mine.created_at, **there
    )
    done = run(mine)
    for level in done.levels:
        assert level["neighbours"] == level["superseded"]["neighbours"]
        assert level["neighbours"] == {"steady": 0, "starting": 1} and level["disturbed"]
    assert [one.superseded for one in done.samples.all()] == [False, True, False, True]
    assert (done.folder / "level-2-again.json").exists()


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (["sleep", "600"], []),  # Never listens, never says a word
        ([*SERVER, "--mute"], ["listening"]),  # Accepts, and never answers
    ],
)
def test_an_engine_that_is_never_healthy_ends_at_its_start_limit(
    placed: Make, engine: list[str], said: list[str]
) -> None:
    failed = run(placed(engine, timeout_start=2))
    assert failed.error_kind == FailureKind.START_TIMEOUT
    assert failed.error_message == "not healthy after 2 s (timeout_start)"
    assert (failed.error_where, failed.reached, failed.error_may_pass) == ("start", 0.0, False)
    assert [line.split()[0] for line in failed.error_lines.splitlines()] == said


def test_without_a_start_limit_the_whole_experiments_limit_names_its_field(placed: Make) -> None:
    failed = run(placed(["sleep", "600"], timeout_per_iteration=1))
    assert failed.error_kind == FailureKind.START_TIMEOUT
    assert failed.error_message == "not healthy after 1 s (timeout_per_iteration)"


def test_an_engine_that_hangs_under_load_is_found_at_its_level(placed: Make) -> None:
    failed = run(placed([*SERVER, "--hang-after", "20"]))
    assert failed.error_kind == FailureKind.BENCHMARK_ERRORS
    assert failed.error_where == "level 2 of 2: D(10,5) · concurrency 2"
    assert failed.reached == pytest.approx(2 / 3)


def test_an_engine_that_forks_away_has_ended(placed: Make) -> None:
    failed = run(placed(shell(f"echo going away; ({SERVE}) & exit 0")))
    assert failed.error_kind == FailureKind.ENGINE_CRASHED
    assert failed.error_message == "ended with exit code 0: going away"


def test_an_engine_that_ignores_sigterm_is_gone_within_seconds(placed: Make) -> None:
    stubborn = [sys.executable, str(PROGRAMS / "stubborn_server.py"), "{port}", "2"]
    began = time.monotonic()
    failed = run(placed(stubborn, timeout_start=1))
    assert failed.error_kind == FailureKind.START_TIMEOUT
    assert time.monotonic() - began < 1 + measuring.STOP_GRACE + 10


def test_a_log_that_is_flooded_has_a_cap_and_the_cause_is_found(placed: Make) -> None:
    flood = "head -c 45000000 /dev/zero | tr '\\0' '\\n'"
    noise = "yes INFO 11-23 22:29:57 [a.py:1] noise | head -c 300000"
    script = f"{flood}; sleep 3; {flood}; echo 'ValueError: no layer 7'; {noise}; exit 3"
    failed = run(placed(shell(script)))
    assert failed.error_message == "ValueError: no layer 7"
    [log, before] = sorted(failed.folder.parent.glob("1-1/engine.log*"))
    assert log.stat().st_size <= LOG_CAP and before.stat().st_size <= LOG_CAP


# ── what has lost ends early ────────────────────────────────────────────────────────────────

BY_X = shell(f"{SERVE} --ttft 0.0$X")  # The parameter is how slow it is


def place_next(before: Experiment, x: int) -> Experiment:
    """The next experiment of the same task, with a lease."""
    number = before.number + 1
    after = Experiment.objects.create(task=before.task, number=number, parameters={"env.X": x})
    assert dispatch.request(after)
    return after


def test_what_loses_where_the_best_stands_is_pruned_and_never_wins(placed: Make) -> None:
    best = run(placed(BY_X))
    lost = run(place_next(best, 9))
    assert best.status == lost.status == Status.SUCCESS
    # Where the best stands is where it is fastest, 2 at once unless the machine is very busy
    stands = max(best.levels, key=lambda level: level["metrics"]["output_throughput"])["label"]
    assert [level["label"] for level in lost.levels] == [stands]
    assert lost.pruned and "below #1 (margin" in lost.pruned_why
    assert lost.feasible and lost.objective_score < best.objective_score
    assert [one.level for one in lost.samples.all()] == [stands]
    assert findings.best_of(best.task, [best, lost]) == best
    assert findings.best_of(best.task, [lost]) is None


def test_a_level_that_cannot_reach_what_is_needed_is_not_measured_to_its_end(
    placed: Make,
) -> None:
    best = run(placed(BY_X, {"max_requests_per_iteration": 60}))
    lost = run(place_next(best, 9))
    [level] = lost.levels
    assert lost.pruned and level["stopped_early"] in lost.pruned_why
    assert "output_throughput is at most" in level["stopped_early"]
    assert 10 <= level["metrics"]["completed"] < 60 and level["metrics"]["errors"] == 0


def test_without_pruning_it_is_measured_everywhere(placed: Make) -> None:
    best = run(placed(BY_X, pruning=False))
    slow = run(place_next(best, 9))
    assert len(slow.levels) == 2 and not slow.pruned
    assert not any(level["stopped_early"] for level in slow.levels)


def test_a_server_that_collapses_misses_that_level_in_seconds_and_holds_below(
    placed: Make,
) -> None:
    slo = {"latency": {"p90": {"threshold": 0.5, "hard_fail": True}}}
    load = {"num_concurrency": [1, 4], "max_requests_per_iteration": 60}
    done = run(placed([*SERVER, "--collapse-above", "1"], load, slo))
    light, heavy = done.levels
    assert (done.status, done.feasible, done.holds_at) == (Status.SUCCESS, False, light["label"])
    assert light["stopped_early"] == "" and light["metrics"]["completed"] == 60
    assert TOO_SLOW.match(heavy["stopped_early"])
    assert not heavy["feasible"] and heavy["metrics"]["completed"] < 60
    assert findings.best_of(done.task, [done]) is None


def test_a_server_that_answers_errors_quickly_never_wins(placed: Make) -> None:
    """Not by its throughput, not by its latency, and it is left within a few answers."""
    load = {"max_requests_per_iteration": 60}
    done = run(placed([*SERVER, "--error-rate", "0.3"], load))
    assert (done.status, done.feasible) == (Status.SUCCESS, False)
    assert all("requests failed" in level["stopped_early"] for level in done.levels)


def test_the_highest_rate_that_keeps_the_objectives_is_found_on_one_server(placed: Make) -> None:
    """Two slots of 50 ms each hold 40 requests per second."""
    search = {"low": 8, "high": 256, "tolerance": 1.0}
    load = {"rate_search": search, "arrival": "constant", "max_requests_per_iteration": 60}
    slo = {"latency": {"p90": {"threshold": 0.3}}}
    server = [*SERVER, "--slots", "2", "--ttft", "0.05"]
    done = run(placed(server, load, slo, objective="maximize_goodput"))
    assert done.status == Status.SUCCESS and done.feasible
    assert 8 <= done.objective_score <= 64 and done.metrics["goodput"] == done.objective_score
    assert [level["feasible"] for level in done.levels][-2:] == [True, False]
    assert TOO_SLOW.match(done.levels[-1]["stopped_early"])
    assert done.holds_at == done.levels[-2]["label"]
    assert done.levels[0]["metrics"]["goodput"] == pytest.approx(8, rel=0.2)


# ── load generators that misbehave ──────────────────────────────────────────────────────────


@pytest.fixture
def bench(settings: LazySettings, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Makes the program that `vllm bench serve` is here; what the task file says of it."""

    def make(script: str) -> dict[str, Any]:
        program = tmp_path / "vllm"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        settings.ENGINE_EXECUTABLES = {"vllm": str(program)}
        return {"generator": "vllm_bench", "num_concurrency": [1]}

    return make


def test_a_load_generator_that_hangs_is_ended(
    placed: Make, bench: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "LEVEL_GRACE", 1.0)
    slow = bench("trap '' TERM; sleep 600")
    failed = run(placed(SERVER, {**slow, "max_time_per_iteration": 0.01}))
    assert failed.error_kind == FailureKind.TIMEOUT
    assert "not measured after 2.2 s, twice its max_time_per_iteration" in failed.error_message
    assert failed.error_where == "level 1 of 1: D(10,5) · concurrency 1"


def test_a_load_generator_that_floods_its_log_has_the_same_cap(
    placed: Make, bench: Callable[[str], dict[str, Any]]
) -> None:
    flood = bench("head -c 45000000 /dev/zero | tr '\\0' '\\n'; echo the last words; exit 1")
    failed = run(placed(SERVER, flood))
    assert failed.error_message.endswith("ended with exit code 1: the last words")
    logs = {log.name: log.stat().st_size for log in failed.folder.parent.glob("1-1/level-1.log*")}
    assert logs.keys() == {"level-1.log", "level-1.log.1"} and max(logs.values()) <= LOG_CAP


def test_a_load_generator_that_fails_shows_its_own_lines(
    placed: Make, bench: Callable[[str], dict[str, Any]]
) -> None:
    broken = bench("echo loading; echo 'ValueError: no tokenizer'; exit 1")
    failed = run(placed(SERVER, broken))
    assert failed.error_kind == FailureKind.BENCHMARK_ERRORS and not failed.error_may_pass
    assert failed.error_message.endswith("the load generator failed: ValueError: no tokenizer")
    assert failed.error_lines.splitlines() == ["loading", "ValueError: no tokenizer"]


# ── what may pass ───────────────────────────────────────────────────────────────────────────


def test_what_may_pass_waits_a_little_and_asks_for_gpus_again(
    placed: Make, bench: Callable[[str], dict[str, Any]]
) -> None:
    hub = bench("echo 'HfHubHTTPError: 503 Server Error: Service Unavailable'; exit 1")
    again = run(placed(SERVER, hub))
    assert (again.status, again.attempt) == (Status.PENDING, 2)
    reason = last_reason(again)
    assert reason.startswith("benchmark_errors: D(10,5)")
    assert reason.endswith(
        "503 Server Error: Service Unavailable; it may pass, tried again after 5 s"
    )
    assert dispatch.waiting() == []
    Experiment.objects.update(queued_at=again.queued_at - execution.RETRY_AFTER)
    assert dispatch.waiting() == [again]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 20)])
def test_the_pause_grows(placed: Make, attempt: int, seconds: int) -> None:
    taken = placed(shell("echo 'OSError: [Errno 98] Address already in use'; exit 1"))
    Experiment.objects.update(attempt=attempt)
    again = run(taken)
    assert (again.status, again.attempt) == (Status.PENDING, attempt + 1)
    assert last_reason(again).endswith(f"after {seconds} s")


def test_at_the_last_attempt_it_fails_and_is_worth_a_retry(placed: Make) -> None:
    taken = placed(shell("echo 'OSError: [Errno 98] Address already in use'; exit 1"))
    Experiment.objects.update(attempt=3)
    failed = run(taken)
    assert (failed.status, failed.error_kind) == (Status.FAILED, FailureKind.ENGINE_CRASHED)
    assert failed.error_may_pass
    assert failed.error_message.startswith("another program has its port")


def test_a_disk_that_fills_up_meanwhile_is_to_blame(placed: Make, settings: LazySettings) -> None:
    logs = settings.LOG_DIR
    logs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=110m", "tmpfs", str(logs)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        again = run(placed(shell(f"cat /dev/zero > {logs}/other; exit 1")))
    finally:
        subprocess.run(["umount", "--lazy", str(logs)], check=True)
    assert (again.status, again.attempt) == (Status.PENDING, 2)
    assert "no logs can be written (No space left on device)" in last_reason(again)


# ── a database that goes away ───────────────────────────────────────────────────────────────


@pytest.fixture
def attempt(placed: Make) -> Iterator[Attempt]:
    """One that has been claimed, with its lease kept alive."""
    experiment = placed(SERVER)
    lease = gpu_pool().find(experiment.lease_id)
    assert lease is not None
    attempt = Attempt(experiment, lease)
    attempt.claim()
    attempt.deadline = 0.0
    with gpu_pool().keep_alive(lease) as attempt.keep_alive:
        yield attempt


def test_a_move_is_tried_until_the_database_answers_and_its_time_does_not_count(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "DATABASE_RETRY", 0.1)
    refusals = iter([OperationalError("database is locked")] * 3)

    def begin() -> None:
        for refusal in refusals:
            raise refusal
        attempt.experiment.begin_benchmark()

    attempt.move(begin)
    assert Experiment.objects.get().status == Status.BENCHMARKING
    assert 0.3 <= attempt.deadline < 5


def test_a_move_that_was_made_before_the_connection_broke_is_not_made_twice(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "DATABASE_RETRY", 0.1)
    made = []

    def begin() -> None:
        made.append(Experiment.objects.select_related("task").get().begin_benchmark())
        raise OperationalError("the connection is lost")

    attempt.move(begin)
    assert len(made) == 1
    assert attempt.experiment.status == Status.BENCHMARKING
    attempt.move(attempt.experiment.succeed, objective_score=7.0)
    assert Experiment.objects.get().objective_score == 7.0


def test_who_has_lost_the_lease_meanwhile_writes_nothing(attempt: Attempt) -> None:
    gpu_pool().release(attempt.lease.id)
    give_up = time.monotonic() + 10
    while not attempt.keep_alive.lost:
        assert time.monotonic() < give_up
        time.sleep(0.05)

    def begin() -> None:
        raise OperationalError("database is locked")

    with pytest.raises(OperationalError):
        attempt.move(begin)


def test_a_lease_that_ended_before_the_engine_was_started_costs_no_attempt(
    attempt: Attempt,
) -> None:
    gpu_pool().release(attempt.lease.id)
    give_up = time.monotonic() + 10
    while not attempt.keep_alive.lost:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    attempt.to_the_end(attempt.keep_alive)
    waits = Experiment.objects.get()
    assert (waits.status, waits.attempt) == (Status.PENDING, 1)


@pytest.fixture
def stopped_politely() -> Iterator[None]:
    """As Celery does it in a worker process, a second from now; the row was just moved."""

    def stop(*_: object) -> None:
        Experiment.objects.get().requeue("its lease ended while it was DEPLOYING")
        raise SystemExit(0)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_who_is_asked_to_stop_does_so_whoever_has_moved_its_row(
    placed: Make, stopped_politely: None
) -> None:
    with pytest.raises(SystemExit):
        run(placed(["sleep", "600"]))
    assert Experiment.objects.get().status == Status.PENDING
    assert gpu_pool().leases() == []
