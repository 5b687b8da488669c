"""vLLM: `vllm serve`."""

from experiments.engines.base import Explanation, Launch
from experiments.engines.failures import explain
from experiments.engines.flags import flag, with_dashes


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
