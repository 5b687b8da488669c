"""This site's GPU pool, as the settings describe it."""

from functools import cache
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from experiments.marks import mark_of
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


@cache
def site() -> str:
    """A short name for this service on this node, for the marks of its processes.

    Two services on one machine, or two nodes, have different ones. It has no secret in it.
    """
    server = urlsplit(settings.REDIS_URL)
    database = parse_qs(server.query).get("db", [""])[0]
    where = (server.hostname, server.port, server.path, database, settings.NODE)
    return sha256(repr(where).encode()).hexdigest()[:12]


def is_ours(pid: int) -> bool:
    """Whether this process was started for an experiment of this service on this node."""
    mark = mark_of(pid)
    return mark is not None and mark.site == site()
