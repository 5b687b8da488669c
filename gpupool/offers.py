"""What of a node can be granted, as the scripts want it."""

import json
from collections.abc import Sequence

from gpupool.inventory import Gpu

ALONE = -1  # The island of a MIG instance: a process can use only one


def score(gpu: Gpu) -> int:
    """How good a GPU is to have, in hundredths: `0.6 * free / total + 0.4 * (1 - utilisation)`.

    Less than a hundredth is no difference: free memory changes by a few MiB all the time.
    """
    free = gpu.memory_free_mb / gpu.memory_total_mb if gpu.memory_total_mb > 0 else 0.0
    return round(100 * (0.6 * free + 0.4 * (1 - gpu.utilization)))


def offer(gpus: Sequence[Gpu], host_memory_mb: int) -> str:
    """The JSON for publish.lua: the healthy GPUs, with their islands."""
    island = islands(gpus)
    rows = [
        [gpu.uuid, gpu.index, gpu.memory_free_mb, gpu.memory_total_mb, score(gpu), island[gpu.uuid]]
        for gpu in gpus
        if not gpu.fault
    ]
    return json.dumps({"host": host_memory_mb, "gpus": rows})


def islands(gpus: Sequence[Gpu]) -> dict[str, int]:
    """Each GPU's island: those joined by NVLink, directly or through others, have the same."""
    island = {gpu.uuid: number for number, gpu in enumerate(gpus)}
    for gpu in gpus:
        for other in gpu.links:
            if other in island:
                old, new = island[other], island[gpu.uuid]
                island = {uuid: new if was == old else was for uuid, was in island.items()}
    return {gpu.uuid: ALONE if gpu.parent else island[gpu.uuid] for gpu in gpus}
