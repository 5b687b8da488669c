"""`vllm bench serve`: its command line, what it cannot express, and its report."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks.base import Level, Load
from experiments.benchmarks.vllm_bench import VllmBench
from experiments.errors import BadInput, ExperimentFailed
from experiments.states import FailureKind

LOAD = Load(
    url="http://127.0.0.1:8000",
    model="m",
    model_path="/models/m",
    level=Level("D(128,64)", concurrency=4),
    max_requests=100,
    max_seconds=10.0,
    warmup_requests=8,
    arrival="poisson",
    seed=3,
    request_options={"top_k": 5},
)
REPORT = Path("/tmp/run/level-0.json")

# Recorded from vLLM 0.32, shortened.
RESULT: dict[str, Any] = {
    "date": "20261123-224411",
    "num_prompts": 12,
    "request_rate": "inf",
    "max_concurrency": 8,
    "duration": 8.0,
    "completed": 11,
    "failed": 1,
    "total_input_tokens": 1408,
    "total_output_tokens": 704,
    "request_throughput": 1.375,
    "request_goodput": None,
    "output_throughput": 88.0,
    "total_token_throughput": 264.0,
    **{
        f"{statistic}_{name}_ms": base + index
        for name, base in {"ttft": 100.0, "tpot": 20.0, "itl": 10.0, "e2el": 2000.0}.items()
        for index, statistic in enumerate(["mean", "median", "std", "p50", "p90", "p95", "p99"])
    },
}


def flags(load: Load) -> dict[str, str]:
    """Each flag with the word behind it."""
    argv = VllmBench().argv(load, REPORT)
    return dict(zip(argv, [*argv[1:], ""], strict=True))


def at(scenario: str) -> dict[str, str]:
    return flags(replace(LOAD, level=Level(scenario, concurrency=1)))


def written(folder: Path, result: dict[str, Any]) -> Path:
    path = folder / "report.json"
    path.write_text(json.dumps(result))
    return path


def test_the_command_line_is_vllms() -> None:
    own = replace(LOAD, executable="/opt/vllm/bin/vllm")
    assert VllmBench().argv(own, REPORT)[:3] == ["/opt/vllm/bin/vllm", "bench", "serve"]
    assert VllmBench().argv(LOAD, REPORT)[:3] == ["vllm", "bench", "serve"]
    given = flags(LOAD)
    assert given["--base-url"] == LOAD.url
    assert (given["--model"], given["--tokenizer"]) == ("m", "/models/m")
    assert (given["--random-input-len"], given["--random-output-len"]) == ("128", "64")
    assert (given["--num-prompts"], given["--max-concurrency"]) == ("100", "4")
    assert (given["--num-warmups"], given["--seed"]) == ("8", "3")
    assert (given["--result-dir"], given["--result-filename"]) == ("/tmp/run", "level-0.json")
    assert json.loads(given["--extra-body"]) == {"temperature": 0, "top_k": 5}
    assert "--request-rate" not in given and "--random-range-ratio" not in given


def test_a_request_rate_is_bounded_by_the_time() -> None:
    given = flags(replace(LOAD, level=Level("D(128,64)", request_rate=4.0)))
    assert (given["--request-rate"], given["--num-prompts"]) == ("4.0", "40")
    assert given["--burstiness"] == "1.0"
    assert "--max-concurrency" not in given


def test_constant_arrivals_are_a_gamma_process_without_bursts() -> None:
    load = replace(LOAD, level=Level("D(1,1)", request_rate=4.0), arrival="constant")
    assert flags(load)["--burstiness"] == "inf"


@pytest.mark.parametrize(
    ("least", "most"), [(1, 1), (2, 4), (50, 150), (100, 102), (7, 4001), (3, 5), (1, 99)]
)
def test_a_uniform_scenario_becomes_exactly_its_range(least: int, most: int) -> None:
    given = at(f"U({least},{most})/(10,20)")
    middle = int(given["--random-input-len"])
    ratio = json.loads(given["--random-range-ratio"])["input"]
    assert 0 <= ratio < 1
    assert math.floor(middle * (1 - ratio)) == least
    assert math.ceil(middle * (1 + ratio)) == most


@pytest.mark.parametrize("scenario", ["N(100,10)/(20,2)", "U(1,2)/(3,3)", "U(10,20)/(3,6)"])
def test_what_it_cannot_express_is_refused(scenario: str) -> None:
    with pytest.raises(BadInput, match="vllm bench can do") as refusal:
        at(scenario)
    assert refusal.value.field == "benchmark.traffic_scenarios"


def test_a_normal_scenario_without_deviation_is_deterministic() -> None:
    assert at("N(100,0)/(20,0)")["--random-input-len"] == "100"


def test_a_report_is_read_in_seconds(tmp_path: Path) -> None:
    metrics = VllmBench().read(written(tmp_path, RESULT)).metrics
    assert metrics["ttft_mean"] == pytest.approx(0.100)
    assert metrics["ttft_p50"] == pytest.approx(0.103)
    assert metrics["latency_p99"] == pytest.approx(2.006)
    assert metrics["output_throughput"] == 88.0
    assert (metrics["requests"], metrics["completed"], metrics["errors"]) == (12, 11, 1)
    assert metrics["error_rate"] == pytest.approx(1 / 12)
    assert (metrics["input_tokens"], metrics["output_tokens"]) == (1408, 704)


def test_requests_of_one_token_have_no_time_per_output_token(tmp_path: Path) -> None:
    metrics = VllmBench().read(written(tmp_path, {**RESULT, "total_output_tokens": 11})).metrics
    assert "ttft_p50" in metrics and "latency_p50" in metrics
    assert not any(key.startswith(("tpot", "itl")) for key in metrics)


@pytest.mark.parametrize(
    ("result", "words"),
    [({**RESULT, "completed": 0}, "no request completed"), ({"completed": 3}, "'failed'")],
)
def test_a_report_without_a_measurement_is_a_failure(
    tmp_path: Path, result: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExperimentFailed, match=words) as caught:
        VllmBench().read(written(tmp_path, result))
    assert caught.value.kind is FailureKind.BENCHMARK_ERRORS


def test_a_seed_is_one_that_numpy_takes() -> None:
    argv = VllmBench().argv(replace(LOAD, seed=-7), REPORT)
    assert 0 <= int(argv[argv.index("--seed") + 1]) < 2**32


def test_the_samples_are_those_of_the_requests_that_completed(tmp_path: Path) -> None:
    detailed = {
        "input_lens": [128, 128, 128],
        "output_lens": [3, 0, 1],
        "ttfts": [0.5, 0.0, 0.25],
        "itls": [[0.25, 0.25], [], []],
    }
    assert VllmBench().read(written(tmp_path, {**RESULT, **detailed})).samples == {
        "ttft": [0.5, 0.25],
        "tpot": [0.25, None],
        "latency": [1.0, 0.25],
        "input_tokens": [128, 128],
        "output_tokens": [3, 1],
    }
    assert "--save-detailed" in VllmBench().argv(LOAD, REPORT)
