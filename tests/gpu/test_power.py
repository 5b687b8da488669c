"""On a machine with an NVIDIA driver: what a GPU draws, and the energy that comes of it."""

import time

import pytest

from experiments.energy import PowerMeter, energy
from gpupool.inventory import NoDriver, open_inventory

pytestmark = pytest.mark.gpu


def test_the_energy_of_a_gpu_is_its_power_over_time() -> None:
    try:
        inventory = open_inventory("nvml", "here")
    except NoDriver as error:
        pytest.skip(str(error))
    gpu = inventory.gpus()[0]
    if gpu.power_w is None or gpu.parent:
        pytest.skip("this GPU tells no power of its own")
    with PowerMeter(lambda: inventory.power_w([gpu.uuid]), every=0.1) as meter:
        begin = time.monotonic()
        time.sleep(2)
        end = time.monotonic()
    joules = energy(meter.readings, begin, end)
    powers = [watts for _, watts in meter.readings]
    assert joules is not None and len(powers) > 10
    assert min(powers) <= joules / (end - begin) <= max(powers)
    assert min(powers) > 1 and max(powers) < 1500
