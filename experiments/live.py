"""The one push: tells every open page of a task that it changed. It carries ids, never state."""

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from typing import Any

from channels.layers import get_channel_layer

log = logging.getLogger(__name__)

SEND_WITHIN = 3.0  # seconds
AT_EXIT = 1.0  # seconds that the end of a command waits for its last push


def task_group(task_id: int) -> str:
    """The name under which the pages of one task listen."""
    return f"task.{task_id}"


@asynccontextmanager
async def listening(task_id: int) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Within it, each call waits for the next push of this task. Raises when Redis is away."""
    layer, group = get_channel_layer(), task_group(task_id)
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    try:
        yield partial(layer.receive, channel)
    finally:
        with suppress(Exception):  # Redis may be away: what is in the group ends by itself
            await layer.group_discard(group, channel)


def push(task_id: int) -> None:
    """Say that this task, or an experiment of it, changed. Returns at once, and never raises.

    A page that misses it shows the truth at its next frame, so a Redis that is away is no error.
    """
    sender(os.getpid()).send(task_id)


class Sender:
    """Sends from a loop of its own: who moves a row, and may have to stop an engine in time,
    never waits for Redis; and one connection serves all pushes of a process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.sending: set[Future[None]] = set()
        threading.Thread(target=self.loop.run_forever, name="live", daemon=True).start()
        atexit.register(self.flush)

    def send(self, task_id: int) -> None:
        future = asyncio.run_coroutine_threadsafe(poke(task_id), self.loop)
        self.sending.add(future)
        future.add_done_callback(self.sending.discard)

    def flush(self) -> None:
        """Wait a little for what is on its way."""
        wait(list(self.sending), timeout=AT_EXIT)


@cache
def sender(pid: int) -> Sender:
    """This process's sender. Threads do not survive a fork, so a child has its own."""
    return Sender()


async def poke(task_id: int) -> None:
    message = {"type": "poke", "task": task_id}
    try:
        async with asyncio.timeout(SEND_WITHIN):
            await get_channel_layer().group_send(task_group(task_id), message)
    except Exception as error:  # Whatever the layer raises, the row is already committed
        log.warning("Live pages were not told of task %s: %s", task_id, error)
