"""The one socket: pages listen to it and are sent what they should show now."""

import asyncio
import contextlib
import logging
import time
from typing import Any
from weakref import WeakValueDictionary

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path

from experiments import live, pages, roles
from experiments.models import TuningTask

log = logging.getLogger(__name__)

PAUSE = 0.25  # seconds between two frames of one page, at least
REFRESH = 2.0  # seconds after which a page is drawn again, for the times on it
IDLE_REFRESH = 15.0  # … of a task that does not move: only a lost message could matter

REFUSED, NO_SUCH_TASK, TRY_AGAIN_LATER = 4403, 4404, 1013


class Picture:
    """What a task looks like, drawn once for all pages of this process that show it."""

    def __init__(self, task_id: int, rights: roles.Rights) -> None:
        self.task_id = task_id
        self.rights = rights
        self.lock = asyncio.Lock()
        self.begun = float("-inf")
        self.drawing: pages.Drawing | None = None

    async def since(self, moment: float) -> pages.Drawing:
        """A drawing that was begun at this moment of the monotonic clock, or later."""
        async with self.lock:
            if self.drawing is None or self.begun < moment:
                begun = time.monotonic()
                draw = database_sync_to_async(pages.draw, thread_sensitive=False)
                self.drawing = await draw(self.task_id, self.rights)
                self.begun = begun
            return self.drawing


pictures: WeakValueDictionary[tuple[int, roles.Rights], Picture] = WeakValueDictionary()


class TaskConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open live page."""

    following: "asyncio.Task[None] | None" = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:  # Redis is away: the page tries again until it is back.
            log.warning("A live page lost its connection: %s", error)
            with contextlib.suppress(Exception):  # The page may be gone as well.
                await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        finally:
            if self.following is not None:
                self.following.cancel()

    async def connect(self) -> None:
        """Let in who may view tasks. Listens before the first look, so that nothing is missed."""
        task_id: int = self.scope["url_route"]["kwargs"]["task_id"]
        user = self.scope["user"]
        ask = database_sync_to_async(rights, thread_sensitive=False)
        may_view, may_do = await ask(user)
        if not may_view:
            await self.close(REFUSED)
            return
        self.poked = asyncio.Event()
        self.group = live.task_group(task_id)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        key = (task_id, may_do)
        picture = pictures.setdefault(key, Picture(*key))
        self.following = asyncio.create_task(self.follow(picture))

    async def disconnect(self, code: int) -> None:
        if self.following is not None:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def poke(self, message: dict[str, Any]) -> None:
        """A row changed."""
        self.poked.set()

    async def follow(self, picture: Picture) -> None:
        """Send the whole page, then, as long as it is open, what changed."""
        try:
            await self.send_changes(picture)
        except TuningTask.DoesNotExist:
            await self.close(NO_SUCH_TASK)
        except Exception as error:
            log.exception("The live page of task %s cannot be drawn", picture.task_id)
            with contextlib.suppress(Exception):  # The page may have gone: that was the error.
                await self.close(TRY_AGAIN_LATER, reason=type(error).__name__)

    async def send_changes(self, picture: Picture) -> None:
        sent: dict[str, str] = {}
        while True:
            # Forget the pokes first: one that comes while we draw is for the next frame.
            self.poked.clear()
            drawing = await picture.since(time.monotonic())
            changed = [html for name, html in drawing.fragments.items() if sent.get(name) != html]
            if changed:
                await self.send("".join(changed))
            sent = drawing.fragments
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                timeout = REFRESH if drawing.is_moving else IDLE_REFRESH
                await asyncio.wait_for(self.poked.wait(), timeout)


def rights(user: Any) -> tuple[bool, roles.Rights]:
    """Whether a user may view tasks, and what else they may do with them."""
    return roles.may_view(user), roles.rights(user)


websocket_urls = [path("ws/tasks/<int:task_id>/", TaskConsumer.as_asgi())]
