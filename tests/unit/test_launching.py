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


def test_flags_and_variables_whose_condition_does_not_hold_are_left_out() -> None:
    data = FILE.to_dict() | {
        "parameters": {
            "speculative": [True, False],
            "tokens": {"type": "integer", "low": 1, "high": 2, "when": {"speculative": True}},
            "env.DRAFT": {"type": "boolean", "when": {"tokens": 2}},
            "max-model-len": {"type": "choice", "values": [64], "when": {"env.DRAFT": True}},
        },
        "constraints": ["env.DRAFT or max-model-len < 2048"],
    }
    file = from_dict(data)
    lines = [
        launching.shell_line(file, point, gpus=1, executables={}).partition("vllm serve")
        for point in file.space().grid()
    ]
    assert [("DRAFT=1" in env, "DRAFT=0" in env) for env, _, _ in lines] == [
        (False, False),
        (True, False),
        (False, False),
    ]
    assert ["--tokens" in flags for _, _, flags in lines] == [True, True, False]
    # The fixed flag holds where the parameter is absent
    assert ["--max-model-len 64" in flags for _, _, flags in lines] == [False, True, False]
    assert ["--max-model-len 2048" in flags for _, _, flags in lines] == [True, False, True]


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
