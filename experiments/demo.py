"""The first task of a new installation: a real search on a real engine, within minutes."""

import importlib.util
import shutil
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from rich.console import Console

from experiments import demo_models, planning, watching
from experiments.errors import BadInput
from experiments.models import TuningTask
from experiments.pool import gpu_pool
from experiments.states import TaskStatus
from experiments.taskfile import TaskFile, from_dict

NAME = "demo"
GPUS_WITHIN = 30.0  # seconds for this machine's worker to put its GPUs into the pool


def run(say: Callable[[str], Any], look_after: Callable[[], None]) -> None:
    """Start the demo task, or go on with it, and show it until it has ended.

    `look_after` is called while waiting. A demo that ended in an earlier start is only reported.
    """
    task = TuningTask.objects.filter(name=NAME).first()
    if task is None:
        wait_for_gpus(look_after)
        try:
            task = planning.create(demo_file())
        except BadInput as error:
            say(f"no demo         {error}")
            return
    if task.status == TaskStatus.PENDING:
        task.start()  # `heal` sees it within seconds
    if not task.has_ended:
        say(f"demo            {task.engine}, {task.file.optimization.max_iterations} experiments")
        task = watching.watch(task, Console(), look_after)
    for line in watching.outcome(task):
        say(line)
    say("Autotuner keeps running; Ctrl-C stops it.")


def wait_for_gpus(look_after: Callable[[], None]) -> None:
    give_up = time.monotonic() + GPUS_WITHIN
    while planning.pool_now().gpus is None and time.monotonic() < give_up:
        look_after()
        time.sleep(0.1)


def demo_file() -> TaskFile:
    """The demo for the engine that this machine has. Raises BadInput when it has none."""
    at_once = min(2, planning.parallel_limit(planning.pool_now()))
    for has_engine, task in ((has_vllm, vllm_task), (has_llamacpp, llamacpp_task)):
        if has_engine():
            file = task()
            file |= {
                "task_name": NAME,
                "description": "A small model with random weights: real engine, real numbers.",
                "resources": {"gpus": 1},
            }
            file["optimization"] |= {
                "objective": "maximize_throughput",
                "max_parallel_experiments": at_once,
                "seed": 1,
            }
            return from_dict(file)
    raise BadInput("", "neither vllm nor llama-cpp-python is installed here; see the README")


def has_vllm() -> bool:
    return shutil.which(settings.ENGINE_EXECUTABLES["vllm"] or "vllm") is not None


def vllm_task() -> dict[str, Any]:
    model = demo_models.write_folder(settings.DATA_DIR / "models" / "demo-vllm")
    on_cpu = any(gpu.cores for gpu in gpu_pool().gpus())
    arguments = {"load-format": "dummy", "enforce-eager": True, "max-model-len": 2048}
    return {
        "model": {"id_or_path": str(model)},
        "base_runtime": "vllm",
        "engine": {
            # Few CPUs are fast at bfloat16
            "arguments": arguments | ({"dtype": "float32"} if on_cpu else {}),
            # Without effect on a GPU
            "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        },
        "benchmark": {
            "traffic_scenarios": ["D(64,32)"],
            "num_concurrency": [1, 8],
            "max_requests_per_iteration": 40,
            "max_time_per_iteration": 2,
        },
        "parameters": {
            "max-num-seqs": [1, 2, 4, 8],
            "max-num-batched-tokens": [64, 256, 2048],
            "enable-prefix-caching": [True, False],
        },
        "optimization": {
            "strategy": "bayesian",
            "max_iterations": 8,
            "timeout_per_iteration": 300,
        },
    }


def has_llamacpp() -> bool:
    return bool(settings.ENGINE_EXECUTABLES["llamacpp"] or importlib.util.find_spec("llama_cpp"))


def llamacpp_task() -> dict[str, Any]:
    model = settings.DATA_DIR / "models" / "demo.gguf"
    if not model.exists():
        demo_models.write_gguf(model)
    return {
        "model": {"id_or_path": str(model)},
        "base_runtime": "llamacpp",
        "engine": {"arguments": {"n_ctx": 2048}},
        # It serves one request at a time
        "benchmark": {
            "traffic_scenarios": ["D(96,48)"],
            "num_concurrency": [1, 2],
            "max_requests_per_iteration": 12,
            "max_time_per_iteration": 2,
        },
        "parameters": {
            # Speculative decoding from the prompt itself; the default is none
            "draft_model": ["prompt-lookup-decoding"],
            "draft_model_num_pred_tokens": [2, 4, 8, 16],
            "n_threads": [1, 2],
            "n_batch": [64, 512],
        },
        "optimization": {
            "strategy": "bayesian",
            "max_iterations": 10,
            "timeout_per_iteration": 180,
        },
    }
