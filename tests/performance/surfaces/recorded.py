"""The grid that was measured on a real vLLM, twice: `vllm-cpu.json`, with where it comes from.

Two measurements of one configuration differ by about 7 %, so their mean is still off by 5 %, and
the best of 81 such means is a lucky one. `vllm` therefore takes for true what the parameters and
their pairs explain of all measurements together (least squares on the logarithms: an analysis of
variance without the higher interactions); `vllm-means` takes the bare means, of which a part is
chance that nobody can know from other configurations.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from experiments.space import Configuration
from tests.performance.surfaces.surface import Surface

FILE = Path(__file__).with_name("vllm-cpu.json")
METRIC = "output_throughput"
TOKENS = 32  # of output for each request, as its scenario says


@cache
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(FILE.read_text())
    return read


def key(values: Sequence[Any]) -> str:
    return json.dumps(list(values))


@cache
def throughputs() -> dict[str, list[list[float]]]:
    """Of each configuration that works, by the values of its parameters: runs × load levels."""
    column = document()["metrics"].index(METRIC)
    return {
        key(row["values"]): [[level[column] for level in run] for run in row["runs"]]
        for row in document()["rows"]
        if row["runs"]
    }


def means() -> dict[str, list[float]]:
    """The geometric mean of the runs at each level."""
    return {
        name: [
            math.exp(sum(map(math.log, level)) / len(level)) for level in zip(*runs, strict=True)
        ]
        for name, runs in throughputs().items()
    }


def explained() -> dict[str, list[float]]:
    """What the parameters and their pairs explain, at each level."""
    import numpy as np

    measured = means()
    names = [name for name in measured if name != key([])]
    terms = np.array([_terms(json.loads(name)) for name in names])
    logs = np.log(np.array([measured[name] for name in names]))
    weights, *_ = np.linalg.lstsq(terms, logs, rcond=None)
    smooth = np.exp(terms @ weights)
    found = {name: [float(x) for x in row] for name, row in zip(names, smooth, strict=True)}
    return {key([]): measured[key([])], **found}


def _terms(values: Sequence[Any]) -> list[float]:
    """One, every parameter's value as an indicator, and every pair of them."""
    options = document()["parameters"].values()
    alone = [
        [float(value == option) for option in among]
        for value, among in zip(values, options, strict=True)
    ]
    pairs = [x * y for a, b in itertools.combinations(alone, 2) for x in a for y in b]
    return [1.0, *(x for each in alone for x in each), *pairs]


def noise() -> float:
    """The standard deviation of one measurement, as a share, from all that were repeated."""
    twice = throughputs().values()
    squares = [math.log(_score(one) / _score(other)) ** 2 / 2 for one, other in twice]
    return math.sqrt(sum(squares) / len(squares))


def seconds() -> tuple[float, float, float]:
    """Of a start, of a load level, and of a start that fails: the usual ones."""
    rows = document()["rows"]
    column = document()["metrics"].index(METRIC)
    levels = [
        _requests() * TOKENS / level[column] for row in rows for run in row["runs"] for level in run
    ]
    whole = [each for row in rows if row["runs"] for each in row["seconds"]]
    failed = [each for row in rows if not row["runs"] for each in row["seconds"]]
    level = sum(levels) / len(levels)
    return sum(whole) / len(whole) - 2 * level, level, sum(failed) / len(failed)


def _requests() -> int:
    """Of each load level, which all were answered long before its time was over."""
    return int(document()["provenance"]["benchmark"]["max_requests_per_iteration"])


def _score(levels: Sequence[float]) -> float:
    return sum(levels) / len(levels)


Truth = Mapping[str, Sequence[float]]


def surface(name: str, truth: Truth, known: Truth | None = None) -> Surface:
    """The recorded grid with these true throughputs at each load level, of which `known` can be
    learned from other configurations.
    """
    parameters, labels = document()["parameters"], document()["levels"]

    def find(among: Truth, configuration: Configuration) -> Sequence[float] | None:
        return among.get(key([configuration[one] for one in parameters if one in configuration]))

    at = partial(find, truth)

    def score(configuration: Configuration) -> float | None:
        found = at(configuration)
        return None if found is None else _score(found)

    return Surface(
        name,
        parameters,
        score,
        baseline=_score(truth[key([])]),
        noise=noise(),
        loads=dict(zip(labels, truth[key([])], strict=True)),
        at_loads=lambda configuration: dict(zip(labels, at(configuration) or (), strict=True)),
        seconds=seconds(),
        requests=_requests(),
        tokens=_requests() * TOKENS,
        order=(lambda one: _score(find(known, one) or (0.0,))) if known else None,
    )


def recorded() -> list[Surface]:
    return [surface("vllm", explained()), surface("vllm-means", means(), explained())]
