"""A pool of the GPUs of many nodes, leased through Redis."""

from redis.exceptions import RedisError as PoolUnreachable

from gpupool.inventory import Gpu, Inventory, NoDriver, open_inventory
from gpupool.leases import KeepAlive, Lease
from gpupool.pool import GpuPool, GpuState, Waiting
from gpupool.scripts import connect

__all__ = [
    "Gpu",
    "GpuPool",
    "GpuState",
    "Inventory",
    "KeepAlive",
    "Lease",
    "NoDriver",
    "PoolUnreachable",
    "Waiting",
    "connect",
    "open_inventory",
]
