"""The benchmarks that can measure an engine.

To add one: one file here, one line below.
"""

from experiments.benchmarks.autotuner import Autotuner
from experiments.benchmarks.base import Benchmark
from experiments.benchmarks.vllm_bench import VllmBench

BENCHMARKS: dict[str, Benchmark] = {
    "autotuner": Autotuner(),
    "vllm_bench": VllmBench(),
}
