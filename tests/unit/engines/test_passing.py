"""Which failures may be over at the next attempt."""

import pytest

from experiments.engines.failures import explain, explain_job, last_lines
from experiments.engines.passing import may_pass
from experiments.states import FailureKind


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 98] Address already in use",
        "requests.exceptions.ConnectionError: Max retries exceeded with url: /api/models/m",
        "httpx.ReadTimeout: The read operation timed out; Read timed out",
        "huggingface_hub.errors.LocalEntryNotFoundError: check your internet connection",
        "HfHubHTTPError: 503 Server Error: Service Unavailable for url",
        "HfHubHTTPError: 429 Client Error: Too Many Requests",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
        "httpx.ConnectError: [Errno 111] Connection refused",
        "RuntimeError: Vulkan device lost",
        "RuntimeError: No CUDA GPUs are available",
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 30] Read-only file system: '/models/cache'",
    ],
)
def test_what_is_not_the_configurations_may_pass(line: str) -> None:
    assert may_pass(line)
    assert explain(1, f"Traceback (most recent call last):\n{line}\n").may_pass


@pytest.mark.parametrize(
    "line",
    [
        "vllm: error: unrecognized arguments: --no-such-flag 3",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ValueError: No common block size for 7",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "LocalEntryNotFoundError: outgoing traffic has been disabled. Set HF_HUB_OFFLINE=0",
        "HFValidationError: Repo id must be in the form 'repo_name'",
        "404 Client Error: Not Found for url",
    ],
)
def test_what_would_be_the_same_the_next_time_does_not_pass(line: str) -> None:
    assert not may_pass(line)
    assert not explain(1, line).may_pass


def test_an_engine_that_ran_out_of_memory_first_does_not_pass() -> None:
    log = "CUDA error: out of memory\nRuntimeError: CUDA-capable device(s) is/are busy\n"
    assert explain(1, log).kind == FailureKind.OUT_OF_MEMORY
    assert not explain(1, log).may_pass


def test_a_job_says_with_exit_code_75_that_it_may_be_tried_again() -> None:
    assert explain_job(75, "the licence server is away\n").may_pass
    assert not explain_job(1, "the licence server is away\n").may_pass


def test_the_lines_are_those_around_the_cause_without_chatter() -> None:
    log = "\n".join(
        [
            *(f"INFO 11-23 22:29:57 [a.py:1] chatter {number}" for number in range(50)),
            "Loading the model",
            "",
            "ValueError: No common block size for 7",
            "During handling of the above",
            "RuntimeError: Engine core initialization failed. See root cause above.",
            *(f"WARNING 11-23 22:29:57 [a.py:1] chatter {number}" for number in range(50)),
        ]
    )
    explanation = explain(1, log)
    assert explanation.message == "ValueError: No common block size for 7"
    assert explanation.lines == (
        "Loading the model",
        "ValueError: No common block size for 7",
        "During handling of the above",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    )


def test_without_a_cause_the_last_lines_are_kept() -> None:
    log = "\n".join(f"step {number}" for number in range(100))
    assert explain(3, log).lines == last_lines(log) == tuple(f"step {n}" for n in range(94, 100))
    assert last_lines("") == ()
