"""What is said on a channel of Redis, waited for without polling."""

import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Event

import redis
from redis.exceptions import RedisError

CONFIRMED_WITHIN = 3.0  # seconds


class Notices:
    """Listens on one channel, or on all that match a pattern, from the first wait to `close`.

    A connection that was lost is made again by itself. What was said meanwhile is missed, and
    that is told: a notice is a reason to look, never the only one. For one thread; `ring` for any.
    """

    def __init__(self, client: redis.Redis, channel: str, is_pattern: bool = False) -> None:
        """Nothing is sent yet; `listen` subscribes, so that nothing after it is missed."""
        self._client = client
        self._channel = channel
        self._is_pattern = is_pattern
        self._pubsub = client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        self._missed = False

    def listen(self) -> None:
        """Subscribe, if that is not done. Raises RedisError when Redis does not answer."""
        if not self._pubsub.subscribed:
            subscribe = self._pubsub.psubscribe if self._is_pattern else self._pubsub.subscribe
            subscribe(self._channel)
            # After the first: a new connection begins with what it may have missed
            self._pubsub.connection.register_connect_callback(self._reconnected)
            self._pubsub.get_message(timeout=CONFIRMED_WITHIN)

    def wait(self, timeout: float) -> str | None:
        """What was said, "" when something may have been missed, None after `timeout` seconds.

        Raises RedisError when Redis does not answer.
        """
        self.listen()
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._pubsub.get_message(timeout=left)
            except ValueError as error:  # Its connection was closed in the middle of a read
                raise redis.ConnectionError(str(error)) from error
            if self._missed:
                self._missed = False
                return ""
            if message is not None:
                return str(message["data"])
        return None

    def each(self, stop: Event, at_least_every: float) -> Iterator[str]:
        """What is said, one by one, until `stop` is set; "" when it is time to look anyway.

        An outage of Redis is waited out.
        """
        while not stop.is_set():
            try:
                yield self.wait(at_least_every) or ""
            except RedisError:
                stop.wait(1.0)
        self.close()

    def ring(self) -> None:
        """Wake a `wait` on this channel; not when Redis is away."""
        with suppress(RedisError):
            self._client.publish(self._channel, "")

    def close(self) -> None:
        """Listen no more."""
        with suppress(RedisError, OSError):
            self._pubsub.close()

    def _reconnected(self, _: object) -> None:
        self._missed = True
