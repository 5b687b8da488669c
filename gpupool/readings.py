"""What NVML tells of one GPU, or of one MIG instance of it, through its handle.

What a GPU, a driver or a user cannot be told is left at a default; that the GPU is lost or the
driver gone is always raised.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pynvml

from gpupool.inventory import Gpu, GpuProcess, GpuReading

MIB = 1024 * 1024
CPU_WORDS = 64  # of 64 bits: NVML's masks have room for 4096 cores
NODE_WORDS = 16

# What a MIG instance has as its index: after all whole GPUs, in their order, and readable:
# 132 is instance 2 of GPU 3. A GPU has at most 7 instances.
FIRST_INSTANCE, INSTANCES_OF_A_GPU = 100, 10

GONE = (
    pynvml.NVMLError_Uninitialized,
    pynvml.NVMLError_DriverNotLoaded,
    pynvml.NVMLError_GpuNotFound,
    pynvml.NVMLError_LibRmVersionMismatch,
    pynvml.NVMLError_LibraryNotFound,
)  # The driver left, was replaced or lost its GPUs: NVML has to be started again
LOST = (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired)

NO_ACTION = pynvml.NVML_GPU_RECOVERY_ACTION_NONE
ACTIONS = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "a reset of the GPU",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "a reboot of the node",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "a reset of the GPU, once it is idle",
}


@dataclass(frozen=True)
class Device:
    """A GPU, or a MIG instance of one, that answered in this reading."""

    index: int
    handle: Any
    uuid: str


@dataclass(frozen=True)
class Place:
    """Where a GPU is in its machine; seldom changes, and costs time to read."""

    numa_cores: tuple[int, ...]
    numa_node: int | None
    links: tuple[str, ...]


def devices() -> tuple[list[Device], dict[int, Exception]]:
    """The GPUs that answer, and of each other index the error."""
    found, unread = [], {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(Device(index, handle, text(pynvml.nvmlDeviceGetUUID(handle))))
        except GONE:
            raise
        except pynvml.NVMLError as error:
            unread[index] = error
    return found, unread


def is_split(handle: Any) -> bool:
    """Whether the GPU is in MIG mode now."""
    mode, _pending = optional((0, 0), pynvml.nvmlDeviceGetMigMode, handle)
    return bool(mode == pynvml.NVML_DEVICE_MIG_ENABLE)


def instances(gpu: Device) -> Iterator[Device]:
    """The MIG instances of a GPU, none when MIG is off; their numbers may have gaps."""
    if not is_split(gpu.handle):
        return
    for number in range(optional(0, pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu.handle)):
        handle = optional(None, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu.handle, number)
        if handle is not None:
            index = FIRST_INSTANCE + INSTANCES_OF_A_GPU * gpu.index + number
            yield Device(index, handle, text(pynvml.nvmlDeviceGetUUID(handle)))


def index_of(index: int, gpu: Gpu) -> int:
    """The index of this GPU, or instance of a GPU, when the whole GPU is at this index now."""
    if not gpu.parent:
        return index
    return FIRST_INSTANCE + INSTANCES_OF_A_GPU * index + gpu.index % INSTANCES_OF_A_GPU


def optional(default: Any, read: Callable[..., Any], *args: Any) -> Any:
    """What the driver tells, or the default: many GPUs, drivers and users lack some readings.

    That the GPU is lost, or the driver gone, is raised all the same.
    """
    try:
        return read(*args)
    except (*LOST, *GONE):
        raise
    except pynvml.NVMLError:
        return default


def utilization(handle: Any) -> float | None:
    """From 0 to 1; a MIG instance and its GPU have no such counter."""
    rates = optional(None, pynvml.nvmlDeviceGetUtilizationRates, handle)
    return None if rates is None else float(rates.gpu) / 100


def power(handle: Any) -> float | None:
    """In watts. A MIG instance tells none, and its GPU that of all of them together."""
    milliwatts = optional(None, pynvml.nvmlDeviceGetPowerUsage, handle)
    return None if milliwatts is None else float(milliwatts) / 1000


def temperature(handle: Any) -> int | None:
    """In °C."""
    sensor = pynvml.NVML_TEMPERATURE_GPU
    degrees: int | None = optional(None, pynvml.nvmlDeviceGetTemperature, handle, sensor)
    if degrees is None:  # The older function is to leave, the newer one is not everywhere yet
        degrees = optional(None, pynvml.nvmlDeviceGetTemperatureV, handle, sensor)
    return degrees


def reading(handle: Any) -> GpuReading:
    """All that changes while a GPU works."""
    memory = optional(None, pynvml.nvmlDeviceGetMemoryInfo, handle)
    return GpuReading(
        utilization=utilization(handle),
        memory_used_mb=None if memory is None else memory.used // MIB,
        memory_total_mb=None if memory is None else memory.total // MIB,
        power_w=power(handle),
        temperature_c=temperature(handle),
    )


def damage(handle: Any) -> str:
    """What makes a GPU that answers unfit for work; empty when it is sound."""
    kind, since_reset = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    errors = optional(0, pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, since_reset)
    rows = optional((0, 0, 0, 0), pynvml.nvmlDeviceGetRemappedRows, handle)
    _corrected, _uncorrected, remap_waits, remap_failed = rows
    if remap_failed:
        return "broken rows of its memory could not be remapped"
    if errors:
        return f"{errors} uncorrectable ECC errors since its last reset"
    if remap_waits:
        return "a reset is needed to remap broken rows of its memory"
    return _recovery(handle)


def _recovery(handle: Any) -> str:
    """What the driver itself asks for, such as a reset after an engine brought the GPU down."""
    field = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    for answer in optional([], pynvml.nvmlDeviceGetFieldValues, handle, [field]):
        action = answer.value.uiVal
        if answer.nvmlReturn == pynvml.NVML_SUCCESS and action != NO_ACTION:
            return f"the driver asks for {ACTIONS.get(action, f'recovery action {action}')}"
    return ""


def why(error: Exception) -> str:
    """Why a GPU that does not answer must not be used."""
    if isinstance(error, pynvml.NVMLError_GpuIsLost):
        return "the driver has lost it"
    if isinstance(error, pynvml.NVMLError_ResetRequired):
        return "it needs a reset"
    return f"it cannot be read: {error}"


def place(handle: Any, links: tuple[str, ...]) -> Place:
    """The surroundings of a GPU that has these neighbours; of the cores, those we may use."""
    scope = pynvml.NVML_AFFINITY_SCOPE_NODE
    cores = optional(None, pynvml.nvmlDeviceGetCpuAffinityWithinScope, handle, CPU_WORDS, scope)
    if cores is None:
        cores = optional((), pynvml.nvmlDeviceGetCpuAffinity, handle, CPU_WORDS)
    nodes = _bits(optional((), pynvml.nvmlDeviceGetMemoryAffinity, handle, NODE_WORDS, scope))
    usable = os.sched_getaffinity(0)  # A container may have fewer cores than the machine
    near = tuple(core for core in _bits(cores) if core in usable)
    return Place(near, nodes[0] if nodes else None, links)


def _bits(mask: Iterable[int]) -> list[int]:
    """The numbers of the bits that are set in a mask of 64-bit words."""
    return [
        64 * word + bit for word, bits in enumerate(mask) for bit in range(64) if bits >> bit & 1
    ]


def links(devices: list[Device]) -> dict[str, tuple[str, ...]]:
    """The GPUs that each can reach over NVLink.

    Asked pair by pair, as that is what the engines' own libraries go by. The links themselves
    tell of lanes, of which some end in a switch, and not who is reached through it.
    """
    found: dict[str, list[str]] = {device.uuid: [] for device in devices}
    for one, other in combinations(devices, 2):
        if _are_linked(one.handle, other.handle):
            found[one.uuid].append(other.uuid)
            found[other.uuid].append(one.uuid)
    return {uuid: tuple(others) for uuid, others in found.items()}


def _are_linked(one: Any, other: Any) -> bool:
    try:
        status = pynvml.nvmlDeviceGetP2PStatus(one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
    except GONE:
        raise
    except pynvml.NVMLError:
        return False  # Also when one of the two is lost: the other is none the worse
    return bool(status == pynvml.NVML_P2P_STATUS_OK)


def processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Those that compute, also through MPS, and those that only draw; by pid."""
    found: dict[int, GpuProcess] = {}
    for read, draws in (
        (pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, True),
        (pynvml.nvmlDeviceGetComputeRunningProcesses_v3, False),
        (pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, False),
    ):
        for process in optional([], read, handle):
            used = process.usedGpuMemory
            memory_mb = None if used is None else used // MIB
            found[process.pid] = GpuProcess(process.pid, memory_mb, draws)
    return tuple(found[pid] for pid in sorted(found))


def text(name: str | bytes) -> str:
    """NVML's names are bytes in some versions of its bindings."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
