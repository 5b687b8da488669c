"""vLLM: `vllm serve`."""

import re

from experiments.engines.base import Explanation, Launch, Value
from experiments.engines.effective import literal, pairs
from experiments.engines.failures import explain
from experiments.engines.flags import flag, with_dashes

ARGUMENTS = re.compile(r"non-default args: (?P<arguments>\{.*\})")
CONFIG = re.compile(r"Initializing a V\d LLM engine \(v\S+\) with config: (?P<pairs>.+)")


class Vllm:
    """True is `--flag`, false is `--no-flag`; below a dot (JSON) they are values."""

    name = "vllm"
    health_path = "/health"

    def argv(self, launch: Launch) -> list[str]:
        words = [launch.executable or "vllm", "serve", launch.model]
        words += ["--host", "127.0.0.1", "--port", str(launch.port)]
        for name, value in with_dashes(launch.flags).items():
            if isinstance(value, bool) and "." not in name:
                words.append(f"--{name}" if value else f"--no-{name}")
            else:
                words += flag(name, value)
        return words

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        return explain(exit_code, log)

    def effective(self, log: str) -> dict[str, Value] | None:
        """The arguments that it has read, and over them what its core was configured with."""
        arguments, config = ARGUMENTS.search(log), CONFIG.search(log)
        if config is None:
            return None
        read = literal(arguments["arguments"]) if arguments else {}
        return {**read, **pairs(config["pairs"])}
