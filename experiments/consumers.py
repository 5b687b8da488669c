"""The one socket: pages listen to it and are sent what they should show now."""

import asyncio
import contextlib
import logging
from typing import Any
from urllib.parse import parse_qsl

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import HASH_SESSION_KEY
from django.urls import path

from experiments import shows
from experiments.drawing import Drawing
from experiments.shows import REFUSED, TRY_AGAIN_LATER, Show, Visitor
from experiments.task_table import View

log = logging.getLogger(__name__)

BEAT = 5.0  # seconds after which a page is told that it is still connected
NOTHING = " "  # The frame that changes nothing


class TaskConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open live page."""

    channel_layer_alias = ""  # It hears nothing itself: one listens for all pages of a task
    show: Show | None = None
    following: "asyncio.Task[None] | None" = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:  # Redis is away: the page tries again until it is back.
            log.warning("A live page lost its connection: %s", error)
            with contextlib.suppress(Exception):  # The page may be gone as well.
                await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        finally:
            await self.disconnect(0)

    async def connect(self) -> None:
        """Let in who may view tasks. Listens before the first look, so that nothing is missed."""
        task_id: int = self.scope["url_route"]["kwargs"]["task_id"]
        user, session = self.scope["user"], self.scope["session"]
        ask = database_sync_to_async(shows.rights, thread_sensitive=False)
        rights = await ask(user)
        if rights is None:
            await self.close(REFUSED)
            return
        known_by = (user.pk, session.session_key, session.get(HASH_SESSION_KEY, ""))
        view = View.of(dict(parse_qsl(self.scope.get("query_string", b"").decode("latin-1"))))
        visitor = Visitor(*known_by, task_id, rights, view)
        self.show = await shows.join(visitor)
        await self.accept()
        self.following = asyncio.create_task(self.follow(self.show, visitor))

    async def disconnect(self, code: int) -> None:
        """Whatever ended it."""
        if self.following is not None:
            self.following.cancel()

    async def follow(self, show: Show, visitor: Visitor) -> None:
        """Send the whole page, then, as long as it is open, what changed."""
        shown: Drawing | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(BEAT):
                        drawing = await show.after(shown, visitor)
                except TimeoutError:
                    await self.send(NOTHING)
                    continue
                for frame in show.frames(shown, drawing):
                    await self.send(frame)
                shown = drawing
        except shows.Ended as end:
            with contextlib.suppress(Exception):  # The page may have gone: that was the error
                await self.close(end.code, reason=end.reason)
        finally:
            show.leave(visitor)


websocket_urls = [path("ws/tasks/<int:task_id>/", TaskConsumer.as_asgi())]
