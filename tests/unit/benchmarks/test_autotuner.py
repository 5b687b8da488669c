"""Our own load generator, as a benchmark: its command line and its report."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks.autotuner import Autotuner, lateness_limit
from experiments.benchmarks.base import Level, Load
from experiments.errors import ExperimentFailed
from experiments.states import FailureKind

LOAD = Load(
    url="http://127.0.0.1:8000",
    model="m",
    model_path="/models/m",
    level=Level("D(128,64)", concurrency=4),
    max_requests=10,
    max_seconds=60.0,
    warmup_requests=4,
    arrival="poisson",
    seed=3,
    request_options={"top_k": 5},
)


def report(folder: Path, *, rate: float | None = None, **metrics: float) -> Path:
    content = {
        "load": {"level": {"scenario": "D(1,1)", "concurrency": 1, "request_rate": rate}},
        "metrics": {"completed": 3, "lateness_p99": 0.001, **metrics},
        "first_error": "HTTP 500: told to fail",
    }
    path = folder / "report.json"
    path.write_text(json.dumps(content))
    return path


def failure(path: Path) -> ExperimentFailed:
    with pytest.raises(ExperimentFailed) as caught:
        Autotuner().read(path)
    assert caught.value.kind is FailureKind.BENCHMARK_ERRORS
    return caught.value


def test_the_command_line_carries_the_whole_load() -> None:
    argv = Autotuner().argv(LOAD, Path("/tmp/r.json"))
    assert argv[:2] == [sys.executable, "-P"]
    assert Path(argv[2]).is_absolute() and Path(argv[2]).is_file()
    assert argv[5:] == ["--report", "/tmp/r.json"]
    spec: dict[str, Any] = json.loads(argv[4])
    assert Load.parse(spec) == LOAD


def test_a_report_gives_its_metrics(tmp_path: Path) -> None:
    assert Autotuner().read(report(tmp_path, ttft_p50=0.2)).metrics["ttft_p50"] == 0.2


def test_a_level_without_a_completed_request_fails_with_the_first_error(tmp_path: Path) -> None:
    assert "HTTP 500: told to fail" in failure(report(tmp_path, completed=0)).message


def test_a_late_generator_makes_the_result_invalid_not_slow(tmp_path: Path) -> None:
    assert "invalid, not slow" in failure(report(tmp_path, lateness_p99=0.3)).message
    assert "late by 0.150" in failure(report(tmp_path, rate=20.0, lateness_p99=0.15)).message


def test_an_open_loop_may_be_late_by_half_a_gap() -> None:
    assert lateness_limit({"request_rate": 2.0}) == 0.25
    assert lateness_limit({"request_rate": 100.0}) == 0.1
    assert lateness_limit({"request_rate": None}) == 0.25


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_report_is_a_failure(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    assert "report" in failure(path).message


def test_a_missing_report_is_a_failure(tmp_path: Path) -> None:
    assert "wrote no report" in failure(tmp_path / "none.json").message
