"""`vllm bench serve` as a benchmark: heavier than our own, and known to everyone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.base import Load, Measurement, Metrics, Samples
from experiments.benchmarks.reports import no_measurement, read_report
from experiments.benchmarks.scenarios import Pair, Scenario, parse
from experiments.errors import BadInput

FORMS = (
    "vllm bench can do D(in,out) and U(min,max)/(min,max) with even min + max and a "
    "smallest value above 1; use the benchmark 'autotuner' for others"
)

# Our names, and those of vLLM.
_TIMES = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "latency": "e2el"}
_STATISTICS = {"mean": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}


class VllmBench:
    """Measures with `vllm bench serve`, which wants the model's tokenizer."""

    name = "vllm_bench"

    def argv(self, load: Load, report: Path) -> list[str]:
        """The command line that measures `load` and writes `report`.

        vLLM's generator knows no time limit: it ends after `max_requests`, or after as many
        as a request rate sends in `max_seconds`. Raises BadInput for a scenario that it
        cannot express exactly.
        """
        return [
            *(load.executable or "vllm", "bench", "serve"),
            *("--backend", "openai", "--base-url", load.url, "--endpoint", "/v1/completions"),
            *("--model", load.model, "--tokenizer", load.model_path),
            *_lengths(load.level.scenario),
            *_traffic(load),
            *("--num-warmups", str(load.warmup_requests), "--seed", str(load.seed % 2**32)),
            "--ignore-eos",
            *("--extra-body", json.dumps({"temperature": 0, **load.request_options})),
            *("--percentile-metrics", "ttft,tpot,itl,e2el"),
            *("--metric-percentiles", "50,90,95,99"),
            *("--save-result", "--save-detailed", "--result-dir", str(report.parent)),
            *("--result-filename", report.name, "--disable-tqdm"),
        ]

    def read(self, report: Path) -> Measurement:
        """What was measured, in seconds. Raises ExperimentFailed when that is nothing.

        tpot and itl are left out when no request had a second token. The generator says
        nothing of its own lateness, nor of its share of the CPU.
        """
        result = read_report(report)
        try:
            return Measurement(_metrics(result), _samples(result))
        except (KeyError, TypeError) as problem:
            raise no_measurement(f"vllm bench's report lacks {problem}") from None


def _metrics(result: Mapping[str, Any]) -> Metrics:
    completed, failed = result["completed"], result["failed"]
    if not completed:
        raise no_measurement("no request completed; vllm bench's output says why")
    metrics: Metrics = {
        "requests": completed + failed,
        "completed": completed,
        "errors": failed,
        "error_rate": failed / (completed + failed),
        "duration": result["duration"],
        "requests_per_second": result["request_throughput"],
        "output_throughput": result["output_throughput"],
        "total_throughput": result["total_token_throughput"],
        "input_tokens": result["total_input_tokens"],
        "output_tokens": result["total_output_tokens"],
    }
    several_tokens = result["total_output_tokens"] > completed
    for ours, theirs in _TIMES.items():
        if several_tokens or ours in ("ttft", "latency"):
            for name, prefix in _STATISTICS.items():
                metrics[f"{ours}_{name}"] = result[f"{prefix}_{theirs}_ms"] / 1000
    return metrics


def _samples(result: Mapping[str, Any]) -> Samples:
    """Of each request that completed; what failed has no output. A latency is its parts' sum."""
    rows = zip(
        *(result.get(name, ()) for name in ("input_lens", "output_lens", "ttfts", "itls")),
        strict=True,
    )
    done = [(tokens_in, out, ttft, sum(gaps)) for tokens_in, out, ttft, gaps in rows if out]
    return {
        "ttft": [ttft for _, _, ttft, _ in done],
        "tpot": [rest / (out - 1) if out > 1 else None for _, out, _, rest in done],
        "latency": [ttft + rest for _, _, ttft, rest in done],
        "input_tokens": [tokens_in for tokens_in, _, _, _ in done],
        "output_tokens": [out for _, out, _, _ in done],
    }


def _lengths(text: str) -> list[str]:
    scenario = parse(text)
    middle_in, ratio_in = _range(scenario, scenario.input, text)
    middle_out, ratio_out = _range(scenario, scenario.output, text)
    flags = ["--dataset-name", "random", "--random-input-len", str(middle_in)]
    flags += ["--random-output-len", str(middle_out)]
    if ratio_in or ratio_out:
        ratios = json.dumps({"input": ratio_in, "output": ratio_out})
        flags += ["--random-range-ratio", ratios]
    return flags


def _range(scenario: Scenario, pair: Pair, text: str) -> tuple[int, float]:
    """The middle and the ratio of vLLM's uniform range that are exactly `pair`.

    vLLM draws whole numbers from floor(middle * (1 - ratio)) to ceil(middle * (1 + ratio)).
    """
    first, second = pair
    if scenario.kind == "D" or (scenario.kind == "N" and second == 0 and first.is_integer()):
        return int(first), 0.0
    if scenario.kind == "U" and first == second:
        return int(first), 0.0
    middle = (first + second) / 2
    # A quarter less than the half width, so that rounding outwards ends on the bounds.
    ratio = (second - first - 0.5) / 2 / middle
    bounds = math.floor(middle * (1 - ratio)), math.ceil(middle * (1 + ratio))
    if scenario.kind == "U" and middle.is_integer() and bounds == pair:
        return int(middle), ratio
    raise BadInput("benchmark.traffic_scenarios", f"{text}: {FORMS}")


def _traffic(load: Load) -> list[str]:
    if load.level.concurrency is not None:
        limit = ["--max-concurrency", str(load.level.concurrency)]
        return ["--num-prompts", str(load.max_requests), *limit]
    if load.level.request_rate is None:
        raise ValueError("a load level has a concurrency or a request rate")
    rate = load.level.request_rate
    count = max(1, min(load.max_requests, int(rate * load.max_seconds)))
    # 1 is a Poisson process; the gaps become constant as it grows.
    burstiness = "1.0" if load.arrival == "poisson" else "inf"
    flags = ["--num-prompts", str(count), "--request-rate", str(rate)]
    return [*flags, "--burstiness", burstiness]
