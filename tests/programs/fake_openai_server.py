"""A small OpenAI-compatible server that behaves as its arguments say.

It stands in for an inference engine: a request waits for a free slot, then for its first
token, then for each further one. What it cannot do is be fast or slow by itself.
"""

import argparse
import asyncio
import itertools
import json
import os
from pathlib import Path
from typing import Any

from aiohttp import web

# What crowns a wrong winner where it is taken at its first word
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "steady": {"tpot": 0.004},
    "collapses": {"tpot": 0.001, "collapse_above": 1},
    "fails": {"exit_after": 0.0},
    "errors": {"tpot": 0.001, "error_rate": 0.5},
    "lucky": {"tpot": 0.002},  # At its first start
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0: any free one, printed when it listens")
    add("--model", default="fake", help="the only name in /v1/models")
    add("--ttft", type=float, default=0.0, help="seconds to the first token")
    add("--tpot", type=float, default=0.0, help="seconds to each further token")
    add("--slots", type=int, default=1000, help="requests served at once, others wait")
    add("--error-rate", type=float, default=0.0, help="share of requests answered with 500")
    add("--collapse-above", type=int, help="requests in flight above which each takes a second")
    add("--slow-after", type=int, help="completions answered before each takes a second more")
    add("--hang-after", type=int, help="completions answered before it never answers again")
    add("--mute", action="store_true", help="accept, and never answer, not even /health")
    add("--break-streams", action="store_true", help="end each stream after two tokens, cut off")
    add("--tokens-per-word", type=float, default=1.0, help="of a prompt, besides one to begin")
    add("--no-usage", action="store_true", help="streams never say their usage")
    add("--refuse", action="append", default=[], help="a field that is answered with 400")
    add("--n-ctx", type=int, help="said as llama.cpp does, in steps of 256")
    add("--startup-delay", type=float, default=0.0, help="seconds before it listens")
    add("--exit-after", type=float, help="seconds of listening before it dies")
    add("--exit-code", type=int, default=1, help="with which it dies")
    add("--behaviour", choices=BEHAVIOURS, help="several of these at once, by one word")
    add("--luck", type=Path, help="a file: while it is missing, a lucky server is fast, once")
    arguments = parser.parse_args()
    vars(arguments).update(BEHAVIOURS.get(arguments.behaviour, {}))
    if arguments.behaviour == "lucky":
        try:
            arguments.luck.touch(exist_ok=False)
        except FileExistsError:
            arguments.tpot = 0.012
    return arguments


class Server:
    """The answers, and the counters that decide between them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.slots = asyncio.Semaphore(arguments.slots)
        self.numbers = itertools.count(1)
        self.in_flight = 0
        self.most_in_flight = 0

    async def health(self, request: web.Request) -> web.Response:
        if self.arguments.mute:
            await asyncio.Event().wait()
        return web.json_response({"most_in_flight": self.most_in_flight})

    async def models(self, request: web.Request) -> web.Response:
        model = {"id": self.arguments.model, "object": "model"}
        return web.json_response({"object": "list", "data": [model]})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if refused := [name for name in self.arguments.refuse if name in body]:
            return failure(400, f"unrecognized field: {refused[0]}")
        number, rate = next(self.numbers), self.arguments.error_rate
        if int(number * rate) > int((number - 1) * rate):
            return failure(500, "told to fail")
        if self.arguments.hang_after is not None and number > self.arguments.hang_after:
            await asyncio.Event().wait()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.extra(number))
            async with self.slots:
                answer = self.stream if body.get("stream") else self.complete
                return await answer(request, body)
        finally:
            self.in_flight -= 1

    def extra(self, number: int) -> float:
        """The seconds by which this request is slower than it should be."""
        most, first = self.arguments.collapse_above, self.arguments.slow_after
        collapsed = most is not None and self.in_flight > most
        return float(collapsed) + float(first is not None and number > first)

    async def complete(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        tokens = body.get("max_tokens", 16)
        await asyncio.sleep(self.arguments.ttft + self.arguments.tpot * (tokens - 1))
        choice = {"index": 0, "text": " word" * tokens, "finish_reason": "length"}
        return web.json_response({"choices": [choice], "usage": self.usage(body)})

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        tokens = body.get("max_tokens", 16)
        await asyncio.sleep(self.arguments.ttft)
        await response.prepare(request)
        for index in range(tokens):
            if index:
                await asyncio.sleep(self.arguments.tpot)
            if index == 2 and self.arguments.break_streams:
                assert request.transport is not None
                request.transport.abort()
                return response
            reason = "length" if index == tokens - 1 else None
            choice = {"index": 0, "text": " word", "finish_reason": reason}
            await response.write(event({"choices": [choice]}))
        if (body.get("stream_options") or {}).get("include_usage") and not self.arguments.no_usage:
            await response.write(event({"choices": [], "usage": self.usage(body)}))
        await response.write(b"data: [DONE]\n\n")
        return response

    def usage(self, body: dict[str, Any]) -> dict[str, int]:
        words = len(str(body.get("prompt", "")).split())
        prompt = 1 + round(words * self.arguments.tokens_per_word)
        tokens = body.get("max_tokens", 16)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
        }


def event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def failure(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


async def serve(arguments: argparse.Namespace) -> None:
    await asyncio.sleep(arguments.startup_delay)
    server = Server(arguments)
    app = web.Application(client_max_size=64 * 1024**2)
    app.add_routes(
        [
            web.get("/health", server.health),
            web.get("/v1/models", server.models),
            web.post("/v1/completions", server.completions),
        ]
    )
    if arguments.n_ctx:
        print(f"llama_context: n_ctx = {-(-arguments.n_ctx // 256) * 256}", flush=True)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, arguments.host, arguments.port).start()
    print(f"listening on {runner.addresses[0][1]}", flush=True)
    if arguments.exit_after is None:
        await asyncio.Event().wait()
    await asyncio.sleep(arguments.exit_after)
    print("told to die", flush=True)
    os._exit(arguments.exit_code)


if __name__ == "__main__":
    asyncio.run(serve(parse_arguments()))
