#!/usr/bin/env python3
"""How close parallel search comes to the ideal, on pretend GPUs: prints one JSON document.

    python tests/performance/parallel_speedup.py [--seconds 2] [--quick]

Starts the whole product on a data folder of its own and runs tasks of `job` experiments that
sleep. Ideal: ceil(experiments / parallel) × seconds. Measured: from the task's start to its end,
as its row says, and the overlap from the diary that the jobs themselves write.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
JOB = """
printf '%s start %s %s\\n' $AUTOTUNER_GPUS $(date +%s.%N) $AUTOTUNER_X >> {diary}
sleep {seconds}
printf '%s end %s %s\\n' $AUTOTUNER_GPUS $(date +%s.%N) $AUTOTUNER_X >> {diary}
echo "{{\\"speed\\": $AUTOTUNER_X}}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one experiment")
    parser.add_argument("--quick", action="store_true", help="only 20 experiments at 4")
    options = parser.parse_args()
    # (experiments, at once); the first of a pair with the same experiments is sequential
    cases = [(20, 4)] if options.quick else [(20, 1), (20, 4), (100, 1), (100, 8)]
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        measured = measure(Path(folder), cases, options.seconds)
    print(json.dumps(measured, indent=2))
    sys.exit(0 if all(meets_its_bar(run) for run in measured["runs"]) else 1)


def meets_its_bar(run: dict[str, Any]) -> bool:
    """At most 1.10 × ideal, a speed-up of 0.9 × the parallel experiments; and one after the other,
    the next process starts within 150 ms."""
    if run["parallel"] == 1:
        fast = run["end_to_next_start_ms"]["p99"] <= 150
    else:
        fast = run["ratio_to_ideal"] <= 1.10
    return fast and run.get("speedup", 99) >= 0.9 * run["parallel"] and not run["gpu_shared"]


def measure(folder: Path, cases: list[tuple[int, int]], seconds: float) -> dict[str, Any]:
    environment = {
        **os.environ,
        "AUTOTUNER_DATA_DIR": str(folder),
        "GPUPOOL_INVENTORY": "simulated:8",
    }
    manage = [sys.executable, str(ROOT / "manage.py")]
    up = subprocess.Popen(
        [*manage, "up", "--no-demo", "--port", "8765"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_gpus(manage, environment)
        # The service that users meet has been up for a while: each worker process has run one
        run_case(folder, manage, environment, 32, 8, 0.2)
        runs = [
            run_case(folder, manage, environment, count, parallel, seconds)
            for count, parallel in cases
        ]
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
    return {"seconds_per_experiment": seconds, "cpus": os.cpu_count(), "runs": with_speedup(runs)}


def wait_for_gpus(manage: list[str], environment: dict[str, str]) -> None:
    for _ in range(60):
        shown = subprocess.run(
            [*manage, "gpus", "--json"], env=environment, capture_output=True, check=False
        )
        if shown.returncode == 0 and json.loads(shown.stdout)["gpus"]:
            return
        time.sleep(0.5)
    raise SystemExit("the pool stayed empty")


def run_case(
    folder: Path,
    manage: list[str],
    environment: dict[str, str],
    count: int,
    parallel: int,
    seconds: float,
) -> dict[str, Any]:
    name = f"{count}-at-{parallel}"
    diary = folder / f"{name}.diary"
    script = JOB.format(diary=diary, seconds=seconds)
    task = {
        "task_name": name,
        "base_runtime": "job",
        "command": ["sh", "-c", script.replace("{", "{{").replace("}", "}}")],
        "parameters": {"x": list(range(1, count + 1))},
        "optimization": {
            "strategy": "grid_search",
            "objective": "maximize_speed",
            "max_iterations": count,
            "max_parallel_experiments": parallel,
        },
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(task))
    done = subprocess.run(
        [*manage, "tune", str(file), "--wait", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    shown = json.loads(done.stdout)
    took = moment(shown["finished_at"]) - moment(shown["started_at"])
    ideal = math.ceil(count / parallel) * seconds
    return {
        "experiments": count,
        "parallel": parallel,
        "succeeded": sum(e["status"] == "SUCCESS" for e in shown["experiments"]),
        "seconds": round(took, 3),
        "ideal_seconds": ideal,
        "ratio_to_ideal": round(took / ideal, 3),
        "most_at_once": most_at_once(diary),
        "gpu_shared": gpu_shared(diary),
        "end_to_next_start_ms": end_to_next_start(diary, parallel),
    }


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def diary_lines(diary: Path) -> list[tuple[float, str, str]]:
    """(time, gpu, start or end), in order of time, as the jobs wrote them."""
    lines = [line.split() for line in diary.read_text().splitlines()]
    return sorted((float(at), gpu, what) for gpu, what, at, _ in lines)


def end_to_next_start(diary: Path, parallel: int) -> dict[str, float]:
    """From the end of one job to the start of the process that takes its place, in ms."""
    lines = diary_lines(diary)
    starts = [at for at, _, what in lines if what == "start"][parallel:]
    ends = [at for at, _, what in lines if what == "end"]
    gaps = sorted(1000 * (start - end) for start, end in zip(starts, ends, strict=False))
    at = {"p50": 0.5, "p99": 0.99}
    return {name: round(gaps[int(share * (len(gaps) - 1))], 1) for name, share in at.items()}


def most_at_once(diary: Path) -> int:
    now = most = 0
    for _, _, what in diary_lines(diary):
        now += 1 if what == "start" else -1
        most = max(most, now)
    return most


def gpu_shared(diary: Path) -> bool:
    """Did two jobs ever run on one GPU?"""
    busy: set[str] = set()
    for _, gpu, what in diary_lines(diary):
        if what == "start":
            if gpu in busy:
                return True
            busy.add(gpu)
        else:
            busy.discard(gpu)
    return False


def with_speedup(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sequential = {run["experiments"]: run["seconds"] for run in runs if run["parallel"] == 1}
    for run in runs:
        if run["parallel"] > 1 and run["experiments"] in sequential:
            run["speedup"] = round(sequential[run["experiments"]] / run["seconds"], 2)
    return runs


if __name__ == "__main__":
    main()
