"""What is refused before anything starts."""

import pytest
from django.test import override_settings

from experiments import planning
from experiments.errors import BadInput
from experiments.planning import Pool
from experiments.taskfile import from_dict
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
