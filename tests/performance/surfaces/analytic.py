"""Surfaces that are written down: what is known of engines, with failures and noise.

The shapes are those of real servers: more sequences help until the cache is full, larger batches
help until a step takes too long, and some flags matter only beside others.
"""

import math

from experiments.space import Configuration
from tests.performance.surfaces.surface import Surface

# Load levels, each with its part of the final throughput
LOADS = {
    "concurrency 1": 0.05,
    "concurrency 8": 0.3,
    "concurrency 32": 0.75,
    "concurrency 128": 1.0,
}


def throughput(c: Configuration) -> float | None:
    """A GPU server: sequences against memory, batch against sequences; an out-of-memory corner."""
    seqs, batch, share = c["max-num-seqs"], c["max-num-batched-tokens"], c["gpu-memory-utilization"]
    if share > 0.93 and seqs >= 256:
        return None  # Out of memory
    if batch < seqs:
        return None  # Refused by the engine
    cache = (share - 0.55) * 640  # Sequences that fit
    running = seqs if seqs <= cache else cache * (cache / seqs) ** 0.25
    prefill = 1 / (1 + 900 / batch) * (1 - 0.06 * max(0.0, math.log2(batch / 4096)))
    speed = 9000 * running / (running + 70) * prefill
    speed *= 1.06 if c["enable-chunked-prefill"] else 1.0
    speed *= 0.82 if c["enforce-eager"] else 1.0
    return speed * {"auto": 1.0, "fp8": 1.09}[c["kv-cache-dtype"]]


def latency(c: Configuration) -> float | None:
    """Seconds to the first token: small batches are quick, until requests wait for a place."""
    seqs, batch = c["max-num-seqs"], c["max-num-batched-tokens"]
    if batch < seqs:
        return None
    waiting = 2.4 * max(0.0, 1 - seqs / 48) ** 2
    step = 0.02 + batch / 16000 + (0.0 if c["enable-chunked-prefill"] else 0.12)
    rounds = 0.06 * max(0.0, math.log2(1024 / batch)) ** 1.5
    return (0.05 + waiting + step + rounds) * {1: 1.0, 2: 0.88, 4: 0.93, 8: 1.1}[c["steps"]]


def rugged(c: Configuration) -> float | None:
    """Two hills: the wide one is lower than the narrow one, which needs two flags at once."""
    x, y = math.log2(c["tokens"] / 256), c["share"]
    wide = 1000 * math.exp(-((x - 1.5) ** 2) / 6 - ((y - 0.75) ** 2) / 0.02)
    narrow = 1250 * math.exp(-((x - 5) ** 2) / 2.5 - ((y - 0.9) ** 2) / 0.004)
    if c["backend"] == "c" and y > 0.92:
        return None
    bonus = {"a": 0.92, "b": 1.0, "c": 0.97}[c["backend"]]
    return 200 + (wide + (narrow if c["speculative"] else 0.35 * narrow)) * bonus


def continuous(c: Configuration) -> float | None:
    """A scheduler's two weights, on a logarithm and a plain range, and a flag."""
    x = math.log10(c["rate"]) + 2.6
    y = c["fraction"] - 0.35
    if c["fraction"] > 0.9:
        return None
    return 500 + 700 * math.exp(-(x**2) / 0.6 - (y**2) / 0.08) * (1.0 if c["overlap"] else 0.93)


def failing(c: Configuration) -> float | None:
    """As `throughput`, where four of ten configurations fail."""
    if c["kv-cache-dtype"] == "fp8" and not c["enforce-eager"]:
        return None
    if c["gpu-memory-utilization"] > 0.87 and c["max-num-seqs"] >= 128:
        return None
    return throughput(c)


SERVER = {
    "max-num-seqs": [8, 16, 32, 64, 128, 256, 512],
    "max-num-batched-tokens": [256, 512, 1024, 2048, 4096, 8192, 16384],
    "gpu-memory-utilization": {"type": "continuous", "low": 0.7, "high": 0.95, "step": 0.05},
    "enable-chunked-prefill": [True, False],
    "enforce-eager": [True, False],
    "kv-cache-dtype": ["auto", "fp8"],
}

ANALYTIC = [
    Surface("throughput", SERVER, throughput, baseline=5600.0, loads=LOADS),
    Surface("failing", SERVER, failing, baseline=5600.0, loads=LOADS),
    Surface(
        "latency",
        {
            "max-num-seqs": {"type": "integer", "low": 4, "high": 256, "log": True},
            "max-num-batched-tokens": [64, 128, 256, 512, 1024, 2048, 4096, 8192],
            "enable-chunked-prefill": [True, False],
            "steps": [1, 2, 4, 8],
        },
        latency,
        baseline=0.6,
        maximize=False,
    ),
    Surface(
        "rugged",
        {
            "tokens": [256, 512, 1024, 2048, 4096, 8192, 16384],
            "share": {"type": "continuous", "low": 0.6, "high": 0.96, "step": 0.03},
            "backend": ["a", "b", "c"],
            "speculative": [True, False],
        },
        rugged,
        baseline=900.0,
    ),
    Surface(
        "continuous",
        {
            "rate": {"type": "continuous", "low": 1e-4, "high": 1e-1, "log": True},
            "fraction": {"type": "continuous", "low": 0.0, "high": 1.0},
            "overlap": [True, False],
        },
        continuous,
        baseline=620.0,
    ),
]
