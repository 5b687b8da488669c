"""What is missing on the machine is one clear line, before anything is made."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def install(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    for name in ("install.py", "requirements.txt", "requirements-llamacpp.txt"):
        shutil.copy(ROOT / name, folder)
    nothing = folder / "bin"
    nothing.mkdir()
    return subprocess.run(
        [sys.executable, str(folder / "install.py"), *words],
        env={"PATH": str(nothing)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_compiler_is_named_before_anything_is_made(tmp_path: Path) -> None:
    done = install(tmp_path, "--engine")
    assert done.returncode == 1
    assert done.stderr.startswith("autotuner: a C and C++ compiler is needed")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()
