"""The GPUs of a machine with an NVIDIA driver, and who uses them, read from NVML."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pynvml

from gpupool import readings
from gpupool.inventory import Gpu, GpuProcess, GpuReading, NoDriver
from gpupool.readings import GONE, MIB, Device, Place

log = logging.getLogger(__name__)

KERNEL_LIST = Path("/proc/driver/nvidia/gpus")  # One folder for each GPU the kernel driver has
LOOK_AGAIN = 60.0  # seconds for which neighbourhoods are believed, and a lost GPU is left alone

T = TypeVar("T")

_lock = threading.RLock()  # Nobody restarts NVML while another thread reads
_started = False  # One start for the process, however many inventories it opens


class Nvml:
    """The GPUs that the NVIDIA driver knows; one in MIG mode is its instances."""

    exclusive_memory = True

    def __init__(
        self, node: str, kernel_list: Path = KERNEL_LIST, look_again: float = LOOK_AGAIN
    ) -> None:
        """Raises NoDriver when NVML cannot be started."""
        self._node = node
        self._look_again = look_again
        self._kernel_list = kernel_list
        self._listed = _names(kernel_list)
        self._last: dict[str, list[Gpu]] = {}  # GPU -> what it was published as
        self._at: dict[int, str] = {}  # index -> the GPU last seen there
        self._links: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, Place] = {}
        self._places_until = 0.0
        self._start_again_at = float("inf")
        self._told: dict[str, str] = {}  # GPU -> the fault last warned about
        self._ask(pynvml.nvmlDeviceGetCount)

    def gpus(self) -> list[Gpu]:
        """Every GPU, by index, with fresh readings.

        One that was seen before and cannot be read keeps its last readings and has a fault.
        Raises NoDriver when the driver is gone.
        """
        return self._ask(self._read_all)

    def processes(self) -> dict[str, tuple[GpuProcess, ...]]:
        """The processes on each GPU or MIG instance. Raises NoDriver when the driver is gone.

        Their pids are of the machine: inside a container, NVML may hide or renumber them.
        """
        return self._ask(self._read_processes)

    def power_w(self, gpus: Collection[str]) -> float | None:
        """What these GPUs draw together now, in watts.

        None where one does not tell, is lost, or is a MIG instance, and when the driver is gone.
        """
        try:
            return self._ask(partial(self._read_power, gpus))
        except NoDriver:
            return None

    def readings(self, gpus: Collection[str]) -> dict[str, GpuReading]:
        """How those of these GPUs and MIG instances are used now that answer.

        None of them while the driver is gone.
        """
        try:
            return self._ask(partial(self._read_some, gpus))
        except NoDriver:
            return {}

    def _ask(self, read: Callable[[], T]) -> T:
        """What `read` returns, from an NVML that was started again if that is needed."""
        with _lock:
            listed = _names(self._kernel_list)
            restart_is_due = time.monotonic() >= self._start_again_at
            if not _started or listed != self._listed or restart_is_due:
                _start()  # NVML has those GPUs, and those errors, that it found at its start
                self._start_again_at = float("inf")
            self._listed = listed
            try:
                return read()
            except pynvml.NVMLError:  # What fails for one GPU does not come up to here
                _start()
            try:
                return read()
            except pynvml.NVMLError as error:
                raise NoDriver(f"No NVIDIA driver answers: {error}.") from error

    def _read_all(self) -> list[Gpu]:
        devices, unread = readings.devices()
        self._look_around(devices)
        found = {device.uuid: self._published(device) for device in devices}
        for index, error in unread.items():
            uuid = self._at.get(index, "")
            if uuid in self._last and uuid not in found:
                found[uuid] = self._faulty(Device(index, None, uuid), readings.why(error))
            else:  # Nobody knows which
                self._tell(f"at index {index}", readings.why(error))
        self._tell_changes({device.index: device.uuid for device in devices}, found)
        self._last = found
        return sorted((gpu for gpus in found.values() for gpu in gpus), key=lambda gpu: gpu.index)

    def _published(self, device: Device) -> list[Gpu]:
        """The GPU, or its MIG instances; with a fault when it has one or cannot be read."""
        try:
            whole = self._read(device)
            instances = [self._instance(part, whole) for part in readings.instances(device)]
            is_split = readings.is_split(device.handle)
        except GONE:
            raise
        except pynvml.NVMLError as error:
            return self._faulty(device, readings.why(error))
        if is_split and not instances and not whole.fault:
            whole = replace(whole, fault="MIG is on, without instances")
        self._tell(device.uuid, whole.fault)
        return instances or [whole]

    def _read(self, device: Device) -> Gpu:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device.handle)
        if device.uuid not in self._places:
            self._places[device.uuid] = readings.place(device.handle, self._links[device.uuid])
        place = self._places[device.uuid]
        return Gpu(
            uuid=device.uuid,
            node=self._node,
            index=device.index,
            name=readings.text(pynvml.nvmlDeviceGetName(device.handle)),
            memory_total_mb=memory.total // MIB,
            memory_free_mb=memory.free // MIB,
            utilization=readings.utilization(device.handle) or 0.0,
            numa_cores=place.numa_cores,
            numa_node=place.numa_node,
            temperature_c=readings.temperature(device.handle),
            power_w=readings.power(device.handle),
            links=place.links,
            fault=readings.damage(device.handle),
        )

    def _instance(self, instance: Device, whole: Gpu) -> Gpu:
        """A MIG instance: its own name, memory and processes, and all else of its GPU."""
        memory = pynvml.nvmlDeviceGetMemoryInfo(instance.handle)
        return replace(
            whole,
            uuid=instance.uuid,
            index=instance.index,
            name=readings.text(pynvml.nvmlDeviceGetName(instance.handle)),
            memory_total_mb=memory.total // MIB,
            memory_free_mb=memory.free // MIB,
            utilization=readings.utilization(instance.handle) or 0.0,
            links=(),  # Instances do not reach each other over NVLink
            parent=whole.uuid,
        )

    def _faulty(self, device: Device, fault: str) -> list[Gpu]:
        """What the GPU was last published as, or a GPU of which nothing is known."""
        self._tell(device.uuid, fault)
        if self._start_again_at == float("inf"):
            self._start_again_at = time.monotonic() + self._look_again
        unknown = Gpu(device.uuid, self._node, device.index, "GPU that cannot be read", 0, 0, 0.0)
        return [
            replace(gpu, index=readings.index_of(device.index, gpu), fault=fault)
            for gpu in self._last.get(device.uuid, [unknown])
        ]

    def _tell_changes(self, at: dict[int, str], found: dict[str, list[Gpu]]) -> None:
        """Note which GPU is where, and tell of those that came, went, or changed places."""
        for index, uuid in at.items():
            self._tell(f"at index {index}", "")
            if self._last and self._at.get(index) != uuid:
                log.info("GPU %s of %s has the index %d now.", uuid, self._node, index)
        for uuid in self._last.keys() - found.keys():
            log.warning("GPU %s of %s is no longer there.", uuid, self._node)
            self._told.pop(uuid, None)
        self._at |= at

    def _tell(self, gpu: str, fault: str) -> None:
        """Warn of a fault when it appears or changes, not at every reading."""
        if fault == self._told.get(gpu, ""):
            return
        self._told[gpu] = fault
        if fault:
            log.warning("GPU %s of %s must not be used: %s.", gpu, self._node, fault)
        else:
            log.info("GPU %s of %s can be used again.", gpu, self._node)

    def _look_around(self, devices: list[Device]) -> None:
        """Learn the neighbourhood of all GPUs, when they are others than before or time is up.

        Time matters because NVSwitches carry nothing until their manager has started.
        """
        now = time.monotonic()
        if now < self._places_until and self._links.keys() == {d.uuid for d in devices}:
            return
        self._links, self._places = readings.links(devices), {}
        self._places_until = now + self._look_again

    def _read_power(self, gpus: Collection[str]) -> float | None:
        handles = {device.uuid: device.handle for device in readings.devices()[0]}
        total = 0.0
        for uuid in gpus:
            try:
                watts = readings.power(handles[uuid]) if uuid in handles else None
            except GONE:
                raise
            except pynvml.NVMLError:
                return None  # Its fault says more
            if watts is None:
                return None
            total += watts
        return total

    def _read_some(self, wanted: Collection[str]) -> dict[str, GpuReading]:
        found: dict[str, GpuReading] = {}
        devices = readings.devices()[0]
        has_instances = not {device.uuid for device in devices}.issuperset(wanted)
        for device in devices:
            try:
                parts = [device, *(readings.instances(device) if has_instances else ())]
                found |= {p.uuid: readings.reading(p.handle) for p in parts if p.uuid in wanted}
            except GONE:
                raise
            except pynvml.NVMLError:
                continue  # Its fault says more
        return found

    def _read_processes(self) -> dict[str, tuple[GpuProcess, ...]]:
        found: dict[str, tuple[GpuProcess, ...]] = {}
        for device in readings.devices()[0]:
            try:
                parts = list(readings.instances(device)) or [device]
                found |= {part.uuid: readings.processes(part.handle) for part in parts}
            except GONE:
                raise
            except pynvml.NVMLError:
                found[device.uuid] = ()  # Its fault says more
        return found


def _start() -> None:
    """Start NVML, for the first time or anew; raises NoDriver when it does not start."""
    global _started
    if _started:
        with contextlib.suppress(pynvml.NVMLError):  # It may be the one that cannot answer
            pynvml.nvmlShutdown()
    _started = False
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(f"No NVIDIA driver answers: {error}.") from error
    _started = True


def _names(folder: Path) -> frozenset[str]:
    """The names in a folder; none when there is no such folder."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
