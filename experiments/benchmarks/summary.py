"""From the answers of one load level to its metrics."""

from collections.abc import Callable, Mapping, Sequence

from experiments.benchmarks.base import Metrics
from experiments.benchmarks.client import Answer

PERCENTILES = (50, 90, 95, 99)

# In flight for longer than this, when the time is over, is no answer: so many times as long as
# the slowest completed request, and so many seconds.
OVERDUE_TIMES = 2.0
OVERDUE_SECONDS = 1.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile of `values`, which are sorted, by linear interpolation.

    Hyndman and Fan's definition 7 (The American Statistician 50, 1996): numpy's default.
    """
    position = (len(values) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (position - below)


def describe(name: str, values: Sequence[float]) -> Metrics:
    """`{name}_mean` and the percentiles; nothing when there is no value to describe."""
    if not values:
        return {}
    ordered = sorted(values)
    mean = {f"{name}_mean": sum(ordered) / len(ordered)}
    return mean | {f"{name}_p{p}": percentile(ordered, p) for p in PERCENTILES}


def summarise(
    answers: Sequence[Answer],
    unfinished: Sequence[float] = (),
    cut_off: float = 0.0,
    *,
    may_be_overdue: bool = True,
) -> Metrics:
    """The metrics of a level, from all its answers. Times in seconds.

    `unfinished` is when each request was sent that was in flight at `cut_off`, when the time
    was over; those that are overdue count as errors, unless they may not be.

    Throughput counts the output tokens of completed requests, from the first send to the
    last end, or to the cut-off if requests were in flight: a server that hangs must not score
    as if the time had ended before. Without a completed request there are only the counts.
    """
    completed = [answer for answer in answers if not answer.error]
    limit = overdue_after(completed)
    overdue = sum(cut_off - sent > limit for sent in unfinished) if may_be_overdue else 0
    requests = len(answers) + overdue
    errors = requests - len(completed)
    counts: Metrics = {
        "requests": requests,
        "completed": len(completed),
        "errors": errors,
        "error_rate": errors / requests if requests else 0.0,
    }
    if not completed:
        return counts
    sent = [*(answer.sent for answer in answers), *unfinished]
    ended = cut_off if unfinished else max(answer.ended for answer in completed)
    started = min(sent) if unfinished else min(answer.sent for answer in completed)
    return counts | _measured(completed, ended - started)


def overdue_after(completed: Sequence[Answer]) -> float:
    """The seconds after which a request that is still in flight counts as never answered.

    When not one has completed, every one of them.
    """
    if not completed:
        return 0.0
    slowest = max(answer.ended - answer.sent for answer in completed)
    return max(OVERDUE_SECONDS, OVERDUE_TIMES * slowest)


def _measured(completed: Sequence[Answer], duration: float) -> Metrics:
    tokens_in = sum(a.input_tokens for a in completed)
    tokens_out = sum(a.output_tokens for a in completed)
    return {
        "duration": duration,
        "requests_per_second": len(completed) / duration,
        "output_throughput": tokens_out / duration,
        "total_throughput": (tokens_in + tokens_out) / duration,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        **describe("ttft", [ttft(a) for a in completed]),
        **describe("tpot", [tpot(a) for a in completed if a.output_tokens > 1]),
        **describe("itl", [gap for a in completed for gap in a.gaps]),
        **describe("latency", [latency(a) for a in completed]),
    }


def ttft(answer: Answer) -> float:
    """Time to first token: from the send to the first token."""
    assert answer.first is not None, "a completed request has a first token"
    return answer.first - answer.sent


def latency(answer: Answer) -> float:
    """From the send to the last token; what the server still says afterwards is no part of it."""
    assert answer.last is not None, "a completed request has a last token"
    return answer.last - answer.sent


def tpot(answer: Answer) -> float:
    """Time per output token after the first one, to the last one."""
    return (latency(answer) - ttft(answer)) / (answer.output_tokens - 1)


TIMES: Mapping[str, Callable[[Answer], float]] = {"ttft": ttft, "tpot": tpot, "latency": latency}
