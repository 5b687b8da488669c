"""What the single requests of a load level say: how sure its metrics are, and its goodput."""

import math
from collections.abc import Mapping, Sequence

from experiments.benchmarks.base import Metrics, Samples
from experiments.benchmarks.summary import PERCENTILES, percentile

DIGITS = 6  # of a sample that are kept: more than any clock of ours knows
TIMES = ("ttft", "tpot", "latency")


def compact(samples: Samples) -> Samples:
    """The samples with as many digits as are kept."""
    return {
        name: [None if value is None else _short(value) for value in values]
        for name, values in samples.items()
    }


def rounded(metrics: Mapping[str, float]) -> Metrics:
    """Metrics with as many digits as are kept of a sample."""
    return {name: _short(value) for name, value in metrics.items()}


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def known(samples: Samples, name: str) -> list[float]:
    """The values of one name, without the requests that have none."""
    return [value for value in samples.get(name, ()) if value is not None]


def goodput(samples: Samples, duration: float, limits: Mapping[str, float]) -> float:
    """Completed requests per second that keep every one of `limits`, in seconds by time.

    Zhong et al., "DistServe: Disaggregating Prefill and Decoding for Goodput-optimized Large
    Language Model Serving", OSDI 2024. A request without a second token has no tpot to miss.
    """
    requests = zip(*(samples[name] for name in limits), strict=True)
    most = list(limits.values())
    good = sum(
        all(took is None or took <= limit for took, limit in zip(times, most, strict=True))
        for times in requests
    )
    return good / duration


def standard_errors(samples: Samples) -> Metrics:
    """The standard error of each metric of a level, as a share of it, from its requests.

    * A mean: s / √n.
    * A percentile: half the distance between the percentiles at p ± √(p (1 − p) / n), which is
      Woodruff's interval (Journal of the American Statistical Association 47, 1952).
    * A throughput is what a request brings by the time that it takes: the ratio R = Σy / Σx with
      √(Σ(y − R x)² / (n (n − 1))) / x̄ (Cochran, Sampling Techniques, 1977, chapter 6).

    Requests in one batch are slow together, so the truth is rather more; and one start of a server
    differs from the next by what no request of one start can tell.
    """
    errors: Metrics = {}
    for name in TIMES:
        values = sorted(known(samples, name))
        if len(values) > 1 and values[-1] > 0:
            errors |= {f"{name}_mean": _of_mean(values)}
            errors |= {f"{name}_p{p}": _of_percentile(values, p) for p in PERCENTILES}
    latency, tokens = known(samples, "latency"), known(samples, "output_tokens")
    if len(latency) > 1 and sum(latency) > 0 and sum(tokens) > 0:
        errors["requests_per_second"] = _of_ratio([1.0] * len(latency), latency)
        errors["output_throughput"] = _of_ratio(tokens, latency)
        both = [a + b for a, b in zip(known(samples, "input_tokens"), tokens, strict=True)]
        errors["total_throughput"] = _of_ratio(both, latency)
    return errors


def _of_mean(values: Sequence[float]) -> float:
    count, mean = len(values), math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (count * (count - 1))) / mean


def _of_percentile(ordered: Sequence[float], percent: float) -> float:
    middle = percentile(ordered, percent)
    if middle <= 0:
        return 0.0
    share = percent / 100
    by = 100 * math.sqrt(share * (1 - share) / len(ordered))
    low, high = max(0.0, percent - by), min(100.0, percent + by)
    return (percentile(ordered, high) - percentile(ordered, low)) / 2 / middle


def _of_ratio(brought: Sequence[float], took: Sequence[float]) -> float:
    count = len(took)
    ratio = math.fsum(brought) / math.fsum(took)
    squares = math.fsum((y - ratio * x) ** 2 for y, x in zip(brought, took, strict=True))
    return math.sqrt(squares / (count * (count - 1))) / (math.fsum(brought) / count)
