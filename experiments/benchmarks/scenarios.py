"""Traffic scenarios: how many tokens go in and out of each request."""

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

FORMS = "D(in,out), N(mean,dev)/(mean,dev) or U(min,max)/(min,max), in tokens"

_PAIR = r"\(\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*\)"
_DETERMINISTIC = re.compile(rf"\s*D\s*{_PAIR}\s*")
_DISTRIBUTION = re.compile(rf"\s*([NU])\s*{_PAIR}\s*/\s*{_PAIR}\s*")

Pair = tuple[float, float]


@dataclass(frozen=True)
class Scenario:
    """Distributions of input and output lengths, in tokens.

    A pair is (tokens, 0) for D, (mean, standard deviation) for N, (least, most) for U.
    """

    kind: Literal["D", "N", "U"]
    input: Pair
    output: Pair

    def sample(self, random: Random) -> tuple[int, int]:
        """The input and output tokens of one request, at least one of each."""
        return self._draw(self.input, random), self._draw(self.output, random)

    def _draw(self, pair: Pair, random: Random) -> int:
        if self.kind == "N":
            return max(1, round(random.gauss(*pair)))
        if self.kind == "U":
            return random.randint(int(pair[0]), int(pair[1]))
        return int(pair[0])


def parse(text: str) -> Scenario:
    """The scenario that `text` writes. Raises ValueError, with the three forms, when none."""
    if found := _DETERMINISTIC.fullmatch(text):
        tokens_in, tokens_out = (float(number) for number in found.groups())
        scenario = Scenario("D", (tokens_in, 0.0), (tokens_out, 0.0))
    elif found := _DISTRIBUTION.fullmatch(text):
        a, b, c, d = (float(number) for number in found.groups()[1:])
        scenario = Scenario("N" if found.group(1) == "N" else "U", (a, b), (c, d))
    else:
        raise ValueError(f"{text!r} is not a traffic scenario: write {FORMS}")
    _check(scenario, text)
    return scenario


def _check(scenario: Scenario, text: str) -> None:
    for first, second in (scenario.input, scenario.output):
        if first < 1:
            raise ValueError(f"{text!r}: a length must be at least 1 token; write {FORMS}")
        if scenario.kind != "N" and not (first.is_integer() and second.is_integer()):
            raise ValueError(f"{text!r}: a length is a whole number of tokens; write {FORMS}")
        if scenario.kind == "U" and first > second:
            raise ValueError(f"{text!r}: the least is above the most; write {FORMS}")
