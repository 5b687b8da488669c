"""From a task file and a configuration to a command line and its environment."""

from experiments import launching
from experiments.taskfile import from_dict

FILE = from_dict(
    {
        "task_name": "t",
        "base_runtime": "vllm",
        "model": {"id_or_path": "/models/my model"},
        "engine": {"arguments": {"max-model-len": 2048}, "env": {"A": "1 2"}},
        "parameters": {"enable-prefix-caching": [True, False], "env.THREADS": [1, 2]},
        "optimization": {"objective": "maximize_throughput"},
    }
)


def test_the_launch_line_can_be_pasted_into_a_shell() -> None:
    chosen = {"enable-prefix-caching": False, "env.THREADS": 2}
    line = launching.shell_line(FILE, chosen, gpus=1, executables={"vllm": ""})
    assert line.startswith("A='1 2' THREADS=2 vllm serve '/models/my model'")
    assert "--max-model-len 2048" in line and "--no-enable-prefix-caching" in line


def test_the_task_file_s_executable_goes_before_the_site_s() -> None:
    executables = {"vllm": "/opt/vllm"}
    argv = launching.command_of(FILE, {}, port=1, gpus=1, executables=executables)
    assert argv[0] == "/opt/vllm"
    own = FILE.model_copy(
        update={"engine": FILE.engine.model_copy(update={"executable": "/own/vllm"})}
    )
    argv = launching.command_of(own, {}, port=1, gpus=1, executables=executables)
    assert argv[0] == "/own/vllm"


def test_a_gpu_lease_is_named_by_uuid_and_a_cpu_lease_by_its_threads() -> None:
    gpu = launching.lease_environment(["GPU-a", "GPU-b"], (), 8123)
    assert gpu["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert gpu["PORT"] == "8123"  # llama-cpp-python prefers it to its own flag
    cpu = launching.lease_environment(["cpu-n-0"], {0, 1}, 8123)
    assert cpu["OMP_NUM_THREADS"] == "2" and cpu["CUDA_VISIBLE_DEVICES"] == ""
