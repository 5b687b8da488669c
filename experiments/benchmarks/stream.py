"""Reading a stream of server-sent events, with as little work per token as possible."""

import json
from typing import Any

_EMPTY_TEXT = (b'"text":""', b'"text": ""')
_USAGE = (b'"usage":{', b'"usage": {')


class CompletionStream:
    """What one streamed completion has said so far, and when.

    A load generator that parses every chunk steals time from the engine it measures, so
    the JSON is only read where a chunk may hold more than text. Looking for quoted names
    in the raw bytes is safe: inside a JSON string the quotes would be escaped.
    """

    def __init__(self) -> None:
        self.first: float | None = None  # when the first token came
        self.last: float | None = None  # when the last token came, or word that it was the last
        self.gaps: list[float] = []  # seconds between chunks with a token
        self.usage: dict[str, Any] = {}
        self.error = ""
        self._first_choice: float | None = None
        self._token_at = 0.0
        self._rest = b""

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes that were received at `now`. Raises ValueError for what is not JSON."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip(), now)

    def close(self, now: float) -> None:
        """The stream has ended: a last line may lack its line break."""
        self.feed(b"\n", now)
        if self.first is None and self.usage.get("completion_tokens"):
            self.first = self._first_choice  # One token without a text of its own

    @property
    def output_tokens(self) -> int:
        """As the server counted them, else the chunks with a token."""
        counted = int(self.usage.get("completion_tokens") or 0)
        return counted or (0 if self.first is None else len(self.gaps) + 1)

    def _event(self, event: bytes, now: float) -> None:
        plain = b'"text":' in event and not any(
            mark in event for mark in (*_EMPTY_TEXT, *_USAGE, b'"error"')
        )
        if plain:
            self._token(now)
        elif event and event != b"[DONE]":
            self._read(json.loads(event), now)

    def _read(self, event: dict[str, Any], now: float) -> None:
        if error := event.get("error"):
            self.error = self.error or describe_error(error)
        if usage := event.get("usage"):
            self.usage = usage
        for choice in (event.get("choices") or [])[:1]:
            self.last = now
            if self._first_choice is None:
                self._first_choice = now
            # A token can be a part of a character: no text yet, and the stream goes on.
            if choice.get("text") or choice.get("finish_reason") is None:
                self._token(now)

    def _token(self, now: float) -> None:
        if self.first is None:
            self.first = now
        else:
            self.gaps.append(now - self._token_at)
        self.last = self._token_at = now


def describe_error(error: Any) -> str:
    """One short line from an `error` object, in any of its usual shapes."""
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or error).split())[:300]
