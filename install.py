#!/usr/bin/env python3
"""Makes .venv with what Autotuner needs, and says in one line what is missing on the machine.

python3 install.py            what it runs on
python3 install.py --engine   … and, where there is no vllm, llama.cpp's server, compiled once
python3 install.py --dev      … and what the tests need
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
SPACE_NEEDED_MB = 1500
LLAMACPP = "requirements-llamacpp.txt"
VLLM = "AUTOTUNER_VLLM_EXECUTABLE"  # The setting that names vLLM, if it is not on the PATH


def main() -> None:
    """Install what is asked for and not there yet."""
    if sys.version_info < (3, 11):
        stop(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    wanted = ["requirements.txt"]
    if "--dev" in sys.argv:
        wanted.append("requirements-dev.txt")
    if "--engine" in sys.argv and not shutil.which(os.environ.get(VLLM, "vllm")):
        wanted.append(LLAMACPP)
    missing = [name for name in wanted if not is_installed(name)]
    if not missing:
        return
    if LLAMACPP in missing and not (shutil.which("cc") and shutil.which("c++")):
        stop(
            "a C and C++ compiler is needed to build llama.cpp (Debian: apt-get install g++), "
            "or vllm on the PATH; `make serve` starts without an engine"
        )
    free = shutil.disk_usage(HERE).free // 2**20
    if free < SPACE_NEEDED_MB:
        stop(f"{HERE} has {free} MiB free, and about {SPACE_NEEDED_MB} are needed")
    if not PYTHON.exists():
        say("making .venv")
        try:
            run(
                [sys.executable, "-m", "venv", str(VENV)], "cannot make .venv; Debian: python3-venv"
            )
        except BaseException:
            shutil.rmtree(VENV, ignore_errors=True)  # Half of one would look like a whole one
            raise
    for name in missing:
        install(name)


def install(name: str) -> None:
    """Install one requirements file and remember that it was."""
    environment = dict(os.environ)
    if name == LLAMACPP:
        say("building llama.cpp's server, once (a few minutes)")
        without_common = HERE / "scripts" / "llamacpp-without-common.cmake"
        flags = ["-DLLAVA_BUILD=OFF", f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={without_common}"]
        environment.setdefault("CMAKE_ARGS", shlex.join(flags))
        environment.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    else:
        say(f"installing {name}")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "-r", str(HERE / name)]
    run(command, f"pip could not install {name}; its reason is above", environment)
    stamp(name).write_text(fingerprint(name))


def is_installed(name: str) -> bool:
    return PYTHON.exists() and stamp(name).exists() and stamp(name).read_text() == fingerprint(name)


def stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def fingerprint(name: str) -> str:
    """What the stamp holds: a changed requirements file is installed again."""
    return hashlib.sha256((HERE / name).read_bytes()).hexdigest()


def run(argv: list[str], otherwise: str, environment: dict[str, str] | None = None) -> None:
    if subprocess.run(argv, env=environment, check=False).returncode != 0:
        stop(otherwise)


def say(text: str) -> None:
    print(f"autotuner: {text}", flush=True)


def stop(text: str) -> None:
    sys.exit(f"autotuner: {text}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("stopped")
    except OSError as error:
        stop(f"{error.filename or HERE}: {error.strerror}")
