"""The report files that load generators leave behind."""

import json
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentFailed
from experiments.states import FailureKind


def read_report(report: Path) -> dict[str, Any]:
    """The JSON object in `report`. Raises ExperimentFailed when there is none."""
    try:
        content = json.loads(report.read_text())
    except FileNotFoundError:
        raise no_measurement("the load generator wrote no report") from None
    except (OSError, ValueError) as problem:
        raise no_measurement(f"the load generator's report is unreadable: {problem}") from None
    if not isinstance(content, dict):
        raise no_measurement("the load generator's report is not a JSON object")
    return content


def write_report(report: Path, content: dict[str, Any]) -> None:
    """Write `content` in one step, so that a reader never sees half of it."""
    part = report.with_name(report.name + ".part")
    part.write_text(json.dumps(content, allow_nan=False))
    part.replace(report)


def no_measurement(message: str) -> ExperimentFailed:
    """The failure of an experiment whose benchmark gave nothing to judge it by."""
    return ExperimentFailed(FailureKind.BENCHMARK_ERRORS, message)
