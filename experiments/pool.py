"""This site's GPU pool, as the settings describe it."""

from functools import cache

from django.conf import settings

from gpupool import GpuPool, connect


@cache
def gpu_pool() -> GpuPool:
    """The pool on this site's Redis; one connection pool per process."""
    return GpuPool(connect(settings.REDIS_URL), ttl=settings.GPUPOOL_LEASE_TTL)
