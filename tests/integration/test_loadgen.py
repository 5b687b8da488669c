"""Our load generator in its own process, against a server that does what it is told."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks.autotuner import Autotuner
from experiments.benchmarks.base import Level, Load, Metrics, Pace, StopWhen
from experiments.errors import ExperimentFailed
from experiments.states import FailureKind

SERVER = Path(__file__).parents[1] / "programs" / "fake_openai_server.py"


@contextmanager
def server(*arguments: str) -> Iterator[str]:
    """The URL of a fake server that ends with the block."""
    argv = [sys.executable, str(SERVER), *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().split()[-1]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


class Measurement:
    """Runs the load generator once, from a folder of no meaning, and keeps its report."""

    def __init__(self, folder: Path, url: str, level: Level, **changes: Any) -> None:
        settings: dict[str, Any] = {
            "max_requests": 20,
            "max_seconds": 30.0,
            "warmup_requests": 2,
            "arrival": "constant",
            "seed": 1,
            **changes,
        }
        load = Load(url=url, model="fake", model_path="", level=level, **settings)
        self.path = folder / "report.json"
        argv = Autotuner().argv(load, self.path)
        subprocess.run(argv, check=True, cwd=folder, env={}, timeout=60)
        self.report: dict[str, Any] = json.loads(self.path.read_text())

        self.metrics: Metrics = self.report["metrics"]

    def read(self) -> Metrics:
        """As an experiment reads it, which a busy machine can make invalid."""
        return Autotuner().read(self.path).metrics


def most_in_flight(url: str) -> int:
    with urllib.request.urlopen(f"{url}/health") as answer:
        return int(json.load(answer)["most_in_flight"])


def test_a_closed_loop_keeps_its_concurrency_and_measures_what_the_server_does(
    tmp_path: Path,
) -> None:
    with server("--ttft=0.1", "--tpot=0.01", "--tokens-per-word=1.25") as url:
        measured = Measurement(tmp_path, url, Level("D(100,11)", concurrency=4))
        assert most_in_flight(url) == 4
    metrics = measured.metrics
    assert (metrics["requests"], metrics["completed"], metrics["errors"]) == (20, 20, 0)
    assert metrics["output_tokens"] == 220
    assert metrics["input_tokens"] == pytest.approx(2000, rel=0.02)
    assert 0.1 <= metrics["ttft_p50"] < 0.5
    assert 0.01 <= metrics["tpot_p50"] < 0.05
    assert 0.005 <= metrics["itl_p50"] < 0.05
    assert 0.2 <= metrics["latency_p50"] < 1
    assert metrics["output_throughput"] == pytest.approx(220 / metrics["duration"])
    assert 0 < metrics["cpu_share"] < 1
    assert measured.report["samples"]["output_tokens"] == [11] * 20
    assert not list(tmp_path.glob("*.part"))


def test_a_server_with_fewer_slots_makes_requests_wait_for_their_first_token(
    tmp_path: Path,
) -> None:
    with server("--ttft=0.1", "--slots=1") as url:
        metrics = Measurement(
            tmp_path, url, Level("D(10,2)", concurrency=4), max_requests=12
        ).metrics
    assert metrics["ttft_p50"] > 0.3


def test_errors_are_counted_beside_what_completed(tmp_path: Path) -> None:
    with server("--error-rate=0.25") as url:
        metrics = Measurement(
            tmp_path, url, Level("D(10,2)", concurrency=2), max_requests=40, warmup_requests=0
        ).metrics
    assert metrics["requests"] == 40
    assert metrics["errors"] == 10
    assert metrics["error_rate"] == 0.25


def test_a_stream_that_breaks_is_an_error(tmp_path: Path) -> None:
    with server("--break-streams") as url:
        measured = Measurement(tmp_path, url, Level("D(10,5)", concurrency=2), max_requests=4)
    assert measured.report["metrics"]["errors"] == 4
    with pytest.raises(ExperimentFailed, match="no request completed"):
        measured.read()


def test_an_open_loop_keeps_its_rate_whatever_the_server_does(tmp_path: Path) -> None:
    with server("--ttft=0.3") as url:
        level = Level("D(10,2)", request_rate=20.0)
        metrics = Measurement(tmp_path, url, level, max_requests=30, warmup_requests=0).metrics
        assert most_in_flight(url) >= 4
    # 29 gaps of 50 ms, and the last answer.
    assert 29 / 20 + 0.3 <= metrics["duration"] < 4
    assert metrics["completed"] == 30
    assert metrics["lateness_p99"] < 1


def test_a_hopeless_server_is_a_benchmark_error_in_its_own_words(tmp_path: Path) -> None:
    with server("--error-rate=1") as url:
        measured = Measurement(tmp_path, url, Level("D(10,2)", concurrency=2))
    with pytest.raises(ExperimentFailed, match="HTTP 500: told to fail") as caught:
        measured.read()
    assert caught.value.kind is FailureKind.BENCHMARK_ERRORS


def test_a_server_that_is_gone_is_a_benchmark_error(tmp_path: Path) -> None:
    with server() as url:
        pass
    measured = Measurement(tmp_path, url, Level("D(10,2)", concurrency=2), max_requests=4)
    with pytest.raises(ExperimentFailed, match="ClientConnectorError"):
        measured.read()


def test_the_time_stops_it_and_what_is_young_in_flight_is_no_error(tmp_path: Path) -> None:
    with server("--ttft=0.4") as url:
        level = Level("D(10,2)", concurrency=3)
        measured = Measurement(tmp_path, url, level, max_seconds=1.0, max_requests=10_000)
    metrics = measured.metrics
    assert measured.report["unfinished"] == 3
    assert (metrics["errors"], measured.report["first_error"]) == (0, "")
    assert metrics["completed"] == metrics["requests"] > 0
    assert metrics["duration"] >= 0.99


def test_a_server_that_hangs_amid_a_level_does_not_score_as_if_it_never_had(
    tmp_path: Path,
) -> None:
    with server("--ttft=0.02", "--hang-after=12") as url:
        level = Level("D(10,11)", concurrency=3)
        measured = Measurement(tmp_path, url, level, max_seconds=2.5, max_requests=10_000)
    metrics = measured.metrics
    assert measured.report["unfinished"] == metrics["errors"] == 3
    assert metrics["requests"] == metrics["completed"] + 3 > 3
    assert metrics["error_rate"] == 3 / metrics["requests"]
    assert measured.report["first_error"] == "no answer within 1 s"
    # The whole level counts, not the moments before the server hung
    assert metrics["duration"] >= 2.49
    assert metrics["output_throughput"] == pytest.approx(11 * metrics["completed"] / 2.5, rel=0.2)
    assert metrics["requests_per_second"] == metrics["completed"] / metrics["duration"]


def test_a_server_that_never_answers_is_a_benchmark_error(tmp_path: Path) -> None:
    with server("--hang-after=0") as url:
        level = Level("D(10,2)", concurrency=3)
        measured = Measurement(tmp_path, url, level, max_seconds=0.5)
    with pytest.raises(ExperimentFailed, match=r"no answer within 0\.5 s"):
        measured.read()
    assert measured.report["metrics"]["errors"] == 3


def test_fields_that_a_server_refuses_are_left_out(tmp_path: Path) -> None:
    with server("--refuse=ignore_eos", "--refuse=stream_options") as url:
        measured = Measurement(tmp_path, url, Level("D(10,3)", concurrency=2))
    assert measured.report["dropped_fields"] == ["stream_options", "ignore_eos"]
    assert measured.metrics["errors"] == 0
    assert measured.metrics["output_tokens"] == 60


def test_without_usage_tokens_are_counted_by_chunks_and_by_calibration(tmp_path: Path) -> None:
    with server("--no-usage", "--tokens-per-word=3") as url:
        measured = Measurement(tmp_path, url, Level("D(91,3)", concurrency=2))
    assert measured.metrics["output_tokens"] == 60
    assert measured.metrics["input_tokens"] == 20 * 91


def test_the_users_own_options_are_sent_with_every_request(tmp_path: Path) -> None:
    with server("--refuse=top_k") as url:
        level = Level("D(10,2)", concurrency=1)
        measured = Measurement(tmp_path, url, level, request_options={"top_k": 5}, max_requests=2)
    with pytest.raises(ExperimentFailed, match="unrecognized field: top_k"):
        measured.read()


def test_the_load_generator_loads_nothing_heavy() -> None:
    program = Path(__file__).parents[2] / "experiments" / "benchmarks" / "loadgen.py"
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print([m for m in ('django', 'celery', 'redis', 'optuna', 'numpy') if m in sys.modules])"
    )
    argv = [sys.executable, "-P", "-c", code, str(program)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "[]\n"


# ── what is hopeless ends early ─────────────────────────────────────────────────────────────


def hopeless(folder: Path, url: str, stop: StopWhen, **changes: Any) -> Measurement:
    level = changes.pop("level", Level("D(10,5)", concurrency=4))
    settings = {"max_requests": 100, "max_seconds": 60.0, "stop_when": stop, **changes}
    return Measurement(folder, url, level, **settings)


def test_a_server_that_collapses_under_its_load_is_left_in_seconds(tmp_path: Path) -> None:
    """A second for each request is 25 s for a hundred of them, four at once."""
    with server("--collapse-above=1") as url:
        stop = StopWhen(at_most={"latency_p90": 0.5})
        measured = hopeless(tmp_path, url, stop)
    assert re.match(r"latency_p90: 1\d of at most 100 requests", measured.report["stopped_early"])
    metrics = measured.read()
    assert 11 <= metrics["requests"] == metrics["completed"] < 30
    assert metrics["latency_p90"] > 1


def test_a_server_that_gets_slow_after_a_while_is_not_said_to_fail(tmp_path: Path) -> None:
    with server("--slow-after=20") as url:
        stop = StopWhen(at_least={"output_throughput": 250.0})
        measured = hopeless(tmp_path, url, stop)
    assert "needed" in measured.report["stopped_early"]
    assert measured.metrics["errors"] == 0 and measured.report["unfinished"] > 0
    assert measured.metrics["output_throughput"] < 250


def test_a_server_that_answers_errors_quickly_is_left_at_once(tmp_path: Path) -> None:
    with server("--error-rate=0.5") as url:
        measured = hopeless(tmp_path, url, StopWhen(max_error_rate=0.01))
    assert measured.report["stopped_early"].endswith("of at most 100 requests failed (limit 1.0%)")
    assert measured.metrics["requests"] < 20 and measured.metrics["error_rate"] > 0.01


def test_an_open_loop_ends_early_too_and_counts_only_what_it_can_send(tmp_path: Path) -> None:
    with server("--ttft=0.3") as url:
        stop = StopWhen(at_most={"ttft_p50": 0.1}, after=3)
        level = Level("D(10,2)", request_rate=20.0)
        measured = hopeless(tmp_path, url, stop, level=level, max_seconds=1.0)
    assert "of at most 20 requests" in measured.report["stopped_early"]


def test_what_is_slower_than_the_best_beyond_doubt_says_what_it_would_have_come_to(
    tmp_path: Path,
) -> None:
    with server("--ttft=0.2") as url:
        pace = Pace("output_throughput", 2000.0, 1800.0, "latency", [0.01] * 100)
        measured = hopeless(tmp_path, url, StopWhen(pace=pace))
    assert "output_throughput would be about" in measured.report["stopped_early"]
    assert measured.metrics["completed"] < 30
    assert 0 < measured.metrics["output_throughput"] <= 2000 / 20


def test_what_keeps_its_limits_goes_on_to_the_end(tmp_path: Path) -> None:
    with server() as url:
        stop = StopWhen({"latency_p99": 30.0}, {"output_throughput": 0.1}, max_error_rate=0.0)
        measured = hopeless(tmp_path, url, stop)
    assert measured.report["stopped_early"] == "" and measured.metrics["completed"] == 100
