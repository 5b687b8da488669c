"""A database that is away for a while: what that raises, and a read that can do without it."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, ProgrammingError, connection

log = logging.getLogger(__name__)

# The database is away, or its tables are just being changed
OUTAGES = (OperationalError, InterfaceError, ProgrammingError)

T = TypeVar("T")


def read_or(otherwise: T, read: Callable[[], T]) -> T:
    """What `read` finds; `otherwise`, at once, while the database is away."""
    try:
        return read()
    except OUTAGES as error:
        log.warning("Read without the database, as %r: %s", otherwise, error)
        connection.close()  # The next read connects anew
        return otherwise
