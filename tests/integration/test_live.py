"""Live pages on a real Redis: the snapshot first, then every change, and only for those who may."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client

from experiments import shows
from experiments.forms import TaskForm
from experiments.models import Experiment, TuningTask
from experiments.pool import gpu_pool
from experiments.taskfile import from_dict
from gpupool import Lease, open_inventory
from tests.integration.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 10.0  # seconds
TASK = {
    "task_name": "live",
    "base_runtime": "job",
    "command": ["./measure"],
    "parameters": {"x": [1, 2, 3, 4]},
    "optimization": {"objective": "maximize_speed", "max_parallel_experiments": 2},
}


class Page(ApplicationCommunicator):
    """The browser's end of a socket."""

    async def open(self) -> int | None:
        """None when the site accepts, else the code of its refusal."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(SOON)
        return None if answer["type"] == "websocket.accept" else answer.get("code", 1000)

    async def frame(self) -> str:
        message = await self.receive_output(SOON)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def frame_with(self, text: str) -> str:
        """The next frame that has this text."""
        while text not in (frame := await self.frame()):
            pass
        return frame

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1005})
        await self.wait(SOON)


@pytest.fixture
def redis_server(settings: Any) -> Iterator[RedisServer]:
    """A Redis of this test's own, for the pool and for the pages."""
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        with running_redis(Path(folder)) as server:
            settings.REDIS_URL = server.url
            settings.CHANNEL_LAYERS = {
                "default": {
                    "BACKEND": "channels_redis.core.RedisChannelLayer",
                    "CONFIG": {"hosts": [server.url]},
                }
            }
            gpu_pool.cache_clear()
            yield server
        gpu_pool.cache_clear()


@pytest.fixture
def task(redis_server: RedisServer) -> TuningTask:
    made = TuningTask()
    made.describe(from_dict(TASK))
    made.save()
    return made


def user(*permissions: str, is_staff: bool = True) -> User:
    made = User.objects.create_user("somebody", is_staff=is_staff)
    for permission in permissions:
        made.user_permissions.add(Permission.objects.get(codename=permission))
    return made


def page(task_id: int, visitor: User | None, origin: str = "http://testserver") -> Page:
    """A browser's socket, through the site's whole entry."""
    from autotuner_site.asgi import application

    path = f"/ws/tasks/{task_id}/"
    headers = [(b"origin", origin.encode()), (b"host", b"testserver")]
    if visitor is not None:
        client = Client()
        client.force_login(visitor)
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers}
    return Page(application, {**scope, "subprotocols": []})


def story(steps: Callable[[Page], Awaitable[None]], socket: Page) -> None:
    """Open the page, let it live, close it."""

    async def whole() -> None:
        assert await socket.open() is None
        await steps(socket)
        await socket.leave()

    asyncio.run(whole())


def test_the_first_frame_is_the_whole_page(task: TuningTask) -> None:
    async def steps(socket: Page) -> None:
        frame = await socket.frame()
        for part in ("head", "numbers", "winner", "rows"):
            assert f'id="live-{part}" ' in frame
        assert "PENDING" in frame and 'id="start-task"' in frame
        assert "<script" not in frame and "csrfmiddlewaretoken" not in frame

    story(steps, page(task.pk, user("change_tuningtask")))


def test_every_move_is_pushed(task: TuningTask) -> None:
    experiment = Experiment.objects.create(task=task, number=1, parameters={"x": 1})
    lease = Lease("lease-a", 1, "holder", "group", "node-1", ("GPU-1",), 0.0, 60.0)

    def moves() -> Iterator[tuple[str, Callable[[], object]]]:
        yield "RUNNING", task.start
        yield "PLACED", lambda: experiment.place(lease)
        yield "DEPLOYING", lambda: experiment.start(["./measure"])
        yield "BENCHMARKING", experiment.begin_benchmark
        score = {"objective_score": 1234.5, "feasible": True}
        yield "1,234", lambda: experiment.succeed(**score)
        yield "COMPLETED", task.finish

    async def steps(socket: Page) -> None:
        await socket.frame_with("PENDING")
        for text, move in moves():
            await asyncio.to_thread(move)
            await socket.frame_with(text)

    story(steps, page(task.pk, user("view_tuningtask")))


def test_of_many_moves_at_once_the_page_ends_at_the_last(
    task: TuningTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shows, "REFRESH", 3600.0)  # Only pokes bring a frame
    task.start()
    for number in range(1, 31):
        Experiment.objects.create(task=task, number=number, parameters={"x": 1})

    def cancel_all() -> None:
        for experiment in task.experiments.all():
            experiment.cancel()

    async def steps(socket: Page) -> None:
        await socket.frame_with("0 / 10")
        await asyncio.to_thread(cancel_all)
        await socket.frame_with("30 / 10")

    story(steps, page(task.pk, user("view_tuningtask")))


def test_strangers_are_refused(task: TuningTask) -> None:
    somebody = user()
    outsider = User.objects.create_user("outsider")
    outsider.user_permissions.add(Permission.objects.get(codename="view_tuningtask"))
    admin = User.objects.create_superuser("admin")
    for socket in (
        page(task.pk, None),
        page(task.pk, somebody),
        page(task.pk, outsider),  # May view, but is no staff: the page is closed to them too
        page(task.pk, admin, origin="http://elsewhere.example"),
    ):

        async def refused(socket: Page = socket) -> None:
            assert await socket.open() in (shows.REFUSED, 1000)

        asyncio.run(refused())


def test_a_page_ends_when_its_role_is_taken_away_or_another_one(
    task: TuningTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shows, "CHECK", 0.1)
    viewer = user("view_tuningtask")
    steer = Permission.objects.get(codename="steer_tuningtask")

    def sees_its_end(act: Callable[[], object], code: int) -> None:
        async def steps(socket: Page) -> None:
            await socket.frame_with("PENDING")
            await asyncio.to_thread(act)
            message = await socket.receive_output(SOON)
            assert (message["type"], message["code"]) == ("websocket.close", code)

        story(steps, page(task.pk, viewer))

    # It comes back, with what it may do now
    sees_its_end(lambda: viewer.user_permissions.add(steer), shows.TRY_AGAIN_LATER)
    sees_its_end(Session.objects.all().delete, shows.REFUSED)
    sees_its_end(viewer.user_permissions.clear, shows.REFUSED)


def test_who_may_only_view_gets_no_buttons(task: TuningTask) -> None:
    async def steps(socket: Page) -> None:
        frame = await socket.frame()
        assert "PENDING" in frame and "<button" not in frame

    story(steps, page(task.pk, user("view_tuningtask")))


def test_two_pages_of_one_task_see_the_same(task: TuningTask) -> None:
    viewer = user("view_tuningtask")
    sockets = [page(task.pk, viewer), page(task.pk, viewer)]

    async def both() -> None:
        for socket in sockets:
            assert await socket.open() is None
            await socket.frame_with("PENDING")
        await asyncio.to_thread(task.start)
        for socket in sockets:
            await socket.frame_with("RUNNING")
            await socket.leave()

    asyncio.run(both())


def test_a_page_of_no_task_is_closed_for_good(redis_server: RedisServer) -> None:
    async def steps(socket: Page) -> None:
        message = await socket.receive_output(SOON)
        assert message == {"type": "websocket.close", "code": shows.NO_SUCH_TASK}

    story(steps, page(99, user("view_tuningtask")))


def test_without_redis_the_page_is_closed_and_comes_back_whole(
    task: TuningTask, redis_server: RedisServer
) -> None:
    viewer = user("view_tuningtask")

    async def outage(socket: Page) -> None:
        await socket.frame_with("PENDING")
        redis_server.kill()
        message = await socket.receive_output(SOON)
        assert message == {"type": "websocket.close", "code": shows.TRY_AGAIN_LATER}

    story(outage, page(task.pk, viewer))
    TuningTask.objects.update(message="changed in the outage")
    redis_server.start()

    async def again(socket: Page) -> None:
        assert "changed in the outage" in await socket.frame()

    story(again, page(task.pk, viewer))


def test_max_parallel_experiments_is_at_most_the_gpus_in_the_pool(task: TuningTask) -> None:
    gpu_pool().publish("testnode", open_inventory("simulated:2", "testnode").gpus())
    form = TaskForm(instance=task)
    assert form.fields["max_parallel_experiments"].widget.attrs["max"] == 2
    posted = {name: form[name].value() or "" for name in form.fields}
    refused = TaskForm({**posted, "max_parallel_experiments": "5"}, instance=task)
    [message] = refused.errors["max_parallel_experiments"]
    assert "at most 2" in message and "8 (setting" in message and "2 (GPUs" in message
    assert TaskForm({**posted, "max_parallel_experiments": "2"}, instance=task).is_valid()
