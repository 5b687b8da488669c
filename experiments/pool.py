"""This site's GPU pool, as the settings describe it."""

from functools import cache

from django.conf import settings

from gpupool import GpuPool, Inventory, connect, open_inventory


@cache
def gpu_pool() -> GpuPool:
    """The pool on this site's Redis; one connection pool per process."""
    return GpuPool(
        connect(settings.REDIS_URL),
        ttl=settings.GPUPOOL_LEASE_TTL,
        # Our own server keeps a file, and all its users live and die with this machine
        loses_nothing=settings.EMBEDDED_REDIS,
    )


@cache
def inventory() -> Inventory:
    """This node's GPUs; opened once per process, for a driver does not survive a fork.

    Raises ValueError for a GPUPOOL_INVENTORY that cannot be used, NoDriver without a driver.
    """
    return open_inventory(settings.GPUPOOL_INVENTORY, settings.NODE)
