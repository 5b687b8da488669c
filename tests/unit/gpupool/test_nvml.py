"""What a node publishes of real GPUs, told by an NVML library that does as the test says."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs.nvml_machine import Board, Machine, machine

CORES = sorted(os.sched_getaffinity(0))
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, NO_FUNCTION, LOST, RESET = 3, 4, 9, 13, 15, 16
OPTIONAL = [
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetCpuAffinityWithinScope",
    "nvmlDeviceGetCpuAffinity",
    "nvmlDeviceGetMemoryAffinity",
    "nvmlDeviceGetP2PStatus",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
]


@pytest.fixture
def node() -> Iterator[Machine]:
    with machine() as here:
        yield here


def gpus(node: Machine) -> dict[str, dict[str, Any]]:
    """What is published now, by UUID, in the order in which it is."""
    return {gpu["uuid"]: gpu for gpu in node.ask("gpus")}


def split(node: Machine, board: int) -> None:
    """MIG mode with two instances of different sizes, and a gap between them."""
    gpu = node.boards[board]
    gpu.mig = 1
    node.instances = [
        (gpu.uuid, "MIG-a", 0, 40448, 30, "Stub 80GB MIG 3g.40gb"),
        (gpu.uuid, "MIG-b", 2, 9856, 12, "Stub 80GB MIG 1g.10gb"),
    ]


def test_each_gpu_is_told_with_all_that_the_driver_knows(node):
    node.boards[3] = Board(
        "GPU-x", total=24576, used=4000, utilization=37, temperature=61, milliwatts=301_500,
        node=1, cores=f"{CORES[0]},4000", name="NVIDIA Stub 24GB",
    )  # fmt: skip
    node.links = [("GPU-x", "GPU-1"), ("GPU-7", "GPU-x")]

    published = node.ask("gpus")

    assert [gpu["index"] for gpu in published] == list(range(8))
    assert published[3] == {
        "uuid": "GPU-x",
        "node": "n1",
        "index": 3,
        "name": "NVIDIA Stub 24GB",
        "memory_total_mb": 24576,
        "memory_free_mb": 20576,
        "utilization": 0.37,
        "cores": [],
        "numa_cores": [CORES[0]],  # Not core 4000, which this process may not use
        "numa_node": 1,
        "temperature_c": 61,
        "power_w": 301.5,
        "links": ["GPU-1", "GPU-7"],
        "parent": "",
        "fault": "",
    }
    assert published[1]["links"] == ["GPU-x"] and published[0]["links"] == []


def test_gpus_on_a_switch_are_all_neighbours(node):
    uuids = [board.uuid for board in node.boards]
    node.links = [(one, other) for one in uuids for other in uuids if one < other]

    for uuid, gpu in gpus(node).items():
        assert gpu["links"] == [other for other in uuids if other != uuid]


def test_readings_are_fresh_and_the_neighbourhood_is_not_asked_for_each_time(node):
    gpus(node)
    pairs = node.ask("pairs asked")
    node.boards[2].used, node.boards[2].utilization = 70000, 99

    gpu = gpus(node)["GPU-2"]

    assert (gpu["memory_free_mb"], gpu["utilization"]) == (11920, 0.99)
    assert pairs == 28 and node.ask("pairs asked") == pairs


def test_a_neighbourhood_that_comes_up_later_is_noticed():
    with machine(look_again=0) as node:
        assert gpus(node)["GPU-0"]["links"] == []
        node.links = [("GPU-0", "GPU-5")]
        assert gpus(node)["GPU-0"]["links"] == ["GPU-5"]


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, NO_FUNCTION, 999])
def test_a_reading_that_the_driver_refuses_loses_no_gpu(node, code):
    node.processes = [("GPU-0", 4711, 100, "c")]
    node.answers = [(function, code, "*") for function in OPTIONAL]

    published = node.ask("gpus")

    assert len(published) == 8
    for gpu in published:
        assert gpu["memory_free_mb"] == 81320 and gpu["utilization"] == 0
        assert gpu["numa_cores"] == gpu["links"] == [] and gpu["fault"] == ""
        assert gpu["numa_node"] is gpu["temperature_c"] is gpu["power_w"] is None
    assert node.ask("processes") == {f"GPU-{n}": [] for n in range(8)}


def test_the_power_of_some_gpus_is_their_sum_or_is_not_known(node):
    node.boards[1].milliwatts, node.boards[2].milliwatts = 100_500, 200_000
    assert node.ask("power", gpus=["GPU-1", "GPU-2"]) == 300.5
    assert node.ask("power", gpus=["GPU-1", "GPU-x"]) is None
    for code in (NOT_SUPPORTED, LOST):
        node.answers = [("nvmlDeviceGetPowerUsage", code, "GPU-2")]
        assert node.ask("power", gpus=["GPU-1", "GPU-2"]) is None
        assert node.ask("power", gpus=["GPU-1"]) == 100.5
    node.answers, node.driver = [], DRIVER_NOT_LOADED
    assert node.ask("power", gpus=["GPU-1"]) is None


def test_an_instance_of_a_gpu_has_no_power_of_its_own(node):
    split(node, 0)
    assert node.ask("power", gpus=["MIG-a"]) is None


def test_how_gpus_are_used_now_is_told_of_those_that_are_asked_for(node):
    node.boards[1] = Board("GPU-1", 81920, 40_000, 87, 61, 412_400)
    told = {"memory_total_mb": 81920, "memory_used_mb": 40_000, "temperature_c": 61}
    reading = {"utilization": 0.87, "power_w": 412.4, **told}
    assert node.ask("readings", gpus=["GPU-1", "GPU-x"]) == {"GPU-1": reading}
    node.answers = [("nvmlDeviceGetPowerUsage", NOT_SUPPORTED, "GPU-1")]
    node.answers += [("nvmlDeviceGetUtilizationRates", NO_PERMISSION, "GPU-1")]
    unknown = {"utilization": None, "power_w": None}
    assert node.ask("readings", gpus=["GPU-1"]) == {"GPU-1": {**reading, **unknown}}


def test_a_lost_gpu_is_not_told_of_and_hides_no_other(node):
    node.answers = [("nvmlDeviceGetMemoryInfo", LOST, "GPU-1")]
    assert list(node.ask("readings", gpus=["GPU-1", "GPU-2"])) == ["GPU-2"]
    node.answers, node.driver = [], DRIVER_NOT_LOADED
    assert node.ask("readings", gpus=["GPU-1", "GPU-2"]) == {}


def test_an_instance_of_a_gpu_has_its_own_memory_and_tells_no_more(node):
    split(node, 0)
    node.answers = [
        (name, NOT_SUPPORTED, "MIG-a")
        for name in (
            *("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"),
            *("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"),
        )
    ]
    told = node.ask("readings", gpus=["MIG-a"])["MIG-a"]
    assert (told.pop("memory_total_mb"), told.pop("memory_used_mb")) == (40448, 30)
    assert set(told.values()) == {None}


def test_the_newer_and_the_older_way_to_ask_are_both_known(node):
    node.boards[0].cores = str(CORES[-1])
    node.answers = [
        ("nvmlDeviceGetTemperature", NO_FUNCTION, "*"),
        ("nvmlDeviceGetCpuAffinityWithinScope", NO_FUNCTION, "*"),
    ]

    gpu = gpus(node)["GPU-0"]

    assert gpu["temperature_c"] == 30 and gpu["numa_cores"] == [CORES[-1]]


def test_a_gpu_that_is_added_removed_or_moved_is_noticed(node):
    gpus(node)
    del node.boards[1]
    node.boards.append(Board("GPU-new"))

    places = {uuid: gpu["index"] for uuid, gpu in gpus(node).items()}

    rest = {f"GPU-{n}": n - 1 for n in range(2, 8)}
    assert places == {"GPU-0": 0, **rest, "GPU-new": 7}
    assert "WARNING GPU GPU-1 of n1 is no longer there." in node.logged
    assert "INFO GPU GPU-new of n1 has the index 7 now." in node.logged


def test_a_library_that_lists_gpus_at_its_start_only_is_started_again(node):
    node.enumerates = "at_start"
    assert len(gpus(node)) == 8

    node.boards.append(Board("GPU-new"))
    assert len(gpus(node)) == 8, "what the stub is for"
    (node.kernel_list / "0000:9c:00.0").mkdir()  # As the kernel's driver says it

    assert list(gpus(node)) == [f"GPU-{n}" for n in range(8)] + ["GPU-new"]


def test_a_lost_gpu_stays_listed_with_its_last_readings_until_it_is_back(node):
    before = gpus(node)
    node.boards[4].lost, node.boards[4].used = 1, 5

    lost = gpus(node)

    assert list(lost) == list(before)
    assert lost["GPU-4"] == {**before["GPU-4"], "fault": "the driver has lost it"}
    assert all(gpu == before[uuid] for uuid, gpu in lost.items() if uuid != "GPU-4")
    assert "GPU-4" not in node.ask("processes")
    node.boards[4].lost = 0
    assert gpus(node)["GPU-4"]["fault"] == ""


def test_a_lost_gpu_is_warned_about_once(node):
    gpus(node)
    node.boards[4].lost = 1
    for _ in range(3):
        gpus(node)
    node.boards[4].lost = 0
    gpus(node)

    assert node.logged == [
        "WARNING GPU GPU-4 of n1 must not be used: the driver has lost it.",
        "INFO GPU GPU-4 of n1 can be used again.",
    ]


def test_a_lost_gpu_that_nobody_saw_is_a_warning_as_nobody_knows_which_it_is(node):
    node.boards[4].lost = 1

    assert "GPU-4" not in gpus(node) and len(gpus(node)) == 7
    assert node.logged == ["WARNING GPU at index 4 of n1 must not be used: the driver has lost it."]


@pytest.mark.parametrize(
    ("function", "code", "fault"),
    [
        ("nvmlDeviceGetMemoryInfo", LOST, "the driver has lost it"),
        ("nvmlDeviceGetTemperature", LOST, "the driver has lost it"),
        ("nvmlDeviceGetPowerUsage", RESET, "it needs a reset"),
        ("nvmlDeviceGetMemoryInfo", 999, "it cannot be read: Unknown Error"),
    ],
)
def test_a_gpu_that_fails_at_any_reading_has_a_fault(node, function, code, fault):
    node.answers = [(function, code, "GPU-6")]
    unknown = gpus(node)["GPU-6"]
    node.answers = []
    before = gpus(node)["GPU-6"]
    node.answers = [(function, code, "GPU-6")]

    assert (unknown["fault"], unknown["memory_total_mb"]) == (fault, 0)
    assert gpus(node)["GPU-6"] == {**before, "fault": fault}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("ecc", "1 uncorrectable ECC errors since its last reset"),
        ("remap_waits", "a reset is needed to remap broken rows of its memory"),
        ("remap_failed", "broken rows of its memory could not be remapped"),
        ("recovery", "the driver asks for a reset of the GPU"),
    ],
)
def test_a_gpu_that_is_damaged_has_a_fault(node, damage, fault):
    setattr(node.boards[1], damage, 1)

    faults = {uuid: gpu["fault"] for uuid, gpu in gpus(node).items()}

    assert faults == {f"GPU-{n}": fault if n == 1 else "" for n in range(8)}


def test_a_gpu_in_mig_mode_is_its_instances(node):
    split(node, 2)
    node.boards[2].cores = str(CORES[0])
    node.links = [("GPU-0", "GPU-1")]

    published = gpus(node)

    assert list(published)[-2:] == ["MIG-a", "MIG-b"] and "GPU-2" not in published
    assert published["MIG-b"] == {
        **published["MIG-a"],
        "uuid": "MIG-b",
        "index": 122,
        "name": "Stub 80GB MIG 1g.10gb",
        "memory_total_mb": 9856,
        "memory_free_mb": 9844,
    }
    first = published["MIG-a"]
    assert (first["index"], first["parent"], first["links"]) == (120, "GPU-2", [])
    assert (first["temperature_c"], first["numa_cores"]) == (30, [CORES[0]])
    assert first["memory_free_mb"] == 40418 and first["fault"] == ""


def test_the_faults_of_a_gpu_are_those_of_its_instances(node):
    split(node, 2)
    gpus(node)
    node.boards[2].ecc = 3
    damaged = gpus(node)
    node.boards[2].ecc, node.boards[2].lost = 0, 1
    lost = gpus(node)

    for instance in "MIG-a", "MIG-b":
        assert damaged[instance]["fault"].startswith("3 uncorrectable")
        assert lost[instance]["fault"] == "the driver has lost it"
    assert (lost["MIG-a"]["index"], lost["MIG-b"]["index"]) == (120, 122)


def test_mig_mode_without_instances_is_a_fault_of_the_gpu(node):
    node.boards[2].mig = 1

    assert gpus(node)["GPU-2"]["fault"] == "MIG is on, without instances"


def test_the_processes_of_each_gpu_are_told_once_with_their_memory(node):
    node.processes = [
        ("GPU-0", 20, 3000, "c"),
        ("GPU-0", 20, 3000, "g"),
        ("GPU-0", 10, 4, "g"),
        ("GPU-1", 30, -1, "m"),
    ]

    users = node.ask("processes")

    assert users["GPU-0"] == [
        {"pid": 10, "memory_mb": 4, "draws_only": True},
        {"pid": 20, "memory_mb": 3000, "draws_only": False},
    ]
    assert users["GPU-1"] == [{"pid": 30, "memory_mb": None, "draws_only": False}]
    assert users["GPU-2"] == []


def test_the_processes_of_a_gpu_in_mig_mode_are_those_of_its_instances(node):
    split(node, 2)
    node.processes = [("GPU-2", 10, 5, "c"), ("GPU-2", 20, 7, "c"), ("MIG-b", 20, 7, "c")]

    users = node.ask("processes")

    assert "GPU-2" not in users and users["MIG-a"] == []
    assert [user["pid"] for user in users["MIG-b"]] == [20]


def test_a_driver_that_was_restarted_is_asked_again(node):
    before = gpus(node)
    node.generation += 1

    assert gpus(node) == before
    node.generation += 1
    assert node.ask("processes") == {uuid: [] for uuid in before}


def test_a_driver_that_is_gone_is_said_to_be_and_found_when_it_is_back(node):
    before = gpus(node)
    node.driver = DRIVER_NOT_LOADED
    gone = "NoDriver: No NVIDIA driver answers: Driver Not Loaded."

    assert node.ask("gpus") == gone and node.ask("processes") == gone
    node.driver, node.generation = 0, 2
    assert gpus(node) == before


def test_nvml_without_its_driver_is_no_inventory(node):
    node.driver = DRIVER_NOT_LOADED

    assert node.ask("gpus") == "NoDriver: No NVIDIA driver answers: Driver Not Loaded."


def test_a_lost_gpu_that_only_a_new_start_brings_back_comes_back():
    with machine(look_again=0.2) as node:
        node.enumerates = "at_start"
        gpus(node)
        changed = node.boards.pop()
        assert gpus(node)["GPU-7"]["fault"] == "the driver has lost it"
        time.sleep(0.2)
        assert "GPU-7" not in gpus(node)
        node.boards.append(changed)
        node.generation += 1
        assert gpus(node)["GPU-7"]["fault"] == ""
