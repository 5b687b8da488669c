"""Tasks as they are shown live: each is drawn once for all who see the same of it."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import close_old_connections
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from experiments import live, roles
from experiments.drawing import Drawing, frames
from experiments.models import TuningTask
from experiments.picture import Picture
from experiments.task_table import View

log = logging.getLogger(__name__)

REFRESH = 2.0  # seconds after which a task that moves is looked at, should a message be lost
IDLE_REFRESH = 15.0  # … one that does not
LATER = 0.4  # seconds after a move until the charts follow; more may change meanwhile
SHARE, REST = 200, 5.0  # The charts take one part in so many of a core; they rest so long at most
AS_TIME_GOES_BY = 10.0  # seconds after which they are drawn again, for the bars of what runs
AT_THE_LATEST = 2.0  # … and wait so long for a moment without moves
WHOLE = 60.0  # seconds after which everything is read anew
CHECK = 5.0  # seconds between two questions whether a visitor may still see it

REFUSED, NO_SUCH_TASK, TRY_AGAIN_LATER = 4403, 4404, 1013


@dataclass(eq=False)
class Visitor:
    """One open page: whose it is, and what it was let in to see."""

    user: int
    session: str
    secret: str  # The session's, which is another one after a new password
    task_id: int
    rights: roles.Rights
    view: View
    joined: float = math.inf
    ends_with: int = 0  # The code with which its page is to be closed


class Ended(Exception):
    """A page is to be closed, with this code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Show:
    """One task for all pages of this process that may show the same of it."""

    def __init__(self, task_id: int, rights: roles.Rights, view: View) -> None:
        self.task_id = task_id
        self.key = (task_id, rights, view)
        self.visitors: set[Visitor] = set()
        self.picture = Picture(task_id, rights, view)
        self.drawing: Drawing | None = None
        self.begun = -math.inf  # When the last whole drawing was
        self.latest: tuple[Drawing | None, list[str]] = (None, [])
        self.poked, self.changed = asyncio.Event(), asyncio.Event()
        self.wants_whole = True
        self.listens: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.running = asyncio.create_task(self.run())

    # ── what a page asks ────────────────────────────────────────────────────────────────────

    async def after(self, shown: Drawing | None, visitor: Visitor) -> Drawing:
        """The latest drawing, when it is another one; the first one is begun after the visitor
        had come. Raises Ended.
        """
        while True:
            if visitor.ends_with:
                raise Ended(visitor.ends_with)
            is_new = self.drawing is not shown and (shown or self.begun >= visitor.joined)
            if self.drawing is not None and is_new:
                return self.drawing
            await self.changed.wait()

    def frames(self, shown: Drawing | None, drawing: Drawing) -> list[str]:
        """What makes a page that shows the one show the other: the same bytes for all of them."""
        if shown is None:
            return [drawing.snapshot]
        before, made = self.latest
        return made if before is shown and drawing is self.drawing else frames(shown, drawing)

    def leave(self, visitor: Visitor) -> None:
        """The last one ends it."""
        self.visitors.discard(visitor)
        if not self.visitors:
            self.running.cancel()
            self.forget()

    def forget(self) -> None:
        if shows.get(self.key) is self:
            del shows[self.key]

    # ── what goes on ────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until the last visitor has gone, or an error ends the page of each."""
        try:
            async with live.listening(self.task_id) as next_poke:
                self.listens.set_result(None)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self.hear(next_poke))
                    tasks.create_task(self.draw())
                    tasks.create_task(self.check())
        except* TuningTask.DoesNotExist:
            self.end(NO_SUCH_TASK)
        except* Exception as errors:
            log.warning("The live pages of task %s end: %s", self.task_id, errors.exceptions)
            self.end(TRY_AGAIN_LATER)
        finally:
            self.forget()

    def end(self, code: int) -> None:
        for visitor in self.visitors:
            visitor.ends_with = visitor.ends_with or code
        self.wake()
        if not self.listens.done():
            self.listens.set_exception(Ended(code, "Redis does not answer"))

    def wake(self) -> None:
        event, self.changed = self.changed, asyncio.Event()
        event.set()

    async def hear(self, next_poke: Callable[[], Any]) -> None:
        """Every move of the task, or of an experiment of it."""
        while True:
            await next_poke()
            self.poked.set()

    async def draw(self) -> None:
        """What changed at once; the charts when there is time. Half of the time is left to others:
        more moves at once are one drawing.
        """
        later_at = whole_at = tick_at = rest = 0.0
        while True:
            until = min(later_at, whole_at, tick_at)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.poked.wait()
            # Forget the pokes first: one that comes while we draw is for the next drawing
            was_poked = self.poked.is_set()
            self.poked.clear()
            begun = time.monotonic()
            if self.wants_whole or begun >= whole_at:
                self.wants_whole, draw = False, self.picture.whole
            elif begun >= later_at + (AT_THE_LATEST if was_poked else 0.0):
                draw = self.picture.later
            else:
                draw = self.picture.first
            drawing, took = await self.drawn(draw)
            ended = time.monotonic()
            if draw != self.picture.first:
                rest = ended + (min(REST, SHARE * took) if drawing.is_moving else 0.0)
                by_itself = max(ended + AS_TIME_GOES_BY, rest)
                later_at = by_itself if drawing.is_moving else math.inf
            elif was_poked or drawing is not self.drawing:
                until = rest if drawing.is_moving else 0.0  # The end is seen at once
                later_at = min(later_at, max(ended + LATER, until))
            if draw == self.picture.whole:
                self.begun, whole_at = begun, ended + WHOLE
            self.publish(drawing)
            tick_at = ended + (REFRESH if drawing.is_moving else IDLE_REFRESH)
            await asyncio.sleep(ended - begun)

    async def drawn(self, draw: Callable[[], Drawing]) -> tuple[Drawing, float]:
        """With the seconds of a core that it took."""

        def timed() -> tuple[Drawing, float]:
            begun = time.thread_time()
            return draw(), time.thread_time() - begun

        try:
            drawing: tuple[Drawing, float] = await in_thread(timed)
        except TuningTask.DoesNotExist:
            raise
        except Exception:
            log.exception("The live page of task %s cannot be drawn", self.task_id)
            raise
        return drawing

    def publish(self, drawing: Drawing) -> None:
        before = self.drawing
        if drawing is before:
            return
        self.latest = (before, [] if before is None else frames(before, drawing))
        self.drawing = drawing
        self.wake()

    async def check(self) -> None:
        """Whether each may still see it, one after the other: a role may be taken away."""
        while True:
            for visitor in list(self.visitors):
                await asyncio.sleep(CHECK / len(self.visitors or "1"))
                visitor.ends_with = await in_thread(refusal, visitor)
                if visitor.ends_with:
                    self.wake()
            await asyncio.sleep(0 if self.visitors else CHECK)


shows: dict[tuple[int, roles.Rights, View], Show] = {}


async def join(visitor: Visitor) -> Show:
    """The show of a task for this visitor, which hears every move from now on."""
    key = (visitor.task_id, visitor.rights, visitor.view)
    show = shows.get(key) or shows.setdefault(key, Show(*key))
    show.visitors.add(visitor)
    try:
        await asyncio.shield(show.listens)
    except BaseException:
        show.leave(visitor)
        raise
    visitor.joined, show.wants_whole = time.monotonic(), True
    show.poked.set()
    return show


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Beside the requests, which have one thread; with the database as a request has it."""

    def done() -> Any:
        close_old_connections()
        try:
            return call(*arguments)
        finally:
            close_old_connections()

    return await sync_to_async(done, thread_sensitive=False)()


def rights(user: Any) -> roles.Rights | None:
    """What this user may do on the page of a task; None when they may not see it."""
    return roles.rights(user) if roles.may_view(user) else None


def refusal(visitor: Visitor) -> int:
    """The code with which its page has to end; 0 while all is as it was let in."""
    user = get_user_model().objects.filter(pk=visitor.user).first()
    session = Session.objects.filter(pk=visitor.session, expire_date__gt=timezone.now())
    if user is None or not constant_time_compare(visitor.secret, user.get_session_auth_hash()):
        return REFUSED
    now = rights(user)
    if now is None or not session.exists():
        return REFUSED
    return 0 if now == visitor.rights else TRY_AGAIN_LATER  # It comes back as what it is now
