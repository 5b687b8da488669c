"""Several objectives and the power of GPUs, on the whole product over an NVML that a test made."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.product import PROGRAMS, Product, running_product
from tests.programs.nvml_machine import Board, Machine, folder_of_library

WATTS = 300.0
SERVER = str(PROGRAMS / "fake_openai_server.py")
TASK = {
    "task_name": "front",
    "base_runtime": "custom",
    "model": {"id_or_path": "fake"},
    "command": [
        *(sys.executable, SERVER, "--port", "{port}", "--tpot", "{tpot}"),
        *("--collapse-above", "{collapse}", "--error-rate", "{errors}"),
    ],
    "parameters": {"tpot": [0.002, 0.02], "collapse": [1, 99], "errors": [0.0, 0.5]},
    "optimization": {
        "strategy": "nsga2",
        "objective": ["maximize_tokens_per_joule", "minimize_ttft_p90"],
        "max_iterations": 20,
        "repeats": 9,
        "max_parallel_experiments": 2,
    },
    "resources": {"price_per_gpu_hour": 2.0},
    "slo": {"ttft": {"p90": {"threshold": 0.5, "hard_fail": True}}},
    "benchmark": {
        "traffic_scenarios": ["D(16,8)"],
        "num_concurrency": [1, 4],
        "max_requests_per_iteration": 20,
        "warmup_requests": 2,
    },
}


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Everything, on a machine with two GPUs that draw 300 W each."""
    boards = [Board(f"GPU-{n}", milliwatts=int(1000 * WATTS)) for n in range(2)]
    machine = Machine(tmp_path_factory.mktemp("machine"), boards)
    machine.write()
    told = {"NVML_STUB_STATE": str(machine.state), "LD_LIBRARY_PATH": str(folder_of_library())}
    with running_product("nvml", **told) as running:
        yield running


@pytest.fixture(scope="module")
def front(nvidia: Product) -> Any:
    return nvidia.finished(TASK)


def honest(one: Any) -> bool:
    chosen = one["parameters"]
    return chosen.get("collapse") != 1 and not chosen.get("errors")


def test_a_strategy_for_several_objectives_tries_a_small_space_to_its_end(front: Any) -> None:
    assert front["status"] == "COMPLETED"
    searched = [one for one in front["experiments"] if one["repeat_of"] is None]
    tried = [tuple(one["parameters"].values()) for one in searched]
    assert len(tried) == len(set(tried)) == 1 + 8


def test_what_is_on_the_front_was_measured_again_as_well_as_the_defaults(front: Any) -> None:
    repeated = {one["repeat_of"] for one in front["experiments"]} - {None}
    assert 1 in repeated and set(front["pareto_front"]) <= repeated
    for member in front["front"]:
        assert member["measurements"] >= 2
        if member["number"] != 1:  # The defaults themselves may be on it
            assert all(one["plus_minus"] for one in member["objectives"])


def test_what_collapses_or_answers_errors_is_on_no_front_and_never_wins(front: Any) -> None:
    experiments = {one["number"]: one for one in front["experiments"]}
    assert {number for number, one in experiments.items() if one["feasible"]} == {
        number for number, one in experiments.items() if honest(one)
    }
    assert front["pareto_front"]
    assert all(honest(experiments[number]) for number in front["pareto_front"])
    assert front["best"]["number"] in front["pareto_front"]
    assert front["best"]["parameters"].get("tpot") != 0.02


def test_each_level_has_its_power_energy_and_cost(front: Any) -> None:
    for level in (level for one in front["experiments"] for level in one["levels"]):
        metrics = level["metrics"]
        assert metrics["power_w"] == pytest.approx(WATTS)
        assert metrics["energy_j"] == pytest.approx(WATTS * metrics["duration"])
        each = metrics["output_throughput"] / WATTS
        assert metrics["tokens_per_joule"] == pytest.approx(each, rel=1e-3)
        cost = 2.0 / 3600 / metrics["output_throughput"] * 1e6
        assert metrics["cost_per_million_tokens"] == pytest.approx(cost)
    whole = [one for one in front["experiments"] if not one["pruned"]]
    assert len(whole) > 3
    for one in whole:
        assert one["objective_values"] == [
            pytest.approx(one["metrics"]["tokens_per_joule"]),
            pytest.approx(one["metrics"]["ttft_p90"]),
        ]


def test_people_are_told_of_the_front(nvidia: Product, front: Any) -> None:
    shown = nvidia.manage("show", "front").stdout
    assert "Pareto front" in shown and "tokens_per_joule" in shown
    assert "## Pareto front" in nvidia.manage("export", "front", "--format", "markdown").stdout


def test_without_a_gpu_that_tells_its_power_a_task_of_it_is_refused(product: Product) -> None:
    done = product.tune({**TASK, "task_name": "powerless"}, check=False)
    assert done.returncode == 2
    assert "optimization.objective: tokens_per_joule needs the power of its GPUs" in done.stderr
    assert len(done.stderr.splitlines()) == 1
