"""SGLang: `python3 -m sglang.launch_server`."""

from pathlib import PurePath

from experiments.engines.base import Explanation, Launch
from experiments.engines.failures import explain
from experiments.engines.flags import flag, with_dashes


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


def _launcher(executable: str) -> list[str]:
    name = PurePath(executable).name
    if name.startswith(("python", "pypy")):
        return [executable, "-m", "sglang.launch_server"]
    return [executable, "serve"] if name == "sglang" else [executable]
