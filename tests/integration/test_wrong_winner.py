"""Programs that other tools crown do not win, on the whole product."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.product import Product

SERVER = Path(__file__).parents[1] / "programs" / "fake_openai_server.py"
BEHAVIOURS = ["collapses", "lucky", "fails", "errors", "steady"]


@pytest.fixture(scope="module")
def finished(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search among them, three at a time, in which the finalists are measured again."""
    luck = tmp_path_factory.mktemp("luck") / "used"
    return product.finished(
        {
            "task_name": "wrong-winner",
            "base_runtime": "custom",
            "model": {"id_or_path": "fake"},
            "command": [
                *(sys.executable, str(SERVER), "--port", "{port}", "--tpot", "0.02"),
                *("--luck", str(luck), "--behaviour", "{behaviour}"),
            ],
            "parameters": {"behaviour": BEHAVIOURS},
            "optimization": {
                "strategy": "random",
                "objective": "maximize_throughput",
                "max_iterations": 12,
                "max_parallel_experiments": 2,
                "repeats": 6,
            },
            "slo": {"latency": {"p90": {"threshold": 0.5, "hard_fail": True}}},
            "benchmark": {
                "traffic_scenarios": ["D(16,16)"],
                "num_concurrency": [1, 4],
                "max_requests_per_iteration": 24,
                "warmup_requests": 2,
            },
        }
    )


def behaviours(finished: Any) -> dict[str, list[Any]]:
    """Every experiment, by how its server behaved."""
    found: dict[str, list[Any]] = {}
    for one in finished["experiments"]:
        found.setdefault(one["parameters"].get("behaviour", "defaults"), []).append(one)
    return found


def test_the_steady_one_wins(finished: Any) -> None:
    assert finished["best"]["parameters"] == {"behaviour": "steady"}
    assert finished["certainty"]["measurements"] >= 2 and finished["certainty"]["is_real"]


def test_what_collapses_fails_or_answers_errors_is_infeasible(finished: Any) -> None:
    found = behaviours(finished)
    for behaviour in ("collapses", "fails", "errors"):
        assert [one["feasible"] for one in found[behaviour]] == [False]


def test_what_was_pruned_because_of_a_lucky_one_is_measured_to_its_end(finished: Any) -> None:
    _, *again = behaviours(finished)["steady"]
    assert again and not any(one["pruned"] for one in again)


def test_a_lucky_measurement_was_the_best_and_did_not_last(finished: Any) -> None:
    first, *again = behaviours(finished)["lucky"]
    scores = [one["objective_score"] for one in finished["experiments"] if one["feasible"]]
    assert first["objective_score"] == max(scores)
    assert again and all(one["repeat_of"] == first["number"] for one in again)
    assert max(one["objective_score"] for one in again) < first["objective_score"] / 2
