"""Messages that are lost, late, doubled, shuffled or redelivered change nothing of the plan."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import redis

from tests.integration.faults import attempts, diary_job, ended_right
from tests.integration.product import Product, running_product, until

pytestmark = pytest.mark.stress

THIEVES = 8  # So many messages are taken from the queue before Celery sees them
NODE_QUEUE, CONTROL_QUEUE = "node.testnode", "control"
Tamper = Callable[[redis.Redis, str, bytes], None]


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with running_product("simulated:2", GPUPOOL_LEASE_TTL="10") as running:
        yield running


@pytest.fixture(scope="module")
def broker(product: Product) -> Iterator[redis.Redis]:
    """The Redis that `up` has started."""
    password = (product.folder / "redis-password").read_text()
    socket = quote(str(product.folder / "redis" / "redis.sock"))
    with redis.Redis.from_url(f"unix://:{password}@{socket}", max_connections=50) as client:
        yield client


# What may happen to a message -----------------------------------------------------------------


def lost(broker: redis.Redis, queue: str, message: bytes) -> None:
    """Nobody hears of it."""


def doubled(broker: redis.Redis, queue: str, message: bytes) -> None:
    broker.lpush(queue, message, message, message)


def late_and_shuffled(broker: redis.Redis, queue: str, message: bytes) -> None:
    """Some when they have been sent again meanwhile, and that one was followed."""
    time.sleep(random.uniform(0, 9))
    broker.lpush(queue, message)


def redelivered(broker: redis.Redis, queue: str, message: bytes) -> None:
    """Delivered, never acknowledged, and its visibility timeout is over: twice."""
    broker.lpush(queue, message)
    raw = json.loads(message)
    info = raw["properties"]["delivery_info"]
    for number in range(2):
        tag = f"{raw['properties']['delivery_tag']}-{number}"
        kept = [raw, info["exchange"], info["routing_key"]]
        broker.hset("unacked", tag, json.dumps(kept))
        broker.zadd("unacked_index", {tag: time.time() - 7 * 3600})
        time.sleep(3)


class Thieves:
    """Each takes one message from the queue before Celery sees it, and does something to it."""

    def __init__(self, broker: redis.Redis, queue: str, tamper: Tamper) -> None:
        self.broker, self.queue, self.tamper = broker, queue, tamper
        self.stolen: list[bytes] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THIEVES)]

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self.broker.brpop([self.queue], timeout=2)
            if answer:
                self.stolen.append(answer[1])  # type: ignore[index]
                return self.tamper(self.broker, self.queue, answer[1])  # type: ignore[index]
        return None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        time.sleep(1.5)  # Celery asks for a second at a time: now they are before it
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)


@pytest.mark.parametrize("tamper", [lost, doubled, late_and_shuffled, redelivered])
@pytest.mark.parametrize("queue", [NODE_QUEUE, CONTROL_QUEUE])
def test_each_planned_experiment_runs_once_though_messages_are(
    product: Product, broker: redis.Redis, queue: str, tamper: Tamper
) -> None:
    name, values = f"{queue.split('.')[0]}-{tamper.__name__}", [1, 2, 3, 4]
    thieves = Thieves(broker, queue, tamper)
    with thieves.at_work():
        product.tune(diary_job(product, name, values, "1", max_parallel_experiments=2))
        task = ended_right(product, name, values)
    assert len(thieves.stolen) >= 3, "the fault has not happened"
    assert set(attempts(task).values()) == {1}
    # What is left in the queues is followed, and still nothing is run twice
    until(lambda: not broker.zcount("unacked_index", 0, time.time() - 3600), 30)
    until(lambda: not broker.llen(queue), 30)
    again = ended_right(product, name, values)
    assert again["experiments"] == task["experiments"]


def test_old_messages_of_a_whole_task_change_nothing(product: Product, broker: redis.Redis) -> None:
    kept: list[bytes] = []

    def remember(broker: redis.Redis, queue: str, message: bytes) -> None:
        kept.append(message)
        broker.lpush(queue, message)

    values = [1, 2, 3]
    with Thieves(broker, NODE_QUEUE, remember).at_work():
        product.tune(diary_job(product, "remembered", values, "1", max_parallel_experiments=2))
        task = ended_right(product, "remembered", values)
    assert kept
    for _ in range(5):
        random.shuffle(kept)
        broker.lpush(NODE_QUEUE, *kept)
    until(lambda: not broker.llen(NODE_QUEUE), 30)
    time.sleep(2)
    assert ended_right(product, "remembered", values)["experiments"] == task["experiments"]
