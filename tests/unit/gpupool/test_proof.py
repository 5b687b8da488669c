"""When a GPU that was leased may be used, and the words when it may not."""

import subprocess
import time
from collections.abc import Iterator

import pytest

from gpupool.inventory import CpuSlots, Simulated
from gpupool.proof import doubts
from tests.programs.nvml_machine import Machine, machine

DRIVER_NOT_LOADED = 9
NOBODY = 2**22 + 1  # No process has this pid: it is above what Linux gives


@pytest.fixture
def node() -> Iterator[Machine]:
    with machine() as here:
        yield here


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The pid of a process that is there."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def question(*gpus: str, ours: tuple[int, ...] = (), patience: float = 30.0, need: int = 0):
    return {"gpus": gpus, "ours": ours, "patience": patience, "min_memory_mb": need}


def test_gpus_that_nobody_uses_are_proven(node):
    assert node.ask("doubts", **question("GPU-0", "GPU-7")) == {}


def test_a_foreign_process_is_named_at_once(node, sleeper):
    node.processes = [("GPU-1", sleeper, 30211, "c"), ("GPU-3", sleeper, 30211, "c")]
    began = time.monotonic()

    found = node.ask("doubts", **question("GPU-0", "GPU-1"))

    assert found == {"GPU-1": f"process {sleeper} (sleep) uses it, 30211 MiB"}
    assert time.monotonic() - began < 10


def test_of_several_foreign_processes_one_is_named_and_the_rest_counted(node, sleeper):
    node.processes = [("GPU-0", sleeper, -1, "c"), ("GPU-0", 1, 10, "m")]

    (reason,) = node.ask("doubts", **question("GPU-0")).values()

    assert reason.startswith("process 1 (") and reason.endswith(") uses it, 10 MiB and 1 more")


def test_our_own_engine_is_waited_for(node, sleeper):
    node.boards[0].used = 70000
    node.processes = [("GPU-0", sleeper, 70000, "c")]
    node.begin("doubts", **question("GPU-0", ours=(sleeper,)))
    time.sleep(0.5)
    node.processes = []  # It ended, and the driver still gives its memory back
    node.write()
    time.sleep(0.5)
    node.boards[0].used = 600
    node.write()

    assert node.answer() == {}


def test_our_own_engine_that_does_not_go_is_a_doubt_in_the_end(node, sleeper):
    node.processes = [("GPU-0", sleeper, 512, "c")]

    found = node.ask("doubts", **question("GPU-0", ours=(sleeper,), patience=0.4))

    assert found == {"GPU-0": f"our own process {sleeper} (sleep) uses it, 512 MiB"}


def test_memory_that_does_not_come_back_is_a_doubt_in_the_end(node):
    node.boards[2].used = 50000

    found = node.ask("doubts", **question("GPU-2", patience=0.4))

    assert found == {"GPU-2": "31920 MiB are free, 75367 needed"}


@pytest.mark.parametrize(("used", "free"), [(6000, True), (7000, False)])
def test_without_a_minimum_what_an_engine_reserves_by_default_has_to_be_free(node, used, free):
    node.boards[0].used = used

    assert (node.ask("doubts", **question("GPU-0", patience=0)) == {}) is free


def test_a_minimum_above_that_has_to_be_free(node):
    found = node.ask("doubts", **question("GPU-0", patience=0, need=81500))

    assert found == {"GPU-0": "81320 MiB are free, 81500 needed"}


def test_a_foreign_process_is_not_hidden_by_the_wait_for_our_own(node, sleeper):
    node.processes = [("GPU-0", sleeper, 9, "c"), ("GPU-1", 1, 9, "c")]

    found = node.ask("doubts", **question("GPU-0", "GPU-1", ours=(sleeper,)))

    assert list(found) == ["GPU-1"], "GPU-0 had not had its time"


def test_a_process_that_has_just_ended_is_no_foreign_process(node):
    node.processes = [("GPU-0", NOBODY, 9, "c")]
    node.begin("doubts", **question("GPU-0"))
    time.sleep(0.5)
    node.processes = []
    node.write()

    assert node.answer() == {}


def test_a_process_outside_our_container_is_a_doubt_in_the_end(node):
    node.processes = [("GPU-0", NOBODY, 9, "c")]

    found = node.ask("doubts", **question("GPU-0", patience=0.4))

    assert found == {"GPU-0": f"process {NOBODY} uses it, 9 MiB"}


@pytest.mark.parametrize(("mib", "free"), [(40, True), (400, False)])
def test_a_display_server_without_a_screen_disturbs_nobody(node, sleeper, mib, free):
    node.processes = [("GPU-0", sleeper, mib, "g")]

    assert (node.ask("doubts", **question("GPU-0")) == {}) is free


def test_a_gpu_that_is_gone_or_has_a_fault_is_a_doubt_at_once(node):
    node.boards[0].ecc = 2
    del node.boards[7]

    assert node.ask("doubts", **question("GPU-0", "GPU-1", "GPU-7")) == {
        "GPU-0": "2 uncorrectable ECC errors since its last reset",
        "GPU-7": "it is no longer on this node",
    }


def test_a_mig_instance_is_proven_by_its_own_memory_and_processes(node, sleeper):
    node.boards[2].mig = 1
    node.instances = [
        ("GPU-2", "MIG-a", 0, 40448, 30, "Stub 80GB MIG 3g.40gb"),
        ("GPU-2", "MIG-b", 1, 40448, 30000, "Stub 80GB MIG 3g.40gb"),
    ]
    node.processes = [("MIG-b", sleeper, 29900, "c")]

    assert list(node.ask("doubts", **question("MIG-a", "MIG-b"))) == ["MIG-b"]


def test_without_a_driver_every_gpu_is_in_doubt(node):
    node.ask("gpus")
    node.driver = DRIVER_NOT_LOADED

    found = node.ask("doubts", **question("GPU-0", "GPU-1"))

    reason = "No NVIDIA driver answers: Driver Not Loaded."
    assert found == {"GPU-0": reason, "GPU-1": reason}


def never(pid: int) -> bool:
    return False


def test_the_memory_of_the_machine_says_nothing_of_a_cpu_slot():
    slots = CpuSlots("n1", 2, [0, 1])
    uuids = [gpu.uuid for gpu in slots.gpus()]

    assert doubts(slots, uuids, 10**9, never, patience=0) == {}
    assert doubts(slots, ["cpu-n1-2"], 0, never, patience=0) == {
        "cpu-n1-2": "it is no longer on this node"
    }


def test_pretend_gpus_are_always_free():
    assert doubts(Simulated("n1", 1, 80), ["sim-n1-0"], 0, never, patience=0) == {}


def test_who_no_longer_wants_the_gpus_ends_the_wait():
    class Cancelled(Exception):
        pass

    def cancelled() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        doubts(Simulated("n1", 1, 80), ["sim-n1-0"], 0, never, 60, keep_waiting=cancelled)
