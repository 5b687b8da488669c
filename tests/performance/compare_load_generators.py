"""Do our load generator and `vllm bench serve` measure the same on the same server?

Both run in turn, A B B A, with the same prompt lengths, requests and warm-up, and each run
with prompts of its own. Prints one JSON document: every run, medians, differences in percent
with the interval that noise alone leaves them, and the CPU seconds of each client.
Exit code 1: they do not agree.

A server's own speed can drift by more than the limits. Where an interval is wider than they
are, the verdict says little: more --runs.

    compare_load_generators.py --vllm VLLM --model-path DIR --server-arg=--dtype=float32
    compare_load_generators.py --vllm VLLM --model-path DIR --url URL --model NAME
"""

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import geometric_mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.autotuner import Autotuner
from experiments.benchmarks.base import Benchmark, Level, Load
from experiments.benchmarks.vllm_bench import VllmBench

# How far apart two honest generators may be, in percent of vLLM's figure.
LIMITS = {"output_throughput": 5.0, "ttft_p50": 10.0, "tpot_p50": 10.0}
# One engine thread on the CPU, so that a second core is left for the clients.
CPU_SETTINGS = ("VLLM_CPU_KVCACHE_SPACE=1", "VLLM_ENABLE_V1_MULTIPROCESSING=0", "OMP_NUM_THREADS=1")
START_SECONDS = 300
RESAMPLES = 10_000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--vllm", default="vllm", help="the vllm executable")
    add("--model-path", required=True, help="folder with the model's tokenizer")
    add("--url", help="a running server; without it, one is started with dummy weights")
    add("--model", default="benchmarked", help="the name the server answers to")
    add("--server-arg", action="append", default=[], help="for a server that is started")
    add("--server-cpu", type=int, default=0, help="the core of a server that is started")
    add("--client-cpu", type=int, default=1, help="the core of both clients")
    add("--scenario", default="D(128,64)")
    add("--concurrency", type=int, default=8)
    add("--requests", type=int, default=64)
    add("--warmup", type=int, default=8)
    add("--runs", type=int, default=10, help="of each; an even number favours neither")
    return parser.parse_args()


def pinned(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


@contextmanager
def served(arguments: argparse.Namespace, log: Path) -> Iterator[str]:
    """The URL of a vLLM server of our own, which ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Without the prefix cache, no run can profit from an earlier one.
    argv = ["env", *CPU_SETTINGS, arguments.vllm, "serve", arguments.model_path]
    argv += ["--served-model-name", arguments.model, "--load-format", "dummy", "--enforce-eager"]
    argv += ["--max-model-len", "2048", "--no-enable-prefix-caching", "--port", str(port)]
    argv += arguments.server_arg
    with log.open("wb") as output:
        server = subprocess.Popen(
            argv,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=pinned(arguments.server_cpu),
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(1)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-3000:]}")


def run(benchmark: Benchmark, load: Load, folder: Path, core: int) -> dict[str, float]:
    """One measurement: its metrics, and what the client itself cost."""
    report = folder / f"{benchmark.name}-{load.seed}.json"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    client = subprocess.run(
        benchmark.argv(load, report),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=pinned(core),
    )
    if client.returncode:
        raise SystemExit(f"{benchmark.name} failed:\n{client.stdout.decode()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.perf_counter() - started
    return {
        **benchmark.read(report).metrics,
        "client_cpu_seconds": cpu,
        "client_wall_seconds": wall,
    }


def compare(arguments: argparse.Namespace, url: str, folder: Path) -> dict[str, Any]:
    benchmarks: list[Benchmark] = [Autotuner(), VllmBench()]
    runs: dict[str, list[dict[str, float]]] = {benchmark.name: [] for benchmark in benchmarks}
    for seed in range(1, arguments.runs + 1):
        load = Load(
            url=url,
            model=arguments.model,
            model_path=arguments.model_path,
            level=Level(arguments.scenario, concurrency=arguments.concurrency),
            max_requests=arguments.requests,
            max_seconds=600,
            warmup_requests=arguments.warmup,
            arrival="poisson",
            seed=seed,
            executable=arguments.vllm,
        )
        # Whoever is second finds another server than the first, so they change places.
        for benchmark in benchmarks if seed % 2 else reversed(benchmarks):
            runs[benchmark.name].append(run(benchmark, load, folder, arguments.client_cpu))
    return judge(runs)


def judge(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    medians = {
        name: {key: median(one[key] for one in several) for key in several[0]}
        for name, several in runs.items()
    }
    ours, theirs = medians["autotuner"], medians["vllm_bench"]
    differences = {
        key: 100 * (ours[key] / theirs[key] - 1) for key in ours if theirs.get(key, 0) > 0
    }
    agrees = {key: abs(differences[key]) <= limit for key, limit in LIMITS.items()}
    return {
        "agrees": agrees,
        "limits_percent": LIMITS,
        "differences_percent": differences,
        "paired_percent": {
            key: paired([a[key] / b[key] for a, b in zip(*runs.values(), strict=True)])
            for key in LIMITS
        },
        "medians": medians,
        "runs": runs,
    }


def paired(ratios: list[float]) -> dict[str, float]:
    """The mean difference within a pair, in percent, and its 95 % bootstrap interval."""
    random = Random(0)
    means = sorted(geometric_mean(random.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = means[RESAMPLES // 40], means[-RESAMPLES // 40]
    figures = {"mean": geometric_mean(ratios), "from": low, "to": high}
    return {name: 100 * (ratio - 1) for name, ratio in figures.items()}


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.url:
            verdict = compare(arguments, arguments.url, folder)
        else:
            with served(arguments, folder / "server.log") as url:
                verdict = compare(arguments, url, folder)
    print(json.dumps({"arguments": vars(arguments), **verdict}, indent=2))
    return 0 if all(verdict["agrees"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
