"""Why an engine failed. The logs are the decisive lines of real ones, shortened."""

import pytest

from experiments.engines.failures import explain
from experiments.states import FailureKind

BAD_FLAG = FailureKind.BAD_FLAG
OUT_OF_MEMORY = FailureKind.OUT_OF_MEMORY
ENGINE_CRASHED = FailureKind.ENGINE_CRASHED

VLLM_BANNER = """\
Triton is installed, but doesn't include CPU backend. Disabling Triton.
(APIServer pid=71) INFO 11-23 22:29:57 [model.py:733] Resolved architecture: LlamaForCausalLM
(APIServer pid=71) WARNING 11-23 22:29:57 [system_utils.py:255] Found ulimit of 20000. This can \
cause fd limit errors like `OSError: [Errno 24] Too many open files`.
"""

VLLM_CORE_FAILED = """\
Traceback (most recent call last):
  File "/site-packages/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""

CORE = "(EngineCore pid=82) ERROR 11-23 22:29:38 [core.py:1510] "
WORKER = "(Worker pid=84) ERROR 11-23 22:31:05 [multiproc_executor.py:1063] "

VLLM_UNKNOWN_FLAG = """\
usage: vllm [-h] [-v]
            {chat,complete,serve,launch,bench}
            ...
vllm: error: unrecognized arguments: --no-such-flag 3
"""

VLLM_WRONG_TYPE = """\
usage: vllm serve [model_tag] [options]
vllm serve: error: argument --max-num-seqs: invalid int value: 'abc'
"""

VLLM_WRONG_CHOICE = """\
usage: vllm serve [model_tag] [options]
vllm serve: error: argument --dtype: invalid choice: 'float3' (choose from 'auto', 'half')
"""

VLLM_IMPOSSIBLE = """\
Traceback (most recent call last):
  File "/site-packages/vllm/engine/arg_utils.py", line 2617, in create_engine_config
    scheduler_config = SchedulerConfig(
                       ^^^^^^^^^^^^^^^^
pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig
  Value error, max_num_batched_tokens (32) is smaller than max_model_len (2048). [type=value_error\
, input_value=ArgsKwargs((), {'runner_t..., 'stream_interval': 1}), input_type=ArgsKwargs]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""

VLLM_TWO_REASONS = """\
pydantic_core._pydantic_core.ValidationError: 2 validation errors for SchedulerConfig
max_num_batched_tokens
  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0]
    For further information visit https://errors.pydantic.dev/2.14/v/greater_than_equal
max_num_seqs
  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0]
    For further information visit https://errors.pydantic.dev/2.14/v/greater_than_equal
"""

VLLM_BLOCK_SIZE = f"""\
{CORE}EngineCore failed to start.
{CORE}Traceback (most recent call last):
{CORE}     raise ValueError(
{CORE} ValueError: No common block size for 7 (CPU_ATTN: [MultipleOf(32)]).
Process EngineCore:
Traceback (most recent call last):
    raise ValueError(
ValueError: No common block size for 7 (CPU_ATTN: [MultipleOf(32)]).
"""

VLLM_CACHE_TOO_LARGE = f"""\
{WORKER}WorkerProc hit an exception.
{WORKER}Traceback (most recent call last):
{WORKER}    raise ValueError(
{WORKER}ValueError: Available memory on node 0 (5.18/7.09 GiB) on kv cache allocation is less than \
requested memory for kv (400.0 GiB). Decrease --kv-cache-memory-bytes.
{CORE}EngineCore failed to start.
{CORE}RuntimeError: Worker failed with error 'Available memory on node 0 (5.18/7.09 GiB) on kv \
cache allocation is less than requested memory for kv (400.0 GiB).', please check the stack trace \
above for the root cause
(EngineCore pid=82) ERROR 11-23 22:31:09 [multiproc_executor.py:315] Worker proc VllmWorker-0 \
died unexpectedly (exit code: None), shutting down executor.
"""

VLLM_CACHE_TOO_SMALL = f"""\
{CORE}ValueError: To serve at least one request with the model's max seq len (2048), (0.0 GiB KV \
cache is needed, which is larger than the available KV cache memory (0.0 GiB).
"""

VLLM_NO_FOLDER = """\
Traceback (most recent call last):
    raise HFValidationError(
huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or \
'namespace/repo_name': '/no/model'. Use `repo_type` argument if needed.
"""

VLLM_NO_WEIGHTS = f"""\
{WORKER}WorkerProc failed to start.
{WORKER}RuntimeError: Cannot find any model weights with `/models/empty`
{CORE}Exception: WorkerProc initialization failed due to an exception in a background process. \
See stack trace for root cause.
Process EngineCore:
Exception: WorkerProc initialization failed due to an exception in a background process. See \
stack trace for root cause.
"""

VLLM_PORT = """\
Traceback (most recent call last):
  File "/site-packages/vllm/entrypoints/launchers/launcher.py", line 348, in create_server_socket
    sock.bind(addr)
OSError: [Errno 98] Address already in use
"""

LLAMA_USAGE = """\
usage: __main__.py [-h] [--model MODEL] [--model_alias MODEL_ALIAS]
                   [--root_path ROOT_PATH] [--config_file CONFIG_FILE]
"""

LLAMA_BAD_CONTEXT = f"""\
1 validation error for ModelSettings
n_ctx
  Input should be greater than or equal to 0 [type=greater_than_equal, input_value=-5]
    For further information visit https://errors.pydantic.dev/2.14/v/greater_than_equal
{LLAMA_USAGE}
Llama.cpp python server. Host your own LLMs!

options:
  --config_file CONFIG_FILE
                        Path to a config file to load.
"""

LLAMA_MEMORY = """\
ggml_aligned_malloc: insufficient memory (attempted to allocate 78125.00 MB)
ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 81920000000
llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache
Traceback (most recent call last):
    raise ValueError("Failed to create llama_context")
ValueError: Failed to create llama_context
"""

LLAMA_ABORT = """\
set_abort_callback: call
/build/ggml/src/ggml.c:1774: GGML_ASSERT(type >= 0 && type < GGML_TYPE_COUNT) failed
[New LWP 9251]
#62 0x00007fed8444524a in __libc_start_call_main () at libc_start_call_main.h:58
[Inferior 1 (process 9228) detached]
"""

LLAMA_PORT = """\
INFO:     Application startup complete.
ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 2024): address \
already in use
INFO:     Application shutdown complete.
"""

CUDA_MEMORY = f"""\
{CORE}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total \
capacity of 23.64 GiB of which 512.00 MiB is free.
"""


@pytest.mark.parametrize(
    ("exit_code", "log", "kind", "message"),
    [
        (2, VLLM_UNKNOWN_FLAG, BAD_FLAG, "unrecognized arguments: --no-such-flag 3"),
        (2, VLLM_WRONG_TYPE, BAD_FLAG, "argument --max-num-seqs: invalid int value: 'abc'"),
        (
            *(2, VLLM_WRONG_CHOICE, BAD_FLAG),
            "argument --dtype: invalid choice: 'float3' (choose from 'auto', 'half')",
        ),
        (
            *(1, VLLM_IMPOSSIBLE, BAD_FLAG),
            "max_num_batched_tokens (32) is smaller than max_model_len (2048).",
        ),
        (
            *(1, VLLM_TWO_REASONS, BAD_FLAG),
            "max_num_batched_tokens: Input should be greater than or equal to 1; "
            "max_num_seqs: Input should be greater than or equal to 1",
        ),
        (
            *(1, VLLM_BLOCK_SIZE + VLLM_CORE_FAILED, BAD_FLAG),
            "ValueError: No common block size for 7 (CPU_ATTN: [MultipleOf(32)]).",
        ),
        (
            *(1, VLLM_CACHE_TOO_LARGE + VLLM_CORE_FAILED, OUT_OF_MEMORY),
            "ValueError: Available memory on node 0 (5.18/7.09 GiB) on kv cache allocation is "
            "less than requested memory for kv (400.0 GiB). Decrease --kv-cache-memory-bytes.",
        ),
        (
            *(1, VLLM_CACHE_TOO_SMALL + VLLM_CORE_FAILED, OUT_OF_MEMORY),
            "ValueError: To serve at least one request with the model's max seq len (2048), "
            "(0.0 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(0.0 GiB).",
        ),
        (
            *(1, VLLM_NO_FOLDER, ENGINE_CRASHED),
            "the model cannot be loaded: HFValidationError: Repo id must be in the form "
            "'repo_name' or 'namespace/repo_name': '/no/model'. Use `repo_type` argument if "
            "needed.",
        ),
        (
            *(1, VLLM_NO_WEIGHTS + VLLM_CORE_FAILED, ENGINE_CRASHED),
            "the model cannot be loaded: RuntimeError: Cannot find any model weights with "
            "`/models/empty`",
        ),
        (
            *(1, VLLM_PORT, ENGINE_CRASHED),
            "another program has its port: OSError: [Errno 98] Address already in use",
        ),
        (
            *(1, CUDA_MEMORY + VLLM_CORE_FAILED, OUT_OF_MEMORY),
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total "
            "capacity of 23.64 GiB of which 512.00 MiB is free.",
        ),
    ],
)
def test_vllm_says_why_above_its_last_line(
    exit_code: int, log: str, kind: FailureKind, message: str
) -> None:
    explanation = explain(exit_code, VLLM_BANNER + log)
    assert (explanation.kind, explanation.message) == (kind, message)


@pytest.mark.parametrize(
    ("exit_code", "log", "kind", "message"),
    [
        (
            *(2, LLAMA_USAGE + "__main__.py: error: unrecognized arguments: --no_such 3\n"),
            *(BAD_FLAG, "unrecognized arguments: --no_such 3"),
        ),
        (1, LLAMA_BAD_CONTEXT, BAD_FLAG, "n_ctx: Input should be greater than or equal to 0"),
        (
            *(1, "ValueError: Model path does not exist: /no/model.gguf", ENGINE_CRASHED),
            "the model cannot be loaded: ValueError: Model path does not exist: /no/model.gguf",
        ),
        (
            *(1, LLAMA_MEMORY, OUT_OF_MEMORY),
            "ggml_aligned_malloc: insufficient memory (attempted to allocate 78125.00 MB)",
        ),
        (
            *(134, LLAMA_ABORT, ENGINE_CRASHED),
            "GGML_ASSERT(type >= 0 && type < GGML_TYPE_COUNT) failed",
        ),
        (
            *(3, LLAMA_PORT, ENGINE_CRASHED),
            "another program has its port: [Errno 98] error while attempting to bind on address "
            "('127.0.0.1', 2024): address already in use",
        ),
    ],
)
def test_llama_cpp_says_why_in_its_own_way(
    exit_code: int, log: str, kind: FailureKind, message: str
) -> None:
    explanation = explain(exit_code, log)
    assert (explanation.kind, explanation.message) == (kind, message)


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_a_silent_kill_is_most_likely_memory(exit_code: int) -> None:
    explanation = explain(exit_code, VLLM_BANNER + "loading weights\n")
    assert explanation.kind == OUT_OF_MEMORY
    assert "out-of-memory killer" in explanation.message


def test_a_kill_after_words_is_what_the_words_say() -> None:
    log = "[2025-11-23 22:31:05 TP0] Scheduler hit an exception: Traceback\nKeyError: 'qwen'\n"
    explanation = explain(-9, log)
    assert (explanation.kind, explanation.message) == (ENGINE_CRASHED, "KeyError: 'qwen'")


def test_an_advice_about_memory_is_not_a_failure_of_memory() -> None:
    log = "WARNING 11-23 22:29:57 [worker.py:10] It may run out of memory\nKeyError: 'qwen'\n"
    assert explain(1, log).kind == ENGINE_CRASHED


def test_colours_and_prefixes_are_not_in_the_message() -> None:
    log = "\x1b[36m(EngineCore pid=8)\x1b[0m ERROR 11-23 22:29:38 [core.py:15] KeyError: 'q'\n"
    assert explain(1, log).message == "KeyError: 'q'"


def test_without_a_cause_the_last_words_are_told_with_the_end() -> None:
    log = "2025-11-23 22:31:05,123 - ERROR - it is broken\nINFO:     bye\n\n"
    assert explain(5, log).message == "ended with exit code 5: it is broken"
    assert explain(-11, "").message == "ended by SIGSEGV: it said nothing"
    assert explain(139, "").message == "ended by SIGSEGV: it said nothing"
    assert explain(None, "loading\n").message == "not healthy: loading"


def test_a_worker_that_was_killed_is_told_where_nothing_else_is() -> None:
    log = f"""\
{CORE}Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting down executor.
{CORE}RuntimeError: Executor failed.
vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace
"""
    explanation = explain(0, VLLM_BANNER + log)
    assert explanation.kind == ENGINE_CRASHED
    assert explanation.message.startswith("Worker proc VllmWorker-0 died unexpectedly")


def test_when_the_cause_is_cut_off_the_secondary_one_is_told() -> None:
    assert explain(1, VLLM_CORE_FAILED).message.startswith(
        "RuntimeError: Engine core initialization failed."
    )


def test_a_long_message_is_shortened() -> None:
    message = explain(1, "ValueError: " + "long " * 200).message
    assert len(message) <= 300 and message.endswith("…")


def test_an_endless_line_does_not_hold_us_up() -> None:
    assert explain(1, "memory " * 300_000).kind == ENGINE_CRASHED
