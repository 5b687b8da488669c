"""What an experiment is measured on and with: enough to know whether two can be compared."""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings

from experiments.dimensions import Value
from experiments.engines.flags import ENVIRONMENT_PREFIX, spelling
from experiments.launching import all_parameters
from experiments.marks import clean_environment
from experiments.models import Experiment
from experiments.pool import inventory
from experiments.taskfile import SERVED_NAME, TaskFile
from experiments.versions import version_of
from gpupool import Gpu, Lease, NoDriver


def columns(experiment: Experiment, lease: Lease) -> dict[str, Any]:
    """The columns of an experiment that is being started here, under this lease.

    The fingerprint is the same for experiments whose failures and measurements can be compared;
    there is none where the engine's version or the hardware is not known.
    """
    file = experiment.task.file
    executable = file.engine.executable or settings.ENGINE_EXECUTABLES.get(file.base_runtime, "")
    environment = clean_environment(settings.ENVIRONMENT)
    there = {
        "engine": file.base_runtime,
        "version": version_of(file.base_runtime, executable, environment),
        "model": file.model.id_or_path,
        "hardware": hardware(lease),
    }
    known = there["version"] and there["hardware"]
    on = {
        **there,
        "node": lease.node,
        "flags": asked(file, experiment.parameters),
        "workload": workload(file),
    }
    return {
        "environment": on,
        "fingerprint": digest([there, file.resources.gpus]) if known else "",
    }


def asked(file: TaskFile, configuration: Mapping[str, Value]) -> dict[str, Value]:
    """All flags and variables of one configuration, with those of the task file, by one spelling.

    Without the name that the server answers to, which changes nothing.
    """
    variables = {f"{ENVIRONMENT_PREFIX}{name}": value for name, value in file.engine.env.items()}
    every = {**variables, **all_parameters(file, configuration)}
    flags = {normal(name): value for name, value in every.items()}
    flags.pop(SERVED_NAME, None)
    return flags


def normal(name: str) -> str:
    """One spelling of a flag's name; a variable has only one."""
    return name if name.startswith(ENVIRONMENT_PREFIX) else spelling(name)


def workload(file: TaskFile) -> str:
    """The same for two task files that send the same requests."""
    return digest([file.benchmark.model_dump(mode="json"), file.optimization.seed])


def hardware(lease: Lease) -> str:
    """The kinds of the leased GPUs; of CPU slots, of the processor too."""
    try:
        mine = [gpu for gpu in inventory().gpus() if gpu.uuid in lease.gpus]
    except NoDriver:
        return ""
    return ", ".join(sorted({kind(gpu) for gpu in mine}))


def kind(gpu: Gpu) -> str:
    of = f" of {processor()}" if gpu.cores else ""
    return f"{gpu.name}{of}, {gpu.memory_total_mb} MiB"


@cache
def processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return "an unknown processor"


def digest(data: Any) -> str:
    """A short name for plain data, the same for equal data only."""
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
