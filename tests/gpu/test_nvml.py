"""On a machine with an NVIDIA driver: what NVML tells is what the pool gets."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpupool.inventory import Gpu, Inventory, NoDriver, open_inventory
from gpupool.proof import doubts

pytestmark = pytest.mark.gpu

USER = Path(__file__).with_name("cuda_user.py")
SHARE = 0.2  # of a GPU's memory: what is left is too little for the proof


@pytest.fixture
def inventory() -> Inventory:
    try:
        return open_inventory("nvml", "here")
    except NoDriver as error:
        pytest.skip(str(error))


@pytest.fixture
def gpu(inventory: Inventory) -> Gpu:
    """One that nobody uses."""
    for gpu in inventory.gpus():
        if not doubts(inventory, [gpu.uuid], 0, nobody, patience=0):
            return gpu
    pytest.skip("every GPU of this machine is in use")


def computing_on(gpu: Gpu, inventory: Inventory) -> set[int]:
    return {user.pid for user in inventory.processes()[gpu.uuid] if not user.draws_only}


def nobody(pid: int) -> bool:
    return False


@contextmanager
def somebody_on(gpu: Gpu) -> Iterator[int]:
    """A process that holds a part of the GPU's memory; its pid."""
    with subprocess.Popen(
        [sys.executable, str(USER), str(int(SHARE * gpu.memory_total_mb))],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu.uuid},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout and user.stdin
        assert user.stdout.readline() == "ready\n"
        yield user.pid


def test_each_gpu_has_a_uuid_a_name_and_memory(inventory: Inventory) -> None:
    gpus = inventory.gpus()
    assert gpus
    assert len({gpu.uuid for gpu in gpus}) == len({gpu.index for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert gpu.uuid.startswith("MIG-" if gpu.parent else "GPU-") and gpu.name
        assert 0 < gpu.memory_free_mb <= gpu.memory_total_mb
        assert 0.0 <= gpu.utilization <= 1.0


def test_what_the_driver_need_not_tell_is_sane_where_it_does(inventory: Inventory) -> None:
    gpus = inventory.gpus()
    uuids = {gpu.uuid for gpu in gpus}
    for gpu in gpus:
        assert gpu.temperature_c is None or 0 < gpu.temperature_c < 120
        assert gpu.power_w is None or 0 < gpu.power_w < 3000
        assert set(gpu.numa_cores) <= os.sched_getaffinity(0)
        assert gpu.numa_node is None or gpu.numa_node >= 0
        assert gpu.uuid not in gpu.links and set(gpu.links) <= uuids
        for other in gpus:
            assert (other.uuid in gpu.links) == (gpu.uuid in other.links)


def test_reading_all_gpus_is_cheap_enough_for_every_two_seconds(inventory: Inventory) -> None:
    inventory.gpus()
    began = time.perf_counter()
    inventory.gpus()
    assert time.perf_counter() - began < 0.5


def test_who_uses_a_gpu_is_told_and_forgotten_when_it_ends(inventory: Inventory, gpu: Gpu) -> None:
    with somebody_on(gpu) as pid:
        shown = computing_on(gpu, inventory)
        if not shown:
            pytest.skip("inside this container NVML does not show processes")
    assert len(shown) == 1
    assert pid in shown or not Path(f"/proc/{min(shown)}").exists()  # Else a pid of the host
    assert doubts(inventory, [gpu.uuid], 0, nobody, patience=10) == {}
    assert computing_on(gpu, inventory) == set()


def test_a_gpu_that_somebody_uses_is_not_proven_and_its_memory_comes_back(
    inventory: Inventory, gpu: Gpu
) -> None:
    with somebody_on(gpu):
        reason = doubts(inventory, [gpu.uuid], 0, nobody, patience=0)[gpu.uuid]
    assert "uses it" in reason or "MiB are free" in reason
    assert doubts(inventory, [gpu.uuid], 0, nobody, patience=10) == {}
