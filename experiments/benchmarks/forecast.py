"""What a level will come to, from how much slower its requests are than the best one's were.

The same requests are sent to every configuration, so what differs between two of them, request for
request, is the server. Where requests keep a fixed number in flight, a throughput is as many times
lower as each of them takes longer (Little's law), however the level begins and ends.
"""

import math
from collections.abc import Iterable, Iterator

from experiments.benchmarks.base import Pace
from experiments.benchmarks.client import Answer
from experiments.benchmarks.summary import TIMES

# Standard errors. Far more than doubt needs: the forecast is what the search learns of this level,
# so its error must be small beside the gap
BEYOND = 5.0


class Forecast:
    """Hears every completed request of a level, of which there are at most `requests`.

    It is lost when even a forecast that is `BEYOND` standard errors too good falls short of what
    is needed: stochastic curtailment (Lan, Simon and Halperin, Communications in Statistics C 1,
    1982). So it is of all requests as of their latter half alone, which a cache may have made
    quicker. The error vanishes towards the end of the level, where nothing is left to guess.
    """

    def __init__(self, pace: Pace, requests: int) -> None:
        self.pace, self.requests = pace, requests
        self.measure = TIMES[pace.time]
        self.theirs = _Sums(pace.times)
        self.own = _Sums(())

    def add(self, answer: Answer) -> None:
        if self.pace.time != "tpot" or answer.output_tokens > 1:
            self.own.add(self.measure(answer))

    @property
    def value(self) -> float | None:
        """The metric at the end of the level, as is expected now; None while nobody can say."""
        count = len(self.own)
        if not self.pace.after <= count <= len(self.theirs):
            return None
        return self._at(self._ratio(0, count))

    def why(self) -> str:
        """Why what is needed is out of reach; empty while it is not."""
        expected, pace = self.value, self.pace
        if expected is None or not all(self._is_lost(at_best) for at_best in self._at_best()):
            return ""
        return (
            f"{pace.metric} would be about {expected:.4g}, as after {len(self.own)} of "
            f"{self.requests} requests, {pace.needed:.4g} needed"
        )

    def _at_best(self) -> Iterator[float]:
        """The best that can be hoped for, from all requests and from their latter half."""
        count = len(self.own)
        left = 1 - count / max(self.requests, count)
        theirs = self.theirs.variation(len(self.theirs))
        # A few answers may be alike by chance
        spread = max(self.own.variation(count), theirs) ** 2 + theirs**2
        for begin in (0, count // 2):
            error = BEYOND * math.sqrt(spread * left / (count - begin))
            yield self._at(self._ratio(begin, count) / (1 + error))

    def _is_lost(self, value: float) -> bool:
        needed = self.pace.needed
        return value < needed if self.pace.is_throughput else value > needed

    def _at(self, ratio: float) -> float:
        value = self.pace.value
        return value / ratio if self.pace.is_throughput else value * ratio

    def _ratio(self, begin: int, end: int) -> float:
        """How many times longer requests took than the best one's, between these places."""
        theirs = self.theirs.sum(begin, end)
        return self.own.sum(begin, end) / theirs if theirs > 0 else math.nan


class _Sums:
    """Sums, and sums of squares, of the first so many values."""

    def __init__(self, values: Iterable[float]) -> None:
        self.sums, self.squares = [0.0], [0.0]
        for value in values:
            self.add(value)

    def __len__(self) -> int:
        return len(self.sums) - 1

    def add(self, value: float) -> None:
        self.sums.append(self.sums[-1] + value)
        self.squares.append(self.squares[-1] + value * value)

    def sum(self, begin: int, end: int) -> float:
        return self.sums[end] - self.sums[begin]

    def variation(self, count: int) -> float:
        """The coefficient of variation of the first `count`."""
        mean = self.sums[count] / count
        variance = max(0.0, self.squares[count] / count - mean * mean) * count / max(1, count - 1)
        return math.sqrt(variance) / mean if mean > 0 else math.inf
