"""What GPUs this node has: read from NVML, or CPU slots and pretend GPUs in their place."""

import logging
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SIMULATED_MEMORY_MB = 80 * 1024
MOST_CPU_SLOTS = 2  # of `auto`: a CPU engine wants several cores

FORMS = "auto, nvml, cpu:K, simulated:N or simulated:NxMEMORY_MB"


class NoDriver(RuntimeError):
    """No NVIDIA driver answers on this machine."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, or what stands in for one, as it was when it was read.

    Memory is in MiB, `utilization` from 0 to 1, `temperature_c` in °C and `power_w` in watts;
    None is what the driver does not tell. `cores` are those that a CPU slot owns and pins its
    engine to; a real GPU owns none. `numa_cores` are those of its NUMA node: near it, shared.
    `links` are the UUIDs of the GPUs of this node that it reaches over NVLink. `parent` is the
    UUID of the GPU that a MIG instance is a part of. `fault` says why it must not be granted;
    a healthy GPU has none.
    """

    uuid: str
    node: str
    index: int
    name: str
    memory_total_mb: int
    memory_free_mb: int
    utilization: float
    cores: tuple[int, ...] = ()
    numa_cores: tuple[int, ...] = ()
    numa_node: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    links: tuple[str, ...] = ()
    parent: str = ""
    fault: str = ""


@dataclass(frozen=True)
class GpuProcess:
    """A process that uses a GPU, with how much of its memory in MiB: None where nobody tells.

    `draws_only` is one that draws and computes nothing, such as a display server.
    """

    pid: int
    memory_mb: int | None
    draws_only: bool = False


@dataclass(frozen=True)
class GpuReading:
    """How a GPU is used at a moment, in the units of `Gpu`; None is what is not told."""

    utilization: float | None
    memory_used_mb: int | None
    memory_total_mb: int | None
    power_w: float | None
    temperature_c: int | None


class Inventory(Protocol):
    """The GPUs of one node."""

    exclusive_memory: bool
    """Whether each GPU's memory is its own: what is not free there, somebody uses there."""

    def gpus(self) -> list[Gpu]:
        """Every GPU, with fresh readings, by index. Raises NoDriver when its driver is gone."""
        ...

    def processes(self) -> dict[str, tuple[GpuProcess, ...]]:
        """The processes that use each GPU now, by its UUID. Raises NoDriver as `gpus` does."""
        ...

    def power_w(self, gpus: Collection[str]) -> float | None:
        """What these GPUs draw together now, in watts; None where it is not told of each."""
        ...

    def readings(self, gpus: Collection[str]) -> dict[str, GpuReading] | None:
        """How those of these GPUs are used now that answer; None where none is ever told."""
        ...


def open_inventory(spec: str, node: str) -> Inventory:
    """The inventory that GPUPOOL_INVENTORY asks for, on the node of this name.

    Raises ValueError for a specification that cannot be used, NoDriver for `nvml` on a machine
    without one.
    """
    from gpupool.nvml import Nvml  # It is made of what this module defines

    spec = spec.strip()
    if spec == "auto":
        return _whatever_is_here(node)
    if spec == "nvml":
        return Nvml(node)
    if match := re.fullmatch(r"cpu:([1-9]\d*)", spec):
        return CpuSlots(node, int(match[1]), sorted(os.sched_getaffinity(0)))
    if match := re.fullmatch(r"simulated:([1-9]\d*)(?:x([1-9]\d*))?", spec):
        return Simulated(node, int(match[1]), int(match[2] or SIMULATED_MEMORY_MB))
    raise ValueError(f"GPUPOOL_INVENTORY: {spec!r} is not one of {FORMS} (K, N: 1 or more)")


def _whatever_is_here(node: str) -> Inventory:
    from gpupool.nvml import Nvml

    try:
        return Nvml(node)
    except NoDriver as reason:
        cores = sorted(os.sched_getaffinity(0))
        slots = min(len(cores), MOST_CPU_SLOTS)
        log.info("%s Using %d CPU slots instead.", reason, slots)
        return CpuSlots(node, slots, cores)


class CpuSlots:
    """Shares of this machine's cores and memory, for real engines without a GPU."""

    exclusive_memory = False

    def __init__(self, node: str, slots: int, cores: Sequence[int]) -> None:
        """Raises ValueError when there are more slots than cores."""
        if slots > len(cores):
            raise ValueError(
                f"GPUPOOL_INVENTORY: cpu:{slots} needs {slots} cores,"
                f" and this process may use {len(cores)}"
            )
        self._node = node
        self._shares = _share(cores, slots)

    def gpus(self) -> list[Gpu]:
        """The slots; their memory is an equal share of the machine's, now."""
        total, available = _memory_mb()
        slots = len(self._shares)
        return [
            Gpu(
                uuid=f"cpu-{self._node}-{index}",
                node=self._node,
                index=index,
                name="CPU slot, 1 core" if len(cores) == 1 else f"CPU slot, {len(cores)} cores",
                memory_total_mb=total // slots,
                memory_free_mb=available // slots,
                utilization=0.0,  # Who uses a slot is known to the pool alone
                cores=cores,
            )
            for index, cores in enumerate(self._shares)
        ]

    def processes(self) -> dict[str, tuple[GpuProcess, ...]]:
        """None: who uses a core is known to the pool alone."""
        return {}

    def power_w(self, gpus: Collection[str]) -> float | None:
        """Not told: of a core alone nobody knows it."""
        return None

    def readings(self, gpus: Collection[str]) -> None:
        """Never told: a slot is no GPU."""


def _share(cores: Sequence[int], slots: int) -> list[tuple[int, ...]]:
    """Disjoint runs of neighbouring cores, as equal as possible, that use all of them."""
    bounds = [slot * len(cores) // slots for slot in range(slots + 1)]
    return [tuple(cores[low:high]) for low, high in pairwise(bounds)]


def _memory_mb() -> tuple[int, int]:
    """The machine's total and available memory, in MiB."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["MemTotal"] // 1024, kib["MemAvailable"] // 1024


def host_memory_mb(ours_mb: int) -> int:
    """The host memory, in MiB, that is ours or free: what all leases here may have together.

    `ours_mb` is what our own processes use now.
    """
    total, available = _memory_mb()
    return min(total, available + ours_mb)


class Simulated:
    """GPUs that do not exist, always idle: for planning and for tests."""

    exclusive_memory = False

    def __init__(self, node: str, count: int, memory_mb: int) -> None:
        self._gpus = [
            Gpu(
                uuid=f"sim-{node}-{index}",
                node=node,
                index=index,
                name="Simulated GPU",
                memory_total_mb=memory_mb,
                memory_free_mb=memory_mb,
                utilization=0.0,
            )
            for index in range(count)
        ]

    def gpus(self) -> list[Gpu]:
        """The same GPUs at every call."""
        return list(self._gpus)

    def processes(self) -> dict[str, tuple[GpuProcess, ...]]:
        """None: nobody can use them."""
        return {}

    def power_w(self, gpus: Collection[str]) -> float | None:
        """Not told: they draw none."""
        return None

    def readings(self, gpus: Collection[str]) -> None:
        """Never told: nothing uses them."""
