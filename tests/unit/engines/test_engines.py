"""Command lines: what each engine is started with."""

import sys
from typing import Any

import pytest

from experiments.engines import ENGINES, VERSION_COMMANDS, version_command
from experiments.engines.base import Engine, Launch
from experiments.states import FailureKind


def launch(**changes: Any) -> Launch:
    start: dict[str, Any] = {"model": "/models/m", "flags": {}, "port": 8001, "gpus": 1}
    return Launch(**(start | changes))


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


# Every engine ------------------------------------------------------------------------------


def test_a_command_line_is_words_with_the_model_and_the_port(engine: Engine) -> None:
    command = ("serve", "--model", "{model}", "--port={port}")
    argv = engine.argv(launch(command=command, flags={"size": 3, "share": 0.5, "on": True}))
    assert all(isinstance(word, str) for word in argv)
    assert "/models/m" in argv
    assert any("8001" in word for word in argv)


def test_the_same_launch_is_always_the_same_command_line(engine: Engine) -> None:
    once, twice = (engine.argv(launch(command=("run", "{port}"), flags={"a": 1})) for _ in "ab")
    assert once == twice


@pytest.mark.parametrize("exit_code", [None, 0, 1, 2, 3, 137, 300, -6, -9, -11, -99])
@pytest.mark.parametrize("log", ["", "\n \n", "\x00\x1b[31m", "last words", "x" * 70_000])
def test_every_end_has_an_explanation_of_one_short_line(
    engine: Engine, exit_code: int | None, log: str
) -> None:
    explanation = engine.explain(exit_code, log)
    assert isinstance(explanation.kind, FailureKind)
    assert 0 < len(explanation.message) <= 300
    assert explanation.message.isprintable()


def test_only_a_job_has_no_health_path(engine: Engine) -> None:
    assert engine.health_path.startswith("/") != (engine.name == "job")


def test_versions_are_asked_at_the_executable_that_serves() -> None:
    assert set(VERSION_COMMANDS) == {"vllm", "sglang", "llamacpp"}
    assert version_command("vllm", "/opt/v/bin/vllm") == ["/opt/v/bin/vllm", "--version"]
    assert version_command("llamacpp", "llama-server") == ["llama-server", "--version"]
    assert version_command("sglang", "/opt/s/bin/python")[:2] == ["/opt/s/bin/python", "-c"]
    assert version_command("llamacpp")[0] == sys.executable


# vLLM --------------------------------------------------------------------------------------


def test_vllm_serves_the_model_with_every_flag() -> None:
    flags = {"max_num_seqs": 8, "enforce-eager": True, "enable_prefix_caching": False, "x": -1}
    assert ENGINES["vllm"].argv(launch(flags=flags)) == [
        *("vllm", "serve", "/models/m", "--host", "127.0.0.1", "--port", "8001"),
        *("--max-num-seqs", "8", "--enforce-eager", "--no-enable-prefix-caching", "--x=-1"),
    ]


def test_vllm_takes_true_and_false_below_a_dot_as_values() -> None:
    argv = ENGINES["vllm"].argv(launch(flags={"speculative-config.disable_by_batch": False}))
    assert argv[-2:] == ["--speculative-config.disable_by_batch", "false"]


def test_vllm_is_the_configured_executable() -> None:
    assert ENGINES["vllm"].argv(launch(executable="/opt/vllm"))[0] == "/opt/vllm"


# SGLang ------------------------------------------------------------------------------------


def test_sglang_leaves_out_what_is_false() -> None:
    flags = {"mem_fraction_static": 0.85, "enable-torch-compile": True, "disable-radix": False}
    assert ENGINES["sglang"].argv(launch(flags=flags)) == [
        *("python3", "-m", "sglang.launch_server", "--model-path", "/models/m"),
        *("--host", "127.0.0.1", "--port", "8001"),
        *("--mem-fraction-static", "0.85", "--enable-torch-compile"),
    ]


@pytest.mark.parametrize(
    ("executable", "words"),
    [
        ("/opt/s/bin/python3.11", ["/opt/s/bin/python3.11", "-m", "sglang.launch_server"]),
        ("/opt/s/bin/sglang", ["/opt/s/bin/sglang", "serve"]),
        ("/opt/s/launch", ["/opt/s/launch"]),
    ],
)
def test_sglang_is_an_interpreter_its_program_or_a_launcher(
    executable: str, words: list[str]
) -> None:
    argv = ENGINES["sglang"].argv(launch(executable=executable))
    assert argv[: len(words) + 1] == [*words, "--model-path"]


# llama.cpp ---------------------------------------------------------------------------------


def test_llama_cpp_python_takes_underscores_and_true_or_false() -> None:
    flags = {"n-ctx": 2048, "use_mmap": False, "offload_kqv": True, "n_gpu_layers": -1}
    assert ENGINES["llamacpp"].argv(launch(flags=flags)) == [
        *(sys.executable, "-m", "llama_cpp.server", "--model", "/models/m"),
        *("--host", "127.0.0.1", "--port", "8001", "--interrupt_requests", "false"),
        *("--n_ctx", "2048", "--use_mmap", "false", "--offload_kqv", "true", "--n_gpu_layers=-1"),
    ]


def test_llama_server_takes_dashes_and_switches() -> None:
    flags = {"ctx_size": 2048, "mmap": False, "cont-batching": True}
    assert ENGINES["llamacpp"].argv(launch(flags=flags, executable="/opt/bin/llama-server")) == [
        *("/opt/bin/llama-server", "--model", "/models/m"),
        *("--host", "127.0.0.1", "--port", "8001"),
        *("--ctx-size", "2048", "--no-mmap", "--cont-batching"),
    ]
