"""What is said on a channel of Redis, waited for without polling."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event

import redis
from redis.exceptions import RedisClusterException, RedisError

CONFIRMED_WITHIN = 3.0  # seconds


class Notices:
    """Listens on one channel, or on all that match a pattern, from the first wait to `close`.

    A connection that was lost is made again by itself, to whoever has taken over. What was said
    meanwhile is missed, and that is told: a notice is a reason to look, never the only one. For one
    thread; `ring` for any.
    """

    def __init__(self, client: redis.Redis, channel: str, is_pattern: bool = False) -> None:
        """Nothing is sent yet; `listen` subscribes, so that nothing after it is missed."""
        self._client = client
        self._channel = channel
        self._is_pattern = is_pattern
        self._begin()
        self._missed = False

    def listen(self) -> None:
        """Subscribe, if that is not done. Raises RedisError when Redis does not answer."""
        if not self._pubsub.subscribed:
            with self._or_anew():
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
        with self._or_anew():
            while not self._missed and (left := deadline - time.monotonic()) > 0:
                message = self._pubsub.get_message(timeout=left)
                if message is not None and not self._missed:
                    return str(message["data"])
        if self._missed:
            self._missed = False
            return ""
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
        with suppress(RedisError, RedisClusterException):
            self._client.publish(self._channel, "")

    def close(self) -> None:
        """Listen no more."""
        with suppress(RedisError, RedisClusterException, OSError):
            self._pubsub.close()

    def _begin(self) -> None:
        self._pubsub = self._client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    @contextmanager
    def _or_anew(self) -> Iterator[None]:
        """After an error begin anew: in a cluster, the old server may never come back."""
        try:
            yield
        except (RedisError, RedisClusterException, OSError, ValueError) as error:
            self.close()
            self._begin()
            self._missed = True
            # A ValueError: the connection was closed in the middle of a read
            raise redis.ConnectionError(str(error)) from error

    def _reconnected(self, _: object) -> None:
        self._missed = True
