"""One OpenAI-compatible server, as the load generator talks to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any

import aiohttp

from experiments.benchmarks.base import Load
from experiments.benchmarks.prompts import (
    CALIBRATION_WORDS,
    Calibration,
    calibrate,
    calibration_text,
)
from experiments.benchmarks.scenarios import Scenario
from experiments.benchmarks.stream import CompletionStream, describe_error

# uvicorn closes an idle connection after 5 s; a request must not run into that.
KEEP_ALIVE_SECONDS = 4.0

# What some servers refuse, in the order in which it is given up.
OPTIONAL_FIELDS: Mapping[str, Any] = {
    "stream_options": {"include_usage": True},
    "ignore_eos": True,
}
_TRIALS = ((), ("stream_options",), ("ignore_eos",), tuple(OPTIONAL_FIELDS))


@dataclass(frozen=True)
class Request:
    """A request, ready to be sent."""

    body: bytes
    input_tokens: int  # as calibrated; the server's own count wins


@dataclass(frozen=True)
class Answer:
    """How one request went. Times are from `perf_counter`, in seconds."""

    sent: float
    ended: float  # when the stream was closed, with all that followed the last token
    first: float | None = None
    last: float | None = None
    gaps: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


def open_session() -> aiohttp.ClientSession:
    """A session that keeps a connection for each request in flight, and reuses it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class Client:
    """Builds requests that the server accepts, and times its answers."""

    def __init__(self, session: aiohttp.ClientSession, load: Load) -> None:
        self.calibration = Calibration()
        self.dropped: tuple[str, ...] = ()
        self._session = session
        self._load = load
        self._url = load.url.rstrip("/") + "/v1/completions"

    async def prepare(self) -> None:
        """Learn which optional fields the server takes, and how it counts our words."""
        await self._settle_fields()
        few, many = CALIBRATION_WORDS
        short, long = await self._count_tokens(few), await self._count_tokens(many)
        if short and long:
            self.calibration = calibrate(short, long)

    def request(self, scenario: Scenario, phase: str, index: int) -> Request:
        """Request `index` of a phase: the same for every configuration of the task."""
        random = self._random(phase, index)
        tokens_in, tokens_out = scenario.sample(random)
        prompt, input_tokens = self.calibration.prompt(tokens_in, random)
        return Request(self._body(prompt, tokens_out), input_tokens)

    def output_tokens(self, scenario: Scenario, phase: str, index: int) -> int:
        """How many tokens of output the request asks for."""
        return scenario.sample(self._random(phase, index))[1]

    async def send(self, request: Request) -> Answer:
        """Send a request and read its stream to the end. Failures are in the answer."""
        stream = CompletionStream()
        error = ""
        sent = perf_counter()
        try:
            async with self._session.post(self._url, data=request.body) as response:
                if response.status == 200:
                    async for data in response.content.iter_any():
                        stream.feed(data, perf_counter())
                    stream.close(perf_counter())
                else:
                    error = f"HTTP {response.status}: {_reason(await response.text())}"
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        error = error or stream.error or ("" if stream.first else "the stream held no token")
        return Answer(
            sent=sent,
            ended=perf_counter(),
            first=stream.first,
            last=stream.last,
            gaps=stream.gaps,
            input_tokens=int(stream.usage.get("prompt_tokens") or request.input_tokens),
            output_tokens=stream.output_tokens,
            error=error,
        )

    def _random(self, phase: str, index: int) -> Random:
        return Random(f"{self._load.seed} {self._load.level.label} {phase} {index}")

    def _body(self, prompt: str, tokens: int, *, stream: bool = True) -> bytes:
        optional = {
            name: value
            for name, value in OPTIONAL_FIELDS.items()
            if name not in self.dropped and (stream or name != "stream_options")
        }
        fields = {
            "model": self._load.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": stream,
            **optional,
            **self._load.request_options,
        }
        return json.dumps(fields).encode()

    async def _settle_fields(self) -> None:
        text = self._text(CALIBRATION_WORDS[0], "fields")
        for self.dropped in _TRIALS:
            answer = await self.send(Request(self._body(text, 2), 0))
            if not answer.error.startswith("HTTP 4"):
                return
        self.dropped = ()  # It was not the optional fields: let the error be seen

    async def _count_tokens(self, words: int) -> int | None:
        """How many tokens the server counts in `words` words; None when it does not say."""
        body = self._body(self._text(words, "count"), 1, stream=False)
        try:
            async with self._session.post(self._url, data=body) as response:
                answer = json.loads(await response.read())
            return int(answer["usage"]["prompt_tokens"])
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
            return None

    def _text(self, words: int, purpose: str) -> str:
        random = Random(f"{self._load.seed} {self._load.level.label} {purpose}")
        return calibration_text(words, random)


def _reason(body: str) -> str:
    """The message in a refusal, whatever its shape."""
    try:
        answer = json.loads(body)
    except ValueError:
        return describe_error(body)
    if isinstance(answer, dict):
        return describe_error(answer.get("error") or answer.get("detail") or answer)
    return describe_error(answer)
