"""Real searches on real engines. What is not installed is skipped; the CI installs both."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import demo_models
from experiments.engines.known_flags import KNOWN_FLAGS
from experiments.lines import parse_values
from tests.integration.product import Product, running_product, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

WORKLOAD = {
    "traffic_scenarios": ["D(64,16)"],
    "num_concurrency": [1, 4],
    "max_requests_per_iteration": 12,
    "max_time_per_iteration": 1,
}
OPTIMIZATION = {
    "strategy": "bayesian",
    "objective": "maximize_throughput",
    "max_iterations": 8,
    "max_parallel_experiments": 2,
    "timeout_per_iteration": 300,
    "seed": 1,
}


def vllm_task(folder: Path, name: str) -> dict[str, Any]:
    return {
        "task_name": name,
        "model": {"id_or_path": str(demo_models.write_folder(folder / "model"))},
        "base_runtime": "vllm",
        "engine": {
            "arguments": {
                **{"load-format": "dummy", "enforce-eager": True, "max-model-len": 2048},
                "dtype": "float32",
            },
            "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        },
        "parameters": {
            "max-num-seqs": [1, 2, 8],
            "max-num-batched-tokens": [64, 2048],
            "enable-prefix-caching": [True, False],
        },
        "optimization": dict(OPTIMIZATION),
        "benchmark": WORKLOAD,
        "resources": {"gpus": 1},
    }


def most_at_once(task: Any) -> int:
    """From the moves: how many experiments were on a worker at one time."""
    changes = sorted(
        (move["at"], 1 if move["to"] == "DEPLOYING" else -1)
        for one in task["experiments"]
        for move in one["moves"]
        if move["to"] in ("DEPLOYING", "SUCCESS", "FAILED")
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def check(product: Product, task: Any) -> None:
    """What holds for every search on a real engine."""
    assert task["status"] == "COMPLETED"
    assert [one["number"] for one in task["experiments"]] == list(range(1, 9))
    for one in task["experiments"]:
        assert one["status"] == "SUCCESS", one["error"]
        assert one["metrics"]["output_throughput"] > 0
        assert one["metrics"]["ttft_p50"] > 0
        assert len(one["levels"]) == 2 or one["pruned"]
        assert all(level["metrics"]["errors"] == 0 for level in one["levels"])
    assert task["experiments"][0]["is_baseline"]
    whole = [one for one in task["experiments"] if not one["pruned"]]
    best = max(one["objective_score"] for one in whole)
    assert task["best"]["objective_score"] == best
    assert most_at_once(task) == 2
    assert not product.json("gpus")["leases"]


@pytest.mark.skipif(not shutil.which("vllm"), reason="vllm is not on the PATH")
def test_a_real_vllm_search() -> None:
    with running_product("cpu:2") as product:
        task = product.finished(vllm_task(product.folder, "vllm"))
        check(product, task)
        serial, parallel = (
            next(
                one["objective_score"]
                for one in task["experiments"]
                if one["parameters"].get("max-num-seqs") == seqs
            )
            for seqs in (1, 8)
        )
        assert parallel > serial  # One sequence at a time cannot win under load
        # Each engine ran on the cores of its slot, and prefix caching was really turned off
        off = [
            o for o in task["experiments"] if o["parameters"].get("enable-prefix-caching") is False
        ]
        assert all("--no-enable-prefix-caching" in one["command"] for one in off)
        assert all(one["effective"]["enable-prefix-caching"] is False for one in off)
        assert not any(one["without_effect"] for one in task["experiments"])


@pytest.mark.skipif(not shutil.which("vllm"), reason="vllm is not on the PATH")
def test_vllm_bench_measures_a_real_vllm() -> None:
    with running_product("cpu:1") as product:
        task = vllm_task(product.folder, "vllm-bench")
        task["optimization"] |= {"max_iterations": 1, "max_parallel_experiments": 1}
        task["benchmark"] = {**WORKLOAD, "generator": "vllm_bench", "num_concurrency": [2]}
        [baseline] = product.finished(task)["experiments"]
        assert baseline["status"] == "SUCCESS", baseline["error"]
        assert baseline["metrics"]["completed"] == 12
        assert baseline["metrics"]["output_tokens"] == 12 * 16
        assert baseline["metrics"]["latency_p99"] > baseline["metrics"]["ttft_p50"] > 0
        # What it says it runs with, and in which version, without being asked for it
        assert (baseline["effective"]["max-seq-len"], baseline["without_effect"]) == (2048, [])
        assert baseline["effective"]["enable-prefix-caching"] is True
        assert baseline["environment"]["version"].startswith("0.")


@pytest.mark.skipif(not shutil.which("vllm"), reason="vllm is not on the PATH")
def test_a_bad_flag_and_a_cancel_on_a_real_vllm() -> None:
    with running_product("cpu:2") as product:
        bad = vllm_task(product.folder, "bad-flag")
        bad["parameters"] = {"no-such-flag": [1]}
        bad["optimization"] |= {"max_iterations": 2}
        task = product.finished(bad)
        error = task["experiments"][1]["error"]
        assert error["kind"] == "bad_flag" and "no-such-flag" in error["message"]
        assert task["experiments"][0]["status"] == "SUCCESS"

        product.tune(vllm_task(product.folder, "to-cancel"))
        until(
            lambda: any(
                one["status"] == "DEPLOYING"
                for one in product.json("show", "to-cancel")["experiments"]
            ),
            30,
        )
        product.manage("cancel", "to-cancel")
        until(lambda: not product.json("gpus")["leases"], 15)
        assert not [p for p in product.processes() if "serve" in p.cmdline()]


@pytest.mark.skipif(
    not importlib.util.find_spec("llama_cpp"), reason="llama-cpp-python is not installed"
)
def test_a_real_llamacpp_search() -> None:
    with running_product("cpu:2") as product:
        model = demo_models.write_gguf(
            product.folder / "model.gguf", hidden=256, layers=4, heads=4, vocabulary=1024
        )
        task = product.finished(
            {
                "task_name": "llamacpp",
                "model": {"id_or_path": str(model)},
                "base_runtime": "llamacpp",
                "engine": {"arguments": {"n_ctx": 1024}},
                "parameters": {
                    "n_threads": [1, 2],
                    "n_batch": [16, 64, 256],
                    "flash_attn": [True, False],
                },
                "optimization": dict(OPTIMIZATION),
                "benchmark": WORKLOAD,
            }
        )
        check(product, task)


def takes(*command: str) -> dict[str, set[str]]:
    """The flags in a program's help, each with its choices, if it has some."""
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    flags: dict[str, set[str]] = {}
    for name, choices in re.findall(r"--([\w-]+)(?: \{([^}]+)\})?", said):
        flags.setdefault(name.replace("_", "-"), set()).update(filter(None, choices.split(",")))
    return flags


def check_suggestions(engine: str, flags: dict[str, set[str]]) -> None:
    assert set(KNOWN_FLAGS[engine]) <= set(flags)
    for name, line in KNOWN_FLAGS[engine].items():
        if flags[name]:
            assert set(map(str, parse_values(line))) <= flags[name], name


@pytest.mark.skipif(not shutil.which("vllm"), reason="vllm is not on the PATH")
def test_every_flag_suggested_for_vllm_is_one_of_its_own() -> None:
    check_suggestions("vllm", takes("vllm", "serve", "--help=all"))


@pytest.mark.skipif(
    not importlib.util.find_spec("llama_cpp"), reason="llama-cpp-python is not installed"
)
def test_every_flag_suggested_for_llamacpp_is_one_of_its_own() -> None:
    check_suggestions("llamacpp", takes(sys.executable, "-m", "llama_cpp.server", "--help"))
