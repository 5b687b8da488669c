"""The connection to Redis, its keys, and the Lua scripts in lua/ that decide inside it.

Every key begins with the prefix, which is a hash tag, so that all are in one slot of a cluster.
Each script is told all of them, in this order:

    pool        hash: epoch, run (of Redis), opens, clock, wall, token, requests: see state.lua
    nodes       hash: node -> JSON of its GPUs and host memory, as last published, for people
    heard       zset: node, scored by the millisecond it was last heard from
    draining    hash: node -> why nothing more is granted there
    offers      hash: node -> JSON of what it has to grant; not of a draining or silent node
    free        hash: node of which something may be free -> what, or '': to be looked up
    held        hash: GPU -> the id of its lease, the millisecond it may be free, its node
    host        hash: node -> MiB of host memory that its leases have reserved
    quarantine  hash: GPU -> JSON: node, why, until
    leases      hash: lease id -> JSON of the lease, without its end
    holders     hash: holder -> its lease's id
    waiting     hash: holder -> JSON of its request
    queue       zset: shape, order and holder of each request that may be granted
    shapes      hash: shape -> how many of them are in the queue
    reserved    hash: holder -> the node that its request has reserved
    groups      hash: group -> its leases, its requests in the queue, its limit
    members     zset: group, order and holder of each of its requests that waits
    due         zset: what ends by itself, scored by the millisecond it does: a lease, a request
                that is not repeated, a quarantine, a node's word that it is alive
    sizes       hash: node -> what it has to grant in all: see `size_of` in order.lua

Notices are published, not kept: `granted:<holder>` with the lease, `told:<lease id>` when a lease
has ended or was revoked. All times are milliseconds of the pool's clock.
"""

from pathlib import Path

import redis
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.retry import Retry

LUA = Path(__file__).parent / "lua"
KEYS = (
    *("pool", "nodes", "heard", "draining", "offers", "free", "held", "host", "quarantine"),
    *("leases", "holders", "waiting", "queue", "shapes", "reserved", "groups", "members", "due"),
    "sizes",
)
# Before each script: names and clock, how things are written down, what is free, which GPUs of it,
# and whose turn it is.
SHARED = ("state", "books", "free", "choice", "order")


def connect(url: str) -> redis.Redis:
    """A client for a redis://, rediss:// or unix:// URL; it connects at its first command.

    Timeouts and retries are explicit because a library's defaults change: a Redis that hangs
    must raise, and never hold up a holder for ever.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=3,
        socket_timeout=10,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 1),
    )


def source(name: str) -> str:
    """The whole text of the script lua/<name>.lua, with what every script begins with."""
    parts = (*SHARED, name)
    return "\n".join((LUA / f"{part}.lua").read_text(encoding="utf-8") for part in parts)


def load(client: redis.Redis, name: str) -> Script:
    """That script, called by its hash and sent again to a Redis that does not know it."""
    return client.register_script(source(name))
