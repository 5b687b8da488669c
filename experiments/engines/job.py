"""No server at all: the user's command is the measurement, and prints its metrics."""

import json
import re
from typing import Any

from experiments.engines.base import Explanation, Launch, Parameters, Value
from experiments.engines.custom import fill
from experiments.engines.failures import explain_job
from experiments.engines.flags import format_value


class Job:
    """The same command as `custom`, run to its end."""

    name = "job"
    health_path = ""

    def argv(self, launch: Launch) -> list[str]:
        return fill(launch)

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        return explain_job(exit_code, log)

    def effective(self, log: str) -> dict[str, Value] | None:
        return None


def job_environment(parameters: Parameters) -> dict[str, str]:
    """The parameters as variables: `max-num-seqs` as `AUTOTUNER_MAX_NUM_SEQS`."""
    return {
        "AUTOTUNER_" + re.sub(r"\W", "_", name).upper(): format_value(value)
        for name, value in parameters.items()
    }


def read_metrics(log: str) -> dict[str, float]:
    """The last line that is a JSON object of numbers; empty when there is none.

    NaN and infinity are numbers here: what they mean for the objective is for the scorer.
    """
    for line in reversed(log.splitlines()):
        if line.lstrip().startswith("{") and (metrics := _numbers(line)):
            return metrics
    return {}


def _numbers(line: str) -> dict[str, float]:
    try:
        found: Any = json.loads(line)
        if not all(type(value) in (int, float) for value in found.values()):
            return {}
        return {name: float(value) for name, value in found.items()}
    except (ValueError, RecursionError, OverflowError):
        return {}
