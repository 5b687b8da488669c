"""A pool of the GPUs of many nodes, leased through Redis."""

from redis.exceptions import RedisError as PoolUnreachable

from gpupool.inventory import (
    Gpu,
    GpuProcess,
    GpuReading,
    Inventory,
    NoDriver,
    host_memory_mb,
    open_inventory,
)
from gpupool.leases import HELD, KeepAlive, Lease, LeaseLost, LeaseTimeout
from gpupool.pool import GpuPool
from gpupool.proof import doubts
from gpupool.request import HeldLease
from gpupool.scripts import connect
from gpupool.snapshot import GpuState, NodeState, Snapshot, Waiting

__all__ = [
    "HELD",
    "Gpu",
    "GpuPool",
    "GpuProcess",
    "GpuReading",
    "GpuState",
    "HeldLease",
    "Inventory",
    "KeepAlive",
    "Lease",
    "LeaseLost",
    "LeaseTimeout",
    "NoDriver",
    "NodeState",
    "PoolUnreachable",
    "Snapshot",
    "Waiting",
    "connect",
    "doubts",
    "host_memory_mb",
    "open_inventory",
]
