"""The engines we can tune. To add one: one file here, one line below."""

import sys
from pathlib import PurePath

from experiments.engines.base import Engine
from experiments.engines.custom import Custom
from experiments.engines.job import Job
from experiments.engines.llamacpp import LlamaCpp
from experiments.engines.sglang import Sglang
from experiments.engines.vllm import Vllm

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Vllm(), Sglang(), LlamaCpp(), Custom(), Job())
}

# Prints the version as its last line; the first word may be another program of its kind.
VERSION_COMMANDS: dict[str, list[str]] = {
    "vllm": ["vllm", "--version"],
    "sglang": ["python3", "-c", "import importlib.metadata as m; print(m.version('sglang'))"],
    "llamacpp": [
        *(sys.executable, "-c"),
        "import importlib.metadata as m; print(m.version('llama-cpp-python'))",
    ],
}


def version_command(engine: str, executable: str = "") -> list[str]:
    """How to ask an engine of VERSION_COMMANDS for its version, at the site's executable."""
    program, *words = VERSION_COMMANDS[engine]
    if words[0] == "-c" and not PurePath(executable or program).name.startswith("python"):
        words = ["--version"]  # A program of its own, such as llama-server
    return [executable or program, *words]
