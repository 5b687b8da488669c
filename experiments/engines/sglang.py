"""SGLang: `python3 -m sglang.launch_server`."""

import re
from pathlib import PurePath

from experiments.engines.base import Explanation, Launch, Value
from experiments.engines.effective import pairs
from experiments.engines.failures import explain
from experiments.engines.flags import flag, with_dashes

ARGUMENTS = re.compile(r"server_args=ServerArgs\((?P<pairs>.+)")
SCHEDULER = re.compile(
    r"max_total_num_tokens=\d+, (?P<pairs>chunked_prefill_size=-?\d+, max_prefill_tokens=\d+, "
    r"max_running_requests=\d+)"
)


class Sglang:
    """True is `--flag`; false is left out, because its switches only switch on.

    The executable may be a Python interpreter that has sglang (`/opt/sglang/bin/python`),
    the `sglang` program, which serves with `sglang serve`, or any launcher of your own that
    takes the flags of `sglang.launch_server`.
    """

    name = "sglang"
    health_path = "/health"

    def argv(self, launch: Launch) -> list[str]:
        words = [*_launcher(launch.executable or "python3"), "--model-path", launch.model]
        words += ["--host", "127.0.0.1", "--port", str(launch.port)]
        for name, value in with_dashes(launch.flags).items():
            if isinstance(value, bool):
                words += [f"--{name}"] if value else []
            else:
                words += flag(name, value)
        return words

    def explain(self, exit_code: int | None, log: str) -> Explanation:
        return explain(exit_code, log)

    def effective(self, log: str) -> dict[str, Value] | None:
        """Its arguments with their defaults, and over them what its scheduler made of them."""
        arguments, scheduler = ARGUMENTS.search(log), SCHEDULER.search(log)
        if arguments is None:
            return None
        made = pairs(scheduler["pairs"]) if scheduler else {}
        return {**pairs(arguments["pairs"]), **made}


def _launcher(executable: str) -> list[str]:
    name = PurePath(executable).name
    if name.startswith(("python", "pypy")):
        return [executable, "-m", "sglang.launch_server"]
    return [executable, "serve"] if name == "sglang" else [executable]
