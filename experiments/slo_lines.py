"""How the form says service-level objectives, one limit a line: `ttft p90: 1.0 hard`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from experiments.documents import read_document, write_yaml
from experiments.errors import BadInput
from experiments.slo import TIMES, Limits, Slo

NUMBER = r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+"
OTHERS = ("throughput", "requests_per_second", "error_rate")
LINE = re.compile(
    rf"(?P<metric>[a-z_]+)(?:\s+(?P<part>[a-z]+\d*))?\s*:\s*(?P<threshold>{NUMBER})"
    rf"(?:\s+weight\s+(?P<weight>{NUMBER}))?"
    rf"(?:\s+(?P<kind>hard|soft)(?:\s+beyond\s+(?P<percent>{NUMBER})\s*%)?)?"
)
IS_YAML = re.compile(r"\{|:[ \t]*(?:\n|$)")
EXAMPLE = "ttft p90: 1.0 hard"
# What a limit may be on, with one that people set; for suggestions
KNOWN_LIMITS = {
    **{f"ttft {part}": "1.0 hard" for part in Limits.model_fields},
    **{f"tpot {part}": "0.05" for part in Limits.model_fields},
    **{f"latency {part}": "5.0 hard beyond 20 %" for part in Limits.model_fields},
    "throughput": "500 hard",
    "requests_per_second": "10",
    "error_rate": "0.01 hard",
}


def read_limits(text: str) -> Any:
    """The `slo` of a task file, from lines or from YAML. Raises BadInput, which names the line."""
    if IS_YAML.search(text):
        return read_document(text)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    matches = [LINE.fullmatch(line) for line in lines]
    found: dict[str, Any] = {}
    for number, (line, match) in enumerate(zip(lines, matches, strict=True), start=1):
        if match is None:
            raise BadInput("", f"line {number}: cannot read {line[:40]!r}; write {EXAMPLE}")
        try:
            _add(found, match)
        except BadInput as problem:
            raise BadInput("", f"line {number}: {problem.message}") from None
    return found


def _add(found: dict[str, Any], match: re.Match[str]) -> None:
    """One line's limit."""
    metric, part = match["metric"], match["part"]
    if metric == "steepness":
        limit: Any = float(match["threshold"])
    else:
        limit = _limit(match)
    if metric in TIMES:
        where, name = found.setdefault(metric, {}), part or "mean"
    else:
        where, name = found, metric
        if metric in Slo.model_fields and part:
            raise BadInput("", f"{metric} has no percentiles; write {metric}: {match['threshold']}")
    if name in where:
        raise BadInput("", f"{metric} {part or ''}".strip() + " is given twice")
    where[name] = limit


def _limit(match: re.Match[str]) -> dict[str, Any]:
    limit: dict[str, Any] = {"threshold": float(match["threshold"])}
    if match["weight"]:
        limit["weight"] = float(match["weight"])
    if match["kind"]:
        limit["hard_fail"] = match["kind"] == "hard"
    if match["percent"]:
        limit["fail_ratio"] = round(float(match["percent"]) / 100, 6)
    return limit


def write_limits(slo: Any) -> str:
    """The same as lines, or as YAML where lines could not say all of it."""
    if not slo:
        return ""
    try:
        Slo.model_validate(slo)
        lines = "\n".join(_lines(slo))
        is_all = read_limits(lines) == _with_means(slo)
    except (ValidationError, BadInput):
        is_all = False
    return lines if is_all else write_yaml(slo).rstrip()


def _lines(slo: Mapping[str, Any]) -> Iterator[str]:
    for metric, limit in _with_means(slo).items():
        if metric in TIMES:
            yield from (f"{metric} {part}: {_written(one)}" for part, one in limit.items())
        else:
            yield f"{metric}: {_written(limit)}"


def _with_means(slo: Mapping[str, Any]) -> dict[str, Any]:
    """With `{threshold: …}` of a time as the limit on its mean, as which it is read."""
    return {
        metric: {"mean": limit} if metric in TIMES and "threshold" in limit else limit
        for metric, limit in slo.items()
    }


def _written(limit: Any) -> str:
    if not isinstance(limit, Mapping):
        return f"{limit:g}"
    words = [repr(limit["threshold"])]
    if "weight" in limit:
        words.append(f"weight {limit['weight']!r}")
    if "hard_fail" in limit:
        words.append("hard" if limit["hard_fail"] else "soft")
    if "fail_ratio" in limit:
        words.append(f"beyond {limit['fail_ratio'] * 100:g} %")
    return " ".join(words)
