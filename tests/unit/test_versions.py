"""Which version an engine is: by its package, else by its own word, and never by a guess."""

from pathlib import Path

from experiments.versions import version_of

PATH = {"PATH": "/usr/bin:/bin"}


def program(folder: Path, name: str, script: str) -> str:
    path = folder / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_package_beside_the_program_says_it_without_starting_it(tmp_path: Path) -> None:
    path = program(tmp_path, "vllm", "exit 1")
    (tmp_path / "lib/python3.11/site-packages/vllm-0.32.0+cpu.dist-info").mkdir(parents=True)
    assert version_of("vllm", path, PATH) == "0.32.0+cpu"


def test_without_a_package_the_program_is_asked_once_until_it_changes(tmp_path: Path) -> None:
    script = f"echo asked >> {tmp_path}/diary; echo noise; echo version: 7; echo built with cc"
    path = program(tmp_path, "llama-server", script)
    assert version_of("llamacpp", path, PATH) == "version: 7"
    assert version_of("llamacpp", path, PATH) == "version: 7"
    assert (tmp_path / "diary").read_text() == "asked\n"
    program(tmp_path, "llama-server", "echo version: 8")
    assert version_of("llamacpp", path, PATH) == "version: 8"


def test_what_cannot_be_told_has_no_version(tmp_path: Path) -> None:
    assert version_of("custom", "", PATH) == version_of("job", "", PATH) == ""
    assert version_of("vllm", "/no/such/vllm", PATH) == ""
    assert version_of("vllm", program(tmp_path, "vllm", "echo 1; exit 3"), PATH) == ""
