"""The load generator: a light process of its own that measures one load level.

Started by path, with everything it needs in its arguments, so that it loads nothing of
Django and disturbs the server on the same machine as little as it can.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import sys
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

# By path, so that it does not matter where the caller stands.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.base import Load, Metrics, StopWhen
from experiments.benchmarks.client import Answer, Client, Request, open_session
from experiments.benchmarks.hopeless import Judge
from experiments.benchmarks.reports import write_report
from experiments.benchmarks.scenarios import Scenario, parse
from experiments.benchmarks.summary import latency, overdue_after, percentile, summarise, tpot, ttft
from experiments.benchmarks.traffic import (
    Traffic,
    arrivals,
    closed_loop,
    open_loop,
)

# Requests that are written before the clock starts; later ones are written when needed.
PREPARED_REQUESTS = 1000
# A request rate does not say how many warm-up requests to keep in flight.
OPEN_LOOP_WARMUP_CONCURRENCY = 8
# Options of the user's that change how many tokens a request may bring.
OUTPUT_LENGTHS = frozenset({"max_tokens", "max_completion_tokens", "n", "best_of"})
COUNTED_REQUESTS = 20_000  # So many are drawn in a fifth of a second


async def measure(load: Load) -> dict[str, Any]:
    """Warm the server up, put `load` on it, and say how it went, as a report."""
    scenario = parse(load.level.scenario)
    async with open_session() as session:
        client = Client(session, load)
        await _warm_up(client, load, scenario)
        requests = [
            client.request(scenario, "measured", index)
            for index in range(min(load.max_requests, PREPARED_REQUESTS))
        ]
        _quiet_the_collector()
        started, cpu = perf_counter(), process_time()
        traffic, expected = await _put_on(client, load, scenario, requests)
        elapsed, cpu = perf_counter() - started, process_time() - cpu
    report = _report(load, client, traffic, elapsed, cpu)
    report["metrics"].update(expected)
    return report


async def _warm_up(client: Client, load: Load, scenario: Scenario) -> None:
    """Send what is not counted; a server that hangs here may do so for `max_seconds`."""

    async def send(index: int) -> Answer:
        return await client.send(client.request(scenario, "warm-up", index))

    started = perf_counter()
    try:
        async with asyncio.timeout(load.max_seconds):
            await client.prepare()
    except TimeoutError:
        return
    left = load.max_seconds - (perf_counter() - started)
    concurrency = load.level.concurrency or OPEN_LOOP_WARMUP_CONCURRENCY
    await closed_loop(send, load.warmup_requests, concurrency, left)


async def _put_on(
    client: Client, load: Load, scenario: Scenario, requests: list[Request]
) -> tuple[Traffic, Metrics]:
    """How it went; and of what was stopped early, what it would have come to if that is known."""

    async def send(index: int) -> Answer:
        if index < len(requests):
            return await client.send(requests[index])
        return await client.send(client.request(scenario, "measured", index))

    level, seconds = load.level, load.max_seconds
    if level.concurrency is not None:
        judge = _judge(client, load, scenario, load.max_requests)
        traffic = await closed_loop(send, load.max_requests, level.concurrency, seconds, judge.hear)
        return traffic, judge.expected if traffic.stopped_early else {}
    if level.request_rate is None:
        raise ValueError("a load level has a concurrency or a request rate")
    random = Random(f"{load.seed} {level.label} arrivals")
    due = arrivals(load.max_requests, level.request_rate, load.arrival, random)
    judge = _judge(client, load, scenario, sum(at < seconds for at in due))
    traffic = await open_loop(send, due, seconds, judge.hear)
    return traffic, judge.expected if traffic.stopped_early else {}


def _judge(client: Client, load: Load, scenario: Scenario, requests: int) -> Judge:
    """What hears the answers of at most `requests`: to the end, or until they are hopeless."""
    if load.stop_when is None:
        return Judge(StopWhen(), requests)
    lengths_are_known = not OUTPUT_LENGTHS & set(load.request_options)
    tokens = None
    if lengths_are_known and requests <= COUNTED_REQUESTS:
        tokens = sum(client.output_tokens(scenario, "measured", i) for i in range(requests))
    return Judge(load.stop_when, requests, tokens)


def _quiet_the_collector() -> None:
    """Keep the garbage collector from pausing the event loop over what lives for ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)


def _report(
    load: Load, client: Client, traffic: Traffic, elapsed: float, cpu: float
) -> dict[str, Any]:
    # Those in flight when a level is stopped early may have been answered yet
    metrics = summarise(
        traffic.answers,
        traffic.unfinished,
        traffic.cut_off,
        may_be_overdue=not traffic.stopped_early,
    )
    metrics["lateness_p99"] = percentile(sorted(traffic.lateness) or [0.0], 99)
    metrics["cpu_share"] = cpu / elapsed
    completed = [answer for answer in traffic.answers if not answer.error]
    failed = [answer for answer in traffic.answers if answer.error]
    overdue = metrics["errors"] > len(failed)
    patience = overdue_after(completed) or load.max_seconds
    silence = f"no answer within {patience:.3g} s" if overdue else ""
    return {
        "load": dataclasses.asdict(load),
        "metrics": metrics,
        "first_error": failed[0].error if failed else silence,
        "unfinished": len(traffic.unfinished),
        "stopped_early": traffic.stopped_early,
        "tokens_per_word": client.calibration.per_word,
        "constant_tokens": client.calibration.constant,
        "dropped_fields": list(client.dropped),
        "cpu_seconds": process_time(),
        "samples": {
            "ttft": [ttft(answer) for answer in completed],
            "tpot": [tpot(a) if a.output_tokens > 1 else None for a in completed],
            "latency": [latency(answer) for answer in completed],
            "input_tokens": [answer.input_tokens for answer in completed],
            "output_tokens": [answer.output_tokens for answer in completed],
        },
    }


def main() -> None:
    """Measure the load of `--spec` and write `--report`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="a Load, as a JSON object")
    parser.add_argument("--report", required=True, type=Path, help="the file to write")
    arguments = parser.parse_args()
    load = Load.parse(json.loads(arguments.spec))
    write_report(arguments.report, asyncio.run(measure(load)))


if __name__ == "__main__":
    main()
