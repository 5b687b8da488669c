"""Where in the task file the value of each field of its form is, and what is there by default."""

from typing import Any

from pydantic import BaseModel

from experiments.sections import Optimization, Resources, Workload

PLACES = {
    "name": "task_name",
    "description": "description",
    "engine": "base_runtime",
    "model": "model.id_or_path",
    "executable": "engine.executable",
    "fixed_arguments": "engine.arguments",
    "environment": "engine.env",
    "command": "command",
    "search_space": "parameters",
    "constraints": "constraints",
    "strategy": "optimization.strategy",
    "objective": "optimization.objective",
    "max_experiments": "optimization.max_iterations",
    "timeout": "optimization.timeout_per_iteration",
    "max_parallel_experiments": "optimization.max_parallel_experiments",
    "priority": "optimization.priority",
    "seed": "optimization.seed",
    "repeats": "optimization.repeats",
    "pruning": "optimization.pruning",
    "skip_known_failures": "optimization.skip_known_failures",
    "reuse": "optimization.reuse",
    "gpus": "resources.gpus",
    "min_memory_mb": "resources.min_memory_mb",
    "min_host_memory_mb": "resources.min_host_memory_mb",
    "price_per_gpu_hour": "resources.price_per_gpu_hour",
    "traffic_scenarios": "benchmark.traffic_scenarios",
    "num_concurrency": "benchmark.num_concurrency",
    "request_rate": "benchmark.request_rate",
    "rate_search": "benchmark.rate_search",
    "max_requests": "benchmark.max_requests_per_iteration",
    "max_minutes": "benchmark.max_time_per_iteration",
    "generator": "benchmark.generator",
    "slo": "slo",
}


def defaults() -> dict[str, Any]:
    """What the task file takes where it says nothing, by place."""
    sections: dict[str, type[BaseModel]] = {
        "optimization": Optimization,
        "resources": Resources,
        "benchmark": Workload,
    }
    found = {}
    for place in PLACES.values():
        section, _, name = place.partition(".")
        if section in sections:
            field = sections[section].model_fields[name]
            if not field.is_required() and field.default_factory is None:
                found[place] = field.default
    return found


DEFAULTS = defaults()
# Nothing said is not the same as its default, 0: it is estimated
DEFAULTS["resources.min_memory_mb"] = None


def find(data: dict[str, Any], place: str, default: Any) -> Any:
    """What is at a dotted place."""
    *sections, name = place.split(".")
    for section in sections:
        data = data.get(section) or {}
    return data.get(name, default)


def put(data: dict[str, Any], place: str, value: Any) -> None:
    """Write a value at a dotted place; an empty one is left out, so that the default counts."""
    *sections, name = place.split(".")
    for section in sections:
        data = data.setdefault(section, {})
    if value in (None, "", [], {}):
        data.pop(name, None)
    else:
        data[name] = int(value) if isinstance(value, float) and value.is_integer() else value
