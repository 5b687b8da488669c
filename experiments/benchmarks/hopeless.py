"""When the rest of a load level cannot save it: bounds over all that may still come.

Where the best one's requests are known, also when it is beyond reasonable doubt: see `forecast.py`.
"""

import math

from experiments.benchmarks.base import Metrics, StopWhen
from experiments.benchmarks.client import Answer
from experiments.benchmarks.forecast import Forecast
from experiments.benchmarks.summary import TIMES


class Judge:
    """Hears every answer of a level, and says when it is hopeless.

    At most `requests` are sent in the level, which ask for `tokens` of output together (None when
    that is not known). Nothing is said before one request has completed, since a level without
    metrics would be a failure, nor after the last one, when it is measured to its end.
    """

    def __init__(self, stop_when: StopWhen, requests: int, tokens: int | None = None) -> None:
        self.stop_when, self.requests, self.tokens = stop_when, requests, tokens
        self.completed = self.errors = 0
        self.began = math.inf
        self.exceeding: dict[str, Exceeding] = {
            metric: Exceeding(metric, limit, requests)
            for metric, limit in stop_when.at_most.items()
            if metric.split("_")[0] in TIMES
        }
        pace = stop_when.pace
        # Of answers of any length nobody knows how many tokens they bring
        is_known = pace is not None and (tokens is not None or not pace.is_throughput)
        self.forecast = Forecast(pace, requests) if pace and is_known else None

    @property
    def expected(self) -> Metrics:
        """What the metric that is compared would have come to, had the level gone to its end."""
        value = self.forecast.value if self.forecast else None
        return {} if self.forecast is None or value is None else {self.forecast.pace.metric: value}

    def hear(self, answer: Answer) -> str:
        """Why the level is hopeless after this answer; empty while it is not."""
        self.began = min(self.began, answer.sent)
        if answer.error:
            self.errors += 1
        else:
            self.completed += 1
            for times in self.exceeding.values():
                times.add(answer)
            if self.forecast:
                self.forecast.add(answer)
        heard = self.completed + self.errors
        if not self.completed or not self.stop_when.after <= heard < self.requests:
            return ""
        for why in (self._errors(), *(times.why() for times in self.exceeding.values())):
            if why:
                return why
        return self._throughput(answer.ended - self.began) or self._beyond_doubt()

    def _errors(self) -> str:
        limit = self.stop_when.max_error_rate
        if self.errors <= limit * self.requests:
            return ""
        return f"{self.errors} of at most {self.requests} requests failed (limit {limit:.1%})"

    def _beyond_doubt(self) -> str:
        return self.forecast.why() if self.forecast else ""

    def _throughput(self, seconds: float) -> str:
        """As if all the rest were answered this moment."""
        total = {"requests_per_second": self.requests, "goodput": self.requests}
        if self.tokens is not None:
            total["output_throughput"] = self.tokens
        for metric, least in self.stop_when.at_least.items():
            if metric in total and total[metric] < least * seconds:
                return (
                    f"{metric} is at most {total[metric] / seconds:.4g} after {seconds:.3g} s, "
                    f"{least:.4g} needed"
                )
        return ""


class Exceeding:
    """The completed requests that took longer than a limit on a mean or a percentile.

    Of n values the percentile p is at least the one at place ⌊(n − 1) p⌋, from 0 (see
    `summary.percentile`). It is above the limit when no more than so many values are not: for n
    values, n − ⌊(n − 1) p⌋ above it suffice. That number grows with n, so the one for all requests
    of the level holds however many of them complete. A mean is at least the sum so far divided by
    all requests.
    """

    def __init__(self, metric: str, limit: float, requests: int) -> None:
        self.metric, self.limit, self.requests = metric, limit, requests
        time, _, part = metric.partition("_")
        self.measure, self.is_tpot = TIMES[time], time == "tpot"
        percent = None if part == "mean" else int(part[1:])
        self.suffice = None if percent is None else requests - (requests - 1) * percent // 100
        self.above, self.sum = 0, 0.0

    def add(self, answer: Answer) -> None:
        if self.is_tpot and answer.output_tokens < 2:
            return
        took = self.measure(answer)
        self.sum += took
        self.above += took > self.limit

    def why(self) -> str:
        if self.suffice is None:
            if self.sum <= self.limit * self.requests:
                return ""
            least = self.sum / self.requests
            return f"{self.metric} is at least {least:.4g} s, limit {self.limit:.4g} s"
        if self.above < self.suffice:
            return ""
        return (
            f"{self.metric}: {self.above} of at most {self.requests} requests took longer than "
            f"{self.limit:.4g} s"
        )
