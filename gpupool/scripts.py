"""The connection to Redis, and the Lua scripts in lua/ that decide inside it."""

from pathlib import Path

import redis
from redis.commands.core import Script

LUA = Path(__file__).parent / "lua"


def connect(url: str) -> redis.Redis:
    """A client for a redis://, rediss:// or unix:// URL; it connects at its first command.

    The timeouts are explicit because a library's defaults change: a Redis that hangs must
    raise, and never hold up a holder for ever.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=3,
        socket_timeout=10,
        health_check_interval=30,
    )


def load(client: redis.Redis, name: str) -> Script:
    """The script lua/<name>.lua, called by its hash and sent again to a Redis that restarted."""
    return client.register_script((LUA / f"{name}.lua").read_text(encoding="utf-8"))
