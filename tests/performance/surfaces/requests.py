"""The single requests of a load level, so that the product's own judge hears their answers."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.benchmarks.base import Level, Samples, StopWhen
from experiments.benchmarks.client import Answer
from experiments.benchmarks.hopeless import Judge
from experiments.benchmarks.summary import latency

SPREAD = 0.2  # of what requests take: their coefficient of variation
TOGETHER = 0.1  # of what those have together that are in flight together
TOKENS = 32  # of each answer


@dataclass(frozen=True)
class Heard:
    """What became of a level: its share of its own time, and the throughput it came to."""

    share: float
    value: float
    why: str = ""


def level_of(label: str) -> Level | None:
    """The load level of a label that names its concurrency."""
    scenario, found, concurrency = label.rpartition("concurrency ")
    return Level(scenario.strip(" ·"), int(concurrency)) if found else None


def answers(value: float, requests: int, concurrency: int, rng: random.Random) -> list[Answer]:
    """Answers in the order of their ends, which come to `value` tokens per second together."""
    places = [0.0] * min(concurrency, requests)
    together: list[float] = []
    each: list[tuple[float, float]] = []
    for index in range(requests):
        if index % concurrency == 0:
            together.append(rng.gauss(0.0, TOGETHER))
        begin = heapq.heappop(places)
        end = begin + rng.lognormvariate(together[-1], SPREAD)
        heapq.heappush(places, end)
        each.append((end, begin))
    unit = requests * TOKENS / value / max(places)
    return [
        Answer(begin * unit, end * unit, begin * unit, end * unit, [], 1, TOKENS)
        for end, begin in sorted(each)
    ]


def hear(heard: Sequence[Answer], value: float, stop_when: StopWhen) -> Heard:
    """The level as the product's load generator would have ended it."""
    judge = Judge(stop_when, len(heard), len(heard) * TOKENS)
    for answer in heard:
        if why := judge.hear(answer):
            so_far = judge.completed * TOKENS / answer.ended
            expected = next(iter(judge.expected.values()), so_far)
            return Heard(answer.ended / heard[-1].ended, expected, why)
    return Heard(1.0, value)


def samples(heard: Sequence[Answer]) -> Samples:
    """What is kept of them."""
    return {
        "latency": [latency(answer) for answer in heard],
        "input_tokens": [answer.input_tokens for answer in heard],
        "output_tokens": [answer.output_tokens for answer in heard],
    }
