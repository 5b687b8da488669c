"""From a task file and a configuration to a command line and its environment."""

from collections.abc import Collection, Mapping, Sequence

from experiments import masking
from experiments.engines import ENGINES
from experiments.engines.base import Launch, Value
from experiments.engines.flags import split_environment
from experiments.engines.job import job_environment
from experiments.taskfile import TaskFile

SHOWN_PORT = 8000  # In the launch line that a person copies


def all_parameters(file: TaskFile, configuration: Mapping[str, Value]) -> dict[str, Value]:
    """The fixed arguments overlaid with one configuration."""
    return {**file.fixed_flags(), **configuration}


def command_of(
    file: TaskFile,
    configuration: Mapping[str, Value],
    *,
    port: int,
    gpus: int,
    executables: Mapping[str, str],
) -> list[str]:
    """The command line of one configuration.

    `executables` are the site's settings: engine name to program, for task files that name none.
    """
    flags, _ = split_environment(all_parameters(file, configuration))
    return ENGINES[file.base_runtime].argv(
        Launch(
            model=file.model.id_or_path,
            flags=flags,
            port=port,
            gpus=gpus,
            executable=file.engine.executable or executables.get(file.base_runtime, ""),
            command=tuple(file.command),
        )
    )


def vllm_of(file: TaskFile, executables: Mapping[str, str]) -> str:
    """The vLLM whose load generator measures: the task's own, else the site's."""
    own = file.engine.executable if file.base_runtime == "vllm" else ""
    return own or executables.get("vllm", "")


def own_environment(file: TaskFile, configuration: Mapping[str, Value]) -> dict[str, str]:
    """What the task file and the configuration add to the environment."""
    flags, env = split_environment(all_parameters(file, configuration))
    job = job_environment(flags) if file.base_runtime == "job" else {}
    return {**file.engine.env, **job, **env}


def lease_environment(
    gpus: Sequence[str],
    cores: Collection[int],
    port: int,
    own: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """How an engine learns which GPUs, or which cores, and which port are its own.

    Some servers let HOST and PORT of the environment go before their flags: an inherited PORT
    would send all of them to one port.
    """
    env = {"AUTOTUNER_GPUS": ",".join(gpus), "HOST": "127.0.0.1", "PORT": str(port)}
    if cores:
        threads = (own or {}).get("OMP_NUM_THREADS", str(len(cores)))
        return {**env, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads}
    return {**env, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(gpus)}


def shell_line(
    file: TaskFile,
    configuration: Mapping[str, Value],
    *,
    gpus: int,
    executables: Mapping[str, str],
) -> str:
    """The launch line for a person to copy: environment, program, flags.

    For what is secret it has a variable of the shell, `--api-key "$API_KEY"`.
    """
    argv = command_of(file, configuration, port=SHOWN_PORT, gpus=gpus, executables=executables)
    env = own_environment(file, configuration)
    return masking.shell_line(env, argv, masking.known_of(file.to_dict()))
