"""Our own load generator, as a benchmark: its command line, and what its report says."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from experiments.benchmarks.base import Load, Measurement, Metrics
from experiments.benchmarks.reports import no_measurement, read_report

PROGRAM = Path(__file__).with_name("loadgen.py")

# How late the generator may be, in seconds, before its figures say nothing of the server.
CLOSED_LOOP_LATENESS = 0.25
OPEN_LOOP_LATENESS = 0.1


class Autotuner:
    """Measures with `loadgen.py`, in a process of its own."""

    name = "autotuner"

    def argv(self, load: Load, report: Path) -> list[str]:
        """The command line that measures `load` and writes `report`.

        It runs in any working directory: -P keeps this folder's file names from hiding
        those of the standard library.
        """
        spec = json.dumps(dataclasses.asdict(load))
        return [sys.executable, "-P", str(PROGRAM), "--spec", spec, "--report", str(report)]

    def read(self, report: Path) -> Measurement:
        """What was measured. Raises ExperimentFailed when that is nothing, or not valid.

        tpot and itl are left out when no request had a second token.
        """
        content = read_report(report)
        metrics: Metrics = content["metrics"]
        if not metrics["completed"]:
            raise no_measurement(f"no request completed: {content['first_error']}")
        lateness, limit = metrics["lateness_p99"], lateness_limit(content["load"]["level"])
        if lateness > limit:
            raise no_measurement(
                f"the load generator was late by {lateness:.3f} s (limit {limit:.3f} s): "
                "the measurement is invalid, not slow"
            )
        return Measurement(metrics, content.get("samples", {}), content.get("stopped_early", ""))


def lateness_limit(level: dict[str, Any]) -> float:
    """The p99 lateness, in seconds, above which a measurement is not to be believed.

    In an open loop it may also be half of the mean time between two requests.
    """
    if level["request_rate"] is None:
        return CLOSED_LOOP_LATENESS
    return max(OPEN_LOOP_LATENESS, 0.5 / float(level["request_rate"]))
