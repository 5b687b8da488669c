"""What a node says it has, for each form of GPUPOOL_INVENTORY."""

import json
import os
from dataclasses import asdict

import pynvml
import pytest

from gpupool.inventory import CpuSlots, Gpu, NoDriver, open_inventory

CORES = sorted(os.sched_getaffinity(0))


def has_driver() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


without_driver = pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")


def test_simulated_gpus_are_free_and_idle():
    assert open_inventory("simulated:2", "n1").gpus() == [
        Gpu("sim-n1-0", "n1", 0, "Simulated GPU", 81920, 81920, 0.0),
        Gpu("sim-n1-1", "n1", 1, "Simulated GPU", 81920, 81920, 0.0),
    ]


def test_simulated_gpus_have_the_memory_asked_for():
    gpus = open_inventory("simulated:3x24576", "n1").gpus()

    assert [gpu.memory_total_mb for gpu in gpus] == [24576] * 3
    assert [gpu.memory_free_mb for gpu in gpus] == [24576] * 3


def test_the_caller_cannot_change_an_inventory():
    inventory = open_inventory("simulated:1", "n1")

    inventory.gpus().clear()

    assert len(inventory.gpus()) == 1


def test_a_cpu_slot_for_each_core_has_that_core():
    gpus = open_inventory(f"cpu:{len(CORES)}", "n1").gpus()

    assert [gpu.cores for gpu in gpus] == [(core,) for core in CORES]
    assert [gpu.uuid for gpu in gpus] == [f"cpu-n1-{i}" for i in range(len(CORES))]


@pytest.mark.parametrize(
    ("slots", "shares"),
    [
        (1, [(0, 1, 4, 5, 6, 7, 8)]),
        (2, [(0, 1, 4), (5, 6, 7, 8)]),
        (3, [(0, 1), (4, 5), (6, 7, 8)]),
        (7, [(0,), (1,), (4,), (5,), (6,), (7,), (8,)]),
    ],
)
def test_cpu_slots_are_disjoint_runs_of_cores_as_equal_as_possible(slots, shares):
    gpus = CpuSlots("n1", slots, [0, 1, 4, 5, 6, 7, 8]).gpus()

    assert [gpu.cores for gpu in gpus] == shares


def test_cpu_slots_share_the_memory_of_the_machine():
    whole = open_inventory("cpu:1", "n1").gpus()[0]
    parts = CpuSlots("n1", 4, [0, 1, 2, 3]).gpus()

    assert {gpu.memory_total_mb for gpu in parts} == {whole.memory_total_mb // 4}
    assert all(0 < gpu.memory_free_mb <= gpu.memory_total_mb for gpu in parts)
    assert all(gpu.utilization == 0 for gpu in parts)


@pytest.mark.parametrize("spec", ["cpu:1", "simulated:2"])
def test_what_is_no_gpu_has_no_processes_and_no_memory_of_its_own(spec):
    inventory = open_inventory(spec, "n1")

    assert inventory.processes() == {}
    assert not inventory.exclusive_memory


def test_a_gpu_is_published_as_json():
    (gpu,) = open_inventory("cpu:1", "n1").gpus()

    published = json.loads(json.dumps(asdict(gpu)))

    assert published["numa_cores"] == published["links"] == []
    assert published["temperature_c"] is published["power_w"] is published["numa_node"] is None
    assert published["parent"] == published["fault"] == ""


def test_more_cpu_slots_than_cores_are_refused():
    with pytest.raises(ValueError, match=r"GPUPOOL_INVENTORY: cpu:9 needs 9 cores, .* use 8"):
        CpuSlots("n1", 9, range(8))


@pytest.mark.parametrize(
    "spec",
    ["", "gpu", "cpu", "cpu:", "cpu:0", "cpu:-1", "cpu:two", "simulated:0", "simulated:2x",
     "simulated:2x0", "simulated:2*100", "NVML"],
)  # fmt: skip
def test_a_form_that_nobody_knows_is_refused_with_those_that_are_known(spec):
    with pytest.raises(ValueError, match=r"^GPUPOOL_INVENTORY: .*auto, nvml, cpu:K, simulated:N"):
        open_inventory(spec, "n1")


@without_driver
def test_auto_without_a_driver_is_two_slots_that_share_the_cores():
    gpus = open_inventory("auto", "n1").gpus()

    assert len(gpus) == min(2, len(CORES))
    assert sorted(core for gpu in gpus for core in gpu.cores) == CORES


@without_driver
def test_nvml_without_a_driver_says_so():
    with pytest.raises(NoDriver, match="No NVIDIA driver answers"):
        open_inventory("nvml", "n1")
