"""The connection to Redis, its keys, and the Lua scripts in lua/ that decide inside it.

Every key begins with the prefix, which is a hash tag, so that all are in one slot of a cluster.
Each script is told all of them, in this order:

    book    hash: everything that is looked up by its name, see below
    free    hash: node of which something is free -> which of its rows: see free.lua
    held    hash: GPU -> the id of its lease, the millisecond it may be free, its node
    sizes   hash: node -> what it has to grant in all: see `size_of` in free.lua
    shapes  hash: shape -> how many requests of it are in the queue
    queue   zset: shape, order and holder of each request that may be granted;
            "group <name>", order and holder of each request of a group that waits
    due     zset: name in the book of what ends by itself, scored by the millisecond it does: a
            lease, a request that is not repeated, a quarantine; a node's word that it is alive,
            as `node`, and that it is there at all, as `listed`

The book has, by name:

    epoch <form>, run (of Redis), opens, clock, wall, token, requests: see state.lua
    node <name>, heard <name>   JSON of its GPUs and host memory, as last published, for people;
                                the millisecond it was last heard from
    draining <node>             why nothing more is granted there
    offer <node>                JSON of what it has to grant; not of a draining or silent node
    rows <node>                 the GPUs of its offer that can be granted, a line each: see free.lua
    host <node>                 MiB of host memory that its leases have reserved
    quarantine <GPU>            JSON: node, why, until
    lease <id>                  JSON of the lease, without its end
    holder <holder>             its lease's id
    request <holder>            JSON of its request, while it waits
    reserved <holder>           the node that its request has reserved
    group <name>                its leases, its requests in the queue, its limit

Few keys, for each costs a call time: a client must declare all that a script may touch.

Notices are published, not kept: `granted:<holder>` with the lease, `told:<lease id>` when a lease
has ended or was revoked. All times are milliseconds of the pool's clock.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

LUA = Path(__file__).parent / "lua"
KEYS = ("book", "free", "held", "sizes", "shapes", "queue", "due")

# Before each script: what it may need, in this order. Most of it is a function of that name, called
# where it is needed: to make the functions inside costs time, and most calls need few of them.
SHARED = (
    *("state", "free", "nodes", "queue", "books"),
    *("several", "choice", "place", "reserve", "order", "turn"),
)
RUN_AT_ONCE = ("state", "free", "books", "turn")


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


@cache
def source(name: str) -> str:
    """The whole text of the script lua/<name>.lua, with what every script begins with."""
    return "\n".join(_part(part) for part in (*SHARED, name))


def _part(name: str) -> str:
    text = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    if name in SHARED and name not in RUN_AT_ONCE:
        return f"local function {name}()\n{text}end\n"
    return text


def command(text: str, keys: Sequence[bytes]) -> tuple[Any, ...]:
    """How EVALSHA begins for a script with this text; the script's own arguments follow."""
    return (sha1(text.encode()).hexdigest(), len(keys), *keys)
