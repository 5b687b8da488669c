"""A search from its file to its winner, on the whole product."""

import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from experiments.states import MOVES, Status
from tests.integration.product import MANAGE, PROGRAMS, Product, job, until

SPEED = """echo '{"speed": '$AUTOTUNER_X'}'"""
DIARY = (
    "echo start $AUTOTUNER_GPUS $(date +%s.%N) >> DIARY; sleep 0.5; "
    "echo end $AUTOTUNER_GPUS $(date +%s.%N) >> DIARY; " + SPEED
)


def statuses(task: Any) -> dict[Any, str]:
    return {one["parameters"].get("x"): one["status"] for one in task["experiments"]}


def diary_of(path: Path) -> list[tuple[float, str, str]]:
    lines = [line.split() for line in path.read_text().splitlines()]
    return sorted((float(at), gpu, what) for what, gpu, at in lines)


def test_a_task_file_becomes_a_winner(product: Product) -> None:
    task = product.finished(job("winner", SPEED, [3, 9, 4], max_parallel_experiments=2))
    assert task["status"] == "COMPLETED"
    assert task["best"]["parameters"] == {"x": 9}
    assert task["best"]["objective_score"] == 9
    assert "AUTOTUNER_X=9" in task["best"]["command"]
    assert all(one["gpus"] and one["node"] == "testnode" for one in task["experiments"])


def test_what_is_forbidden_is_not_run_and_what_is_absent_is_not_told(product: Product) -> None:
    script = 'echo "{\\"speed\\": $(( AUTOTUNER_X * 10 + ${AUTOTUNER_DEPTH:-0} + ${Y:-0} ))}"'
    file = job("dependent", script, [1, 2, 3], max_iterations=20, max_parallel_experiments=2)
    file["parameters"] |= {
        "depth": {"type": "integer", "low": 1, "high": 4, "when": {"x": [2, 3]}},
        "env.Y": {"type": "categorical", "values": [0, 5], "when": {"depth": 4}},
    }
    file["constraints"] = ["x + depth <= 6", "env.Y < 5 or x < 2"]
    task = product.finished(file)
    run = [(one["parameters"], one["objective_score"]) for one in task["experiments"]]
    expected = [({"x": 1}, 10.0)]
    for x, depths in ((2, 4), (3, 3)):
        for depth in range(1, depths + 1):
            more = {"env.Y": 0} if depth == 4 else {}
            expected.append(({"x": x, "depth": depth, **more}, 10.0 * x + depth))
    assert run == expected
    assert task["best"]["parameters"] == {"x": 3, "depth": 3}
    assert "AUTOTUNER_DEPTH=3" in task["best"]["command"] and " Y=" not in task["best"]["command"]


def test_every_recorded_move_is_a_legal_one_and_in_order(product: Product) -> None:
    task = product.finished(job("moves", SPEED, [1, 2, 3], max_parallel_experiments=3))
    for one in task["experiments"]:
        moves = one["moves"]
        assert [move["to"] for move in moves] == ["PLACED", "DEPLOYING", "BENCHMARKING", "SUCCESS"]
        for move in moves:
            assert Status(move["to"]) in MOVES[Status(move["from"])]
        times = [datetime.fromisoformat(move["at"]) for move in moves]
        assert times == sorted(times)


def test_never_more_at_once_than_allowed_and_never_two_on_one_gpu(product: Product) -> None:
    diary = product.folder / "diary"
    script = DIARY.replace("DIARY", str(diary))
    first = job("at-most-3", script, list(range(9)), max_parallel_experiments=3)
    second = job("beside", script, list(range(6)), max_parallel_experiments=2)
    product.tune(second)
    task = product.finished(first)
    until(lambda: product.json("show", "beside")["status"] == "COMPLETED", 60)

    # What the programs saw
    busy: set[str] = set()
    most = 0
    for _, gpu, what in diary_of(diary):
        if what == "start":
            assert gpu not in busy, "two experiments on one GPU"
            busy.add(gpu)
        else:
            busy.remove(gpu)
        most = max(most, len(busy))
    assert 3 <= most <= 4
    # What the moves say
    changes = sorted(
        (move["at"], 1 if move["to"] == "PLACED" else -1)
        for one in task["experiments"]
        for move in one["moves"]
        if move["to"] in ("PLACED", "SUCCESS")
    )
    now = 0
    for _, change in changes:
        now += change
        assert now <= 3


def test_a_crash_a_hang_and_a_lie_touch_no_other_experiment(product: Product) -> None:
    script = (
        "case $AUTOTUNER_X in 1) echo about to crash >&2; exit 3;; 2) sleep 100 & sleep 100;; "
        '3) echo "no numbers";; 4) echo \'{"speed": NaN}\';; *) sleep 1; ' + SPEED + ";; esac"
    )
    task = product.finished(
        job(
            "faults",
            script,
            [1, 2, 3, 4, 5, 6],
            max_parallel_experiments=4,
            timeout_per_iteration=4,
        )
    )
    assert task["status"] == "COMPLETED"
    assert task["best"]["parameters"] == {"x": 6}
    found = {one["parameters"]["x"]: one["error"] for one in task["experiments"]}
    assert found[1]["kind"] == "engine_crashed" and "about to crash" in found[1]["message"]
    assert found[2]["kind"] == "timeout" and "timeout_per_iteration" in found[2]["message"]
    assert found[3]["kind"] == "benchmark_errors" and "speed" in found[3]["message"]
    assert found[4]["kind"] == "benchmark_errors"
    assert found[5] is None and found[6] is None
    # Its children are gone as well
    assert not [p for p in product.processes() if p.cmdline()[:1] == ["sleep"]]


def test_a_task_in_which_nothing_works_has_failed_and_says_so(product: Product) -> None:
    done = product.tune(job("hopeless", "exit 1", [1, 2]), "--wait", check=False)
    assert done.returncode == 1
    assert "no configuration won" in done.stdout


def test_cancel_stops_engines_within_5_s_and_frees_their_gpus(product: Product) -> None:
    task = job("cancelled", "sleep 1000 & sleep 1000", [1, 2, 3], max_parallel_experiments=2)
    product.tune(task)
    running = {"DEPLOYING", "BENCHMARKING"}
    until(
        lambda: (
            sum(
                one["status"] in running for one in product.json("show", "cancelled")["experiments"]
            )
            == 2
        ),
        30,
    )
    product.manage("cancel", "cancelled")
    asked = time.monotonic()
    until(lambda: not [p for p in product.processes() if p.cmdline()[:1] == ["sleep"]], 20)
    took = time.monotonic() - asked
    assert took < 6, took  # The promise is 5 s; one more for this loop
    until(lambda: not product.json("gpus")["leases"], 10)
    shown = product.json("show", "cancelled")
    assert shown["status"] == "CANCELLED"
    assert set(statuses(shown).values()) == {"CANCELLED"}
    again = product.manage("cancel", "cancelled", check=False)
    assert again.returncode == 0 and "cancelled already" in again.stdout


@pytest.fixture(scope="module")
def served(product: Product) -> Any:
    """A finished search over a server whose speed the search space decides."""
    server = str(PROGRAMS / "fake_openai_server.py")
    return product.finished(
        {
            "task_name": "served",
            "base_runtime": "custom",
            "model": {"id_or_path": "fake"},
            "command": [
                *(sys.executable, server, "--port", "{port}"),
                *("--tpot", "{tpot}", "--error-rate", "{errors}"),
            ],
            "parameters": {"tpot": [0.002, 0.03], "errors": [0.0, 0.5]},
            "optimization": {
                "strategy": "grid_search",
                "objective": "maximize_throughput",
                "max_iterations": 5,
                "max_parallel_experiments": 2,
            },
            "benchmark": {
                "traffic_scenarios": ["D(16,8)"],
                "num_concurrency": [1, 2],
                "max_requests_per_iteration": 10,
                "warmup_requests": 2,
            },
        }
    )


def test_the_first_experiment_is_the_baseline(served: Any) -> None:
    first = served["experiments"][0]
    assert first["is_baseline"] and first["parameters"] == {}
    assert "--tpot" not in first["command"]
    assert first["status"] == "SUCCESS" and served["baseline"]["number"] == 1


def test_a_server_is_measured_at_every_level_and_the_faster_one_wins(served: Any) -> None:
    assert served["status"] == "COMPLETED"
    by_parameters = {
        (one["parameters"].get("tpot"), one["parameters"].get("errors")): one
        for one in served["experiments"]
    }
    fast, slow = by_parameters[0.002, 0.0], by_parameters[0.03, 0.0]
    assert fast["objective_score"] > 2 * slow["objective_score"]
    assert [level["label"] for level in fast["levels"]] == [
        "D(16,8) · concurrency 1",
        "D(16,8) · concurrency 2",
    ]
    assert slow["metrics"]["tpot_p50"] == pytest.approx(0.03, rel=0.5)
    assert served["best"]["number"] != slow["number"]


def test_a_server_that_answers_errors_never_wins(served: Any) -> None:
    for one in served["experiments"]:
        if one["parameters"].get("errors") == 0.5:
            assert not one["feasible"]
    assert served["best"]["parameters"].get("errors") != 0.5


def test_results_can_be_exported(product: Product, served: Any) -> None:
    rows = product.manage("export", "served", "--format", "csv").stdout.splitlines()
    assert rows[0].startswith("number,repeat_of,attempt,status") and len(rows) == 6
    assert "Winner" in product.manage("export", "served", "--format", "markdown").stdout
    command = product.manage("export", "served", "--format", "command").stdout
    assert command.startswith(sys.executable) and "--port 8000" in command
    document = product.manage("export", "served", "--format", "yaml").stdout
    assert "task_name: served" in document


def test_a_reader_that_has_read_enough_is_no_error(product: Product, served: Any) -> None:
    showing = subprocess.Popen(
        [*MANAGE, "show", "served"],
        env=product.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert showing.stdout is not None
    showing.stdout.close()  # As `… | head` does
    assert showing.communicate()[1] == "" and showing.returncode == 128 + signal.SIGPIPE


def test_bad_input_is_one_line_and_exit_code_2(product: Product) -> None:
    bad = job("bad", SPEED, [1], max_parallel_experiments=5)
    done = product.tune(bad, check=False)
    assert done.returncode == 2
    message = done.stderr.strip()
    assert len(message.splitlines()) == 1
    assert "max_parallel_experiments" in message and "8" in message and "4" in message
    bad["optimization"]["objective"] = "speed"
    assert "optimization.objective" in product.tune(bad, check=False).stderr
    assert not [task for task in product.json("tasks")["tasks"] if task["name"] == "bad"]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(product: Product) -> None:
    plan = product.tune(job("dry", SPEED, [1, 2, 3], max_parallel_experiments=2), "--dry-run")
    for words in ("combinations    3", "2 at once", "1 for each experiment", "AUTOTUNER_X=1"):
        assert words in plan.stdout
    assert product.manage("show", "dry", check=False).returncode == 2


def test_the_doctor_finds_database_mode_and_redis(product: Product) -> None:
    found = {check["name"]: check for check in product.json("doctor")["checks"]}
    for words in ("journal_mode=wal", "busy_timeout=30 s", "synchronous=full", "immediate"):
        assert words in found["database"]["says"]
    assert found["redis"]["ok"] and found["pool"]["ok"]
