"""On a machine with an NVIDIA driver: what NVML tells is what the pool gets."""

import pytest

from gpupool import NoDriver, open_inventory

pytestmark = pytest.mark.gpu


def test_each_gpu_has_a_uuid_a_name_and_memory() -> None:
    try:
        gpus = open_inventory("nvml", "here").gpus()
    except NoDriver as error:
        pytest.skip(str(error))
    assert gpus
    assert len({gpu.uuid for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert gpu.uuid.startswith("GPU-") and gpu.name
        assert 0 < gpu.memory_free_mb <= gpu.memory_total_mb
        assert 0.0 <= gpu.utilization <= 1.0
