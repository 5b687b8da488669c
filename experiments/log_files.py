"""Logs on disk: kept below a cap while a program writes them, and read at both ends."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LOG_CAP = 32 * 2**20  # bytes of a log, and as many of the part before
PIECE = 2**18  # bytes that are sent at once
COPY_ROUNDS = 20  # in which a log that grows meanwhile is copied


def rotate(log: Path, cap: int = LOG_CAP) -> None:
    """Keep a log below `cap` bytes, and at most as many of what was before in `<log>.1`.

    The log is copied and emptied, for whoever writes (always to its end) keeps it open. It is
    emptied also when the disk has no room for the copy. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > cap:
            try:
                with open(log, "rb") as full, open(part_before(log), "wb") as kept:
                    full.seek(-cap // 2, os.SEEK_END)
                    copy_to_the_end(full, kept, cap)
            finally:
                os.truncate(log, 0)


def copy_to_the_end(full: BinaryIO, kept: BinaryIO, cap: int) -> None:
    """Copy also what is written meanwhile: the last words of a program that floods its log are
    its most important ones. `kept` stays below `cap`; who floods faster than we read loses some."""
    for _ in range(COPY_ROUNDS):
        part = full.read(cap // 2)
        if not part:
            break
        if kept.tell() + len(part) > cap:
            kept.seek(0)
            kept.truncate()
        kept.write(part)


def part_before(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")


def head(log: Path, max_bytes: int) -> str:
    """The beginning of a log that was not rotated yet; empty when there is none."""
    try:
        with open(log, "rb") as file:
            return file.read(max_bytes).decode(errors="replace")
    except OSError:
        return ""


def pieces(log: Path) -> Iterator[bytes]:
    """All of a log that is kept, the part before it was rotated first."""
    for path in (part_before(log), log):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            while part := file.read(PIECE):
                yield part


def tail(log: Path, max_bytes: int = 64 * 1024) -> str:
    """The end of a log, also of one that was rotated just now; empty when there is none."""
    text = _tail(log, max_bytes)
    missing = max_bytes - len(text)
    return (_tail(part_before(log), missing) + text).decode(errors="replace")


def _tail(log: Path, max_bytes: int) -> bytes:
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - max_bytes))
            return file.read(max_bytes)
    except FileNotFoundError:
        return b""
