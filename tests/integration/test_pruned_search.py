"""A search whose losers are stopped early, on the whole product."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.product import Product

SERVER = Path(__file__).parents[1] / "programs" / "fake_openai_server.py"


@pytest.fixture(scope="module")
def pruned(product: Product) -> Any:
    """A finished search in which nothing is as fast as the engine's defaults."""
    return product.finished(
        {
            "task_name": "pruned",
            "base_runtime": "custom",
            "model": {"id_or_path": "fake"},
            "command": [sys.executable, str(SERVER), "--port", "{port}", "--tpot", "{tpot}"],
            "parameters": {"tpot": [0.05, 0.06, 0.07]},
            "optimization": {
                "strategy": "random",
                "objective": "maximize_throughput",
                "max_iterations": 4,
                "repeats": 0,
            },
            "benchmark": {
                "traffic_scenarios": ["D(16,8)"],
                "num_concurrency": [1, 2],
                "max_requests_per_iteration": 30,
                "warmup_requests": 2,
            },
        }
    )


def test_what_clearly_loses_is_measured_at_one_level_and_says_by_how_much(pruned: Any) -> None:
    best, *losers = pruned["experiments"]
    assert pruned["best"]["number"] == best["number"] == 1 and len(best["levels"]) == 2
    for one in losers:
        (level,) = one["levels"]
        assert (one["status"], one["pruned"], one["feasible"]) == ("SUCCESS", True, True)
        assert one["pruned_why"].startswith(f"at {level['label']}: ") and "#1" in one["pruned_why"]
        assert "needed" in level["stopped_early"] and level["metrics"]["completed"] < 30


def test_people_read_it_and_the_samples_are_exported(product: Product, pruned: Any) -> None:
    assert product.manage("show", "pruned").stdout.count("pruned at D(16,8)") == 3
    assert "pruned at D(16,8)" in product.manage("export", "pruned", "--format", "markdown").stdout
    exported = json.loads(product.manage("export", "pruned", "--samples").stdout)
    ttft = [len(level["ttft"]) for level in exported["experiments"][0]["samples"]]
    assert ttft == [30, 30]
