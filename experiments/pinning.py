"""Which cores an engine and its load generator run on, so that neighbours disturb little.

A CPU slot owns its cores. A real GPU has cores near it, those of its NUMA node, which it shares
with the other GPUs of that node: each gets an equal part of them, and gives some of its part to the
load generator. So engines, and the generators beside them, are on disjoint cores.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gpupool import Gpu

LEAST = 4  # cores of a GPU's part; on fewer an engine is better off with all of the machine
GENERATORS = 8  # One of so many of a GPU's cores is for the load generator, at least one


@dataclass(frozen=True)
class Cores:
    """Empty sets: not pinned. `is_slot`: the cores are all that the engine has; there is no GPU."""

    engine: set[int] = field(default_factory=set)
    generator: set[int] = field(default_factory=set)
    is_slot: bool = False


def cores_for(gpus: Sequence[Gpu], leased: Collection[str], available: Collection[int]) -> Cores:
    """The cores for what runs on the `leased` ones of a node's `gpus`; `available` are those that
    this process may use.
    """
    mine = [gpu for gpu in gpus if gpu.uuid in leased]
    owned = {core for gpu in mine for core in gpu.cores}
    if owned:
        return Cores(owned, set(available) - owned, is_slot=True)
    engine: set[int] = set()
    generator: set[int] = set()
    for gpu in mine:
        part = _part(gpu, gpus, available)
        if len(part) < LEAST:
            return Cores()
        for_generator = max(1, len(part) // GENERATORS)
        engine |= set(part[:-for_generator])
        generator |= set(part[-for_generator:])
    return Cores(engine, generator)


def _part(gpu: Gpu, gpus: Sequence[Gpu], available: Collection[int]) -> list[int]:
    """The GPU's own part of the cores near it."""
    near = sorted(set(gpu.numa_cores) & set(available))
    beside = sorted(one.uuid for one in gpus if one.numa_cores == gpu.numa_cores)
    size = len(near) // len(beside)
    first = beside.index(gpu.uuid) * size
    return near[first : first + size]
