"""Takes a sample of something again and again, beside what else goes on."""

import logging
import threading
from collections.abc import Callable
from typing import Self

log = logging.getLogger(__name__)

JOIN = 2.0  # seconds that a driver may take for a last sample


class Sampling:
    """Calls `take` every so many seconds in a thread of its own, while it is open.

    It ends by itself when `take` says that there will be no sample, or raises: what is sampled
    never harms what goes on.
    """

    def __init__(self, take: Callable[[], bool], every: float, name: str) -> None:
        self._take, self._every = take, every
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(JOIN)

    def _loop(self) -> None:
        try:
            while self._take() and not self._closed.wait(self._every):
                pass
        except Exception:
            log.exception("The %s ends", self._thread.name)
