"""llama.cpp: the server of llama-cpp-python, or its own `llama-server`."""

import re
import sys
from pathlib import PurePath

from experiments.engines.base import Explanation, Launch, Parameters, Value
from experiments.engines.effective import pairs
from experiments.engines.failures import explain
from experiments.engines.flags import flag, with_dashes, with_underscores

SIZES = re.compile(
    r"^llama_context: (n_ctx|n_batch|n_ubatch|n_seq_max|flash_attn) += (\w+)$", re.MULTILINE
)


class LlamaCpp:
    """The executable decides: `llama-server`, or a Python interpreter with llama-cpp-python.

    Without one it is our own interpreter, where `requirements-llamacpp.txt` installs it.
    """

    name = "llamacpp"
    health_path = "/v1/models"  # `/health` is known to llama-server only

    def argv(self, launch: Launch) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(launch.port)]
        executable = launch.executable or sys.executable
        if PurePath(executable).name.startswith("llama-server"):
            return [executable, "--model", launch.model, *address, *_own_flags(launch.flags)]
        server = [executable, "-m", "llama_cpp.server", "--model", launch.model]
        return [*server, *address, *_python_flags(launch.flags)]

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        return explain(exit_code, log)

    def effective(self, log: str) -> dict[str, Value] | None:
        """Its context's sizes."""
        return pairs(", ".join(f"{name}={value}" for name, value in SIZES.findall(log))) or None


def _own_flags(flags: Parameters) -> list[str]:
    """llama-server: `--ctx-size 2048`, `--mmap` and `--no-mmap`."""
    words: list[str] = []
    for name, value in with_dashes(flags).items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += flag(name, value)
    return words


def _python_flags(flags: Parameters) -> list[str]:
    """llama-cpp-python: `--n_ctx 2048`, `--use_mmap false`.

    By its own default it cuts off an answer when the next request comes, and nearly every
    request under load would fail.
    """
    all_flags = {"interrupt_requests": False, **with_underscores(flags)}
    return [word for item in all_flags.items() for word in flag(*item)]
