"""What every benchmark promises."""

from pathlib import Path

import pytest

from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.base import Benchmark, Level, Load
from experiments.errors import ExperimentFailed
from experiments.states import FailureKind

every_benchmark = pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=BENCHMARKS)


def load(level: Level) -> Load:
    return Load("http://127.0.0.1:1", "m", "/m", level, 5, 60.0, 2, "poisson", 1)


@every_benchmark
def test_a_benchmark_is_found_by_its_name(benchmark: Benchmark) -> None:
    assert BENCHMARKS[benchmark.name] is benchmark


@every_benchmark
@pytest.mark.parametrize(
    "level", [Level("D(100,10)", concurrency=2), Level("D(100,10)", request_rate=2.5)]
)
def test_a_command_line_is_words_and_the_same_for_the_same_load(
    benchmark: Benchmark, level: Level
) -> None:
    argv = benchmark.argv(load(level), Path("/tmp/report.json"))
    assert argv and all(isinstance(word, str) for word in argv)
    assert argv == benchmark.argv(load(level), Path("/tmp/report.json"))


@every_benchmark
def test_a_missing_report_is_a_benchmark_error(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(ExperimentFailed) as caught:
        benchmark.read(tmp_path / "none.json")
    assert caught.value.kind is FailureKind.BENCHMARK_ERRORS
