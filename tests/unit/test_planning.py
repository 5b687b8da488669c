"""What is refused before anything starts."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.test import override_settings

from experiments import planning
from experiments.demo_models import write_folder
from experiments.errors import BadInput
from experiments.estimate import Estimate, estimate
from experiments.planning import Pool
from experiments.taskfile import from_dict
from gpupool import GpuState
from tests.unit.conftest import SPECIFICATION


def file(parallel: int = 1, **fields: object) -> planning.TaskFile:
    optimization = {**SPECIFICATION["optimization"], "max_parallel_experiments": parallel}
    return from_dict({**SPECIFICATION, "optimization": optimization, **fields})


@pytest.mark.parametrize(("gpus", "limit"), [(2, 2), (8, 8), (64, 8), (None, 8)])
def test_the_limit_is_the_smaller_of_the_setting_and_the_pool(gpus: int, limit: int) -> None:
    pool = Pool(gpus, gpus)
    planning.check(file(limit), pool)
    with pytest.raises(BadInput) as refused:
        planning.check(file(limit + 1), pool)
    message = str(refused.value)
    assert message.startswith("optimization.max_parallel_experiments")
    assert "8 (setting" in message and f"{gpus or 'unknown'} (GPUs in the pool)" in message


@override_settings(MAX_PARALLEL_EXPERIMENTS=3)
def test_the_setting_moves_the_limit() -> None:
    with pytest.raises(BadInput, match="at most 3"):
        planning.check(file(4), Pool(16, 8))


def test_a_configuration_that_fits_no_node_is_refused() -> None:
    wide = file(parameters={"tensor-parallel-size": [1, 2], "pipeline-parallel-size": [1, 2]})
    assert wide.gpu_counts() == [1, 2, 4] and wide.per_gpu
    planning.check(wide, Pool(8, 4))
    with pytest.raises(BadInput, match=r"resources.gpus.*needs 4 GPUs.*has 2"):
        planning.check(wide, Pool(8, 2))


SIZES = {"tensor-parallel-size": [1, 2, 4, 8], "pipeline-parallel-size": [1, 2, 4]}


def test_only_configurations_that_are_allowed_need_gpus(db: None) -> None:
    constraints = ["tensor-parallel-size * pipeline-parallel-size <= 4"]
    narrow = file(parameters=SIZES, constraints=constraints)
    assert narrow.gpu_counts() == [1, 2, 4]
    planning.check(narrow, Pool(8, 4))
    assert "combinations    6, searched by grid_search" in planning.plan(narrow).lines()
    even = file(
        parameters={**SIZES, "x": [1, 2]},
        engine={"arguments": {"tp": 3}},
        constraints=["tensor-parallel-size % 4 == 0 and x < 2"],
    )
    assert even.gpu_counts() == [3, 4, 8, 16, 32]  # The baseline's, and what the parameters need


def test_a_size_that_is_absent_is_the_fixed_one() -> None:
    when = {"wide": True}
    sizes = {"tp": {"type": "categorical", "values": [4, 8], "when": when}, "wide": [True, False]}
    assert file(parameters=sizes, engine={"arguments": {"tp": 2}}).gpu_counts() == [2, 4, 8]
    vast = {"type": "float", "low": 0, "high": 1, "when": when}
    sizes |= {"share": vast, "pp": [1, 2]}
    continuous = file(
        parameters=sizes,
        engine={"arguments": {"tp": 2}},
        optimization={"strategy": "random", "objective": "maximize_throughput"},
    )
    assert continuous.gpu_counts() == [2, 4, 8, 16]


def test_a_dry_run_says_when_combinations_are_not_counted(db: None) -> None:
    wide = {"type": "integer", "low": 1, "high": 1000}
    optimization = {"strategy": "random", "objective": "maximize_throughput"}
    vast = file(parameters={"x": wide, "y": wide}, constraints=["x < y"], optimization=optimization)
    plan = planning.plan(vast)
    assert (plan.combinations, plan.combinations_are_counted) == (10**6, False)
    assert any("at most 1000000 (too many to count" in line for line in plan.lines())


def test_a_dry_run_of_a_job_shows_a_configuration_that_is_allowed(db: None) -> None:
    job = file(
        base_runtime="job",
        command=["measure", "{x}", "{y}"],
        parameters={"x": [1, 2], "y": [1, 2]},
        constraints=["x > y"],
        optimization={"strategy": "random", "objective": "maximize_speed"},
    )
    assert "measure 2 1" in planning.plan(job).first_command


@pytest.mark.parametrize("objective", ["maximize_tokens_per_joule", "minimize_power_w"])
def test_an_objective_of_power_needs_a_gpu_that_tells_it(objective: str) -> None:
    efficient = file(optimization={"objective": objective})
    planning.check(efficient, Pool(2, 2, tells_power=True))
    planning.check(file(), Pool(2, 2, tells_power=False))
    with pytest.raises(BadInput, match=r"^optimization.objective: .* needs the power of its GPUs"):
        planning.check(efficient, Pool(2, 2, tells_power=False))


# ── memory ──────────────────────────────────────────────────────────────────────────────────


def gpus(node: str, *sizes: int, **fields: object) -> list[GpuState]:
    one = GpuState("", node, 0, "GPU", 0, 0, 0.0)
    return [
        replace(one, uuid=f"{node}-{index}", index=index, memory_total_mb=size, **fields)
        for index, size in enumerate(sizes)
    ]


def test_an_estimate_asks_for_no_more_than_gpus_have() -> None:
    pool = [*gpus("a", 80_000), *gpus("b", 24_000, 24_000, 48_000)]
    limits = [planning.memory_limit(pool, count) for count in (1, 2, 3, 4)]
    # The driver keeps some of it; several GPUs are of one node
    assert limits == [73_600, 22_080, 22_080, 0]
    assert planning.memory_limit([], 1) == 0


@pytest.mark.parametrize("fields", [{"state": "silent"}, {"fault": "lost"}, {"cores": (0, 1)}])
def test_an_estimate_does_not_count_on_gpus_that_cannot_be_granted_nor_on_cpu_slots(
    fields: dict[str, object],
) -> None:
    pool = [*gpus("a", 80_000, **fields), *gpus("b", 24_000)]
    assert planning.memory_limit(pool, 1) == 22_080
    assert planning.memory_limit(gpus("a", 80_000, **fields), 1) == 0


def test_an_estimate_is_the_minimum_where_the_task_file_names_none() -> None:
    pool = gpus("a", 80_000)
    assert planning.memory_minimum(file(), Estimate(1, 16_000), pool) == 16_000
    assert planning.memory_minimum(file(), Estimate(1, 100_000), pool) == 73_600
    assert planning.memory_minimum(file(), Estimate(2, 16_000), pool) == 0  # No such node
    assert planning.memory_minimum(file(), Estimate(1, 16_000), []) == 0  # No pool


@pytest.mark.parametrize("named", [0, 8000, 200_000])
def test_a_named_minimum_always_wins(named: int) -> None:
    asked = file(resources={"min_memory_mb": named})
    for pool in ([], gpus("a", 80_000)):
        assert planning.memory_minimum(asked, Estimate(1, 16_000), pool) == named


def test_a_dry_run_shows_the_memory(db: None, tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "model", hidden=1024, layers=16, heads=16))
    asked = file(model={"id_or_path": folder}, engine={"arguments": {"tp": 2}})
    plan = planning.plan(asked)
    assert plan.memory_mb == estimate(asked, {}).memory_mb > 1024 and plan.memory_is_estimated
    line = f"memory          about {plan.memory_mb / 1024:.1f} GiB free on each GPU"
    assert f"{line} (estimated from the model's config)" in plan.lines()


def test_a_dry_run_shows_a_named_minimum_and_none_that_is_not_known(db: None) -> None:
    named = planning.plan(file(resources={"min_memory_mb": 8000}))
    assert "memory          8000 MiB free on each GPU" in named.lines()
    assert not named.memory_is_estimated
    for unknown in (file(), file(resources={"min_memory_mb": 0})):
        assert not any(line.startswith("memory") for line in planning.plan(unknown).lines())


def test_a_dry_run_says_whose_memory_it_is_where_configurations_differ(
    db: None, tmp_path: Path
) -> None:
    folder = str(write_folder(tmp_path / "model"))
    plan = planning.plan(file(model={"id_or_path": folder}, parameters={"tp": [1, 2]}))
    assert any("free on each GPU of the first (estimated" in line for line in plan.lines())


def test_a_plan_says_how_many_experiments_measure_again(db: None) -> None:
    optimization = {"objective": "maximize_throughput", "max_iterations": 10}
    file = from_dict({**SPECIFICATION, "optimization": {**optimization, "strategy": "gp"}})
    plan = planning.plan(file)
    assert (plan.experiments, plan.repeats) == (8, 1)  # Six combinations, the defaults, one again
    assert "at most 8 (the first is the engine's defaults, 1 measure again" in "\n".join(
        plan.lines()
    )
