"""Rows in the states where stories start."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus
from experiments.taskfile import from_dict
from gpupool import Lease

SPECIFICATION: dict[str, Any] = {
    "task_name": "task",
    "base_runtime": "vllm",
    "model": {"id_or_path": "/models/m"},
    "parameters": {"max-num-seqs": [1, 2, 4], "enable-prefix-caching": [True, False]},
    "optimization": {
        "strategy": "grid_search",
        "objective": "maximize_throughput",
        "max_iterations": 5,
        "max_parallel_experiments": 2,
    },
}


@pytest.fixture
def make_task(db: None) -> Callable[..., TuningTask]:
    def make(status: TaskStatus = TaskStatus.RUNNING, **optimization: Any) -> TuningTask:
        specification = {
            **SPECIFICATION,
            "optimization": {**SPECIFICATION["optimization"], **optimization},
        }
        task = TuningTask(status=status)
        task.describe(from_dict(specification))
        task.save()
        return task

    return make


@pytest.fixture
def make_experiment(make_task: Callable[..., TuningTask]) -> Callable[..., Experiment]:
    def make(task: TuningTask | None = None, **fields: Any) -> Experiment:
        task = task or make_task()
        number = task.experiments.count() + 1
        fields.setdefault("parameters", {"max-num-seqs": number})
        if fields.get("status") in (Status.PLACED, Status.DEPLOYING, Status.BENCHMARKING):
            fields.setdefault("lease_id", f"lease-{number}")
        return Experiment.objects.create(task=task, number=number, **fields)

    return make


@pytest.fixture
def lease() -> Lease:
    return Lease("lease-a", 7, "holder", "group", "node-1", ("GPU-1",), 0.0, 60.0)
