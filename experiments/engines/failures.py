"""Why an engine failed: the one line of its log that says so, searched from the end upwards.

The last line is often not the cause: an engine's server process complains that its core did
not start, and the core's own words are above. The patterns come from logs of vLLM 0.32 and
llama-cpp-python 0.3; what they do not know is told by its last exception or its last words.
"""

import re
import signal
from dataclasses import dataclass

from experiments.engines.base import Explanation
from experiments.engines.passing import TEMPORARY_FAILURE, may_pass
from experiments.states import FailureKind

MAX_MESSAGE = 300  # characters
MAX_LINE = 2000
LINES_BEFORE, LINES_AFTER = 6, 6  # of the log, with the cause itself
KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}

# What stands before the words: colours, (EngineCore pid=12), times, levels, [core.py:1510]
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f]")  # and control codes
PREFIX = re.compile(
    r"^(?:\(\w+(?: \w+=\S+)?\) )?"
    r"(?:\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?(?: [A-Z]+\d+)*\]?(?: [-|])? ?)?"
    r"(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)(?::\s*| [-|] |(?= \d\d-\d\d ))"
    r"(?: \d\d-\d\d \d\d:\d\d:\d\d )?(?:\[[\w./]+:\d+\] ?)?)?"
)
CHATTER = {"DEBUG", "INFO", "WARNING"}

# Lines that can be a cause
EXCEPTION = re.compile(
    r"^(?:[a-zA-Z_]\w*\.)*(?P<name>[A-Z]\w*(?:Error|Exception)|Exception)(?:: (?P<text>.*))?$"
)
ARGPARSE = re.compile(r"^(?:.*: )?error: (?P<text>.+)$")
PYDANTIC = re.compile(r"\d+ validation errors? for \w+$")
CRASH = re.compile(
    r"(?P<text>(?:GGML_ASSERT\(|GGML_ABORT|Fatal Python error: |terminate called |Worker proc ).*)$"
)
PORT_TAKEN = re.compile(r"address already in use", re.IGNORECASE)

# Exceptions that only tell of another one, above them
SECONDARY = re.compile(
    r"root cause|initialization failed|Executor failed|EngineDeadError|died unexpectedly"
    r"|Failed to create llama_context|Connection (?:reset|closed) by peer|BrokenPipeError"
    r"|CancelledError"
)

OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|MemoryError|bad_alloc|Cannot allocate memory"
    r"|can't allocate memory|not enough memory|insufficient memory|ALLOC_FAILED"
    r"|failed to allocate|No available memory for the cache blocks"
    r"|larger than the (?:available KV cache|maximum number of tokens that can be stored)"
    r"|memory .* is less than (?:requested|desired)",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"unrecognized arguments|invalid (?:choice|argument|\w+ value)|expected .*argument"
    r"|No common block size|not supported|unsupported|not divisible|must be (?:a|an|at|in|one of"
    r"|divisible|equal|greater|less|positive|smaller|between|specified)\b",
    re.IGNORECASE,
)
NO_MODEL = re.compile(
    r"HFValidationError|LocalEntryNotFoundError|RepositoryNotFoundError|Model path does not exist"
    r"|Cannot find any model weights|failed to load model from file",
    re.IGNORECASE,
)
NOT_WORDS = re.compile(r"^(?:usage: |\s|Traceback |#\d+ |\[Inferior |[\^~]+$)")


@dataclass(frozen=True)
class Line:
    """One line of a log without its prefix."""

    text: str
    is_chatter: bool


def explain(exit_code: int | None, log: str) -> Explanation:
    """The kind of the failure, its cause in at most MAX_MESSAGE characters, and its lines."""
    lines = clean(log)
    index = find_cause(lines)
    if index is None:
        return _by_last_words(exit_code, lines)
    cause = lines[index].text
    kind, words = _verdict(exit_code, lines, index)
    passes = kind == FailureKind.ENGINE_CRASHED and may_pass(cause)
    return Explanation(kind, shortened(words), around(lines, index), passes)


def _verdict(exit_code: int | None, lines: list[Line], index: int) -> tuple[FailureKind, str]:
    cause = lines[index].text
    if PYDANTIC.search(cause):
        return FailureKind.BAD_FLAG, validation_reasons(lines, index)
    if NO_MODEL.search(cause):
        return FailureKind.ENGINE_CRASHED, f"the model cannot be loaded: {wording(cause)}"
    if PORT_TAKEN.search(cause):
        return FailureKind.ENGINE_CRASHED, f"another program has its port: {wording(cause)}"
    if is_refusal(exit_code, cause):
        return FailureKind.BAD_FLAG, wording(cause)
    if memory := memory_line(lines, cause):
        return FailureKind.OUT_OF_MEMORY, wording(memory)
    return FailureKind.ENGINE_CRASHED, wording(cause)


def explain_job(exit_code: int | None, log: str) -> Explanation:
    """The last words of a program of the user's own; its kind by what they say."""
    return _by_last_words(exit_code, clean(log))


def clean(log: str) -> list[Line]:
    """The log's lines without colours, process names, times and levels; indentation stays."""
    lines = []
    for raw in log.splitlines():
        uncoloured = COLOUR.sub("", raw[:MAX_LINE]).rstrip()
        prefix = PREFIX.match(uncoloured)
        assert prefix is not None  # Every part of it is optional
        lines.append(Line(uncoloured[prefix.end() :], prefix["level"] in CHATTER))
    return lines


def find_cause(lines: list[Line]) -> int | None:
    """The last line that can be a cause and does not point to another one above it."""
    secondary = None
    for index in reversed(range(len(lines))):
        line = lines[index]
        if line.is_chatter or not _is_sign(line.text):
            continue
        if not SECONDARY.search(line.text):
            return index
        secondary = index  # The uppermost is the nearest to what we do not see
    return secondary


def _is_sign(text: str) -> bool:
    patterns = (EXCEPTION.match, ARGPARSE.match, PYDANTIC.search, CRASH.search, PORT_TAKEN.search)
    return any(found(text) for found in patterns)


def is_refusal(exit_code: int | None, cause: str) -> bool:
    """Whether the engine refused its configuration. argparse ends with exit code 2."""
    if OUT_OF_MEMORY.search(cause):
        return False
    return bool(REFUSED.search(cause) or (exit_code == 2 and ARGPARSE.match(cause)))


def memory_line(lines: list[Line], cause: str) -> str:
    """The line that tells of too little memory: the cause itself, or the first that does."""
    if OUT_OF_MEMORY.search(cause):
        return cause
    said = (line.text for line in lines if not line.is_chatter)
    return next((text for text in said if OUT_OF_MEMORY.search(text)), "")


def validation_reasons(lines: list[Line], index: int) -> str:
    """What pydantic says below its heading: a field's name, then indented its reason."""
    reasons: list[str] = []
    field = ""
    for line in lines[index + 1 :]:
        text = line.text
        if text.startswith("    For further") or not text:
            continue
        if text.startswith("  "):
            reason = text.strip().removeprefix("Value error, ").partition(" [type=")[0]
            reasons.append(f"{field}: {reason}" if field else reason)
            field = ""
        elif re.fullmatch(r"[\w.]+", text):
            field = text
        else:
            break
    return "; ".join(reasons) or lines[index].text


def wording(line: str) -> str:
    """A line for people: an exception without its module, an argparse error without `usage`."""
    if found := EXCEPTION.match(line):
        return f"{found['name']}: {found['text']}" if found["text"] else found["name"]
    if found := ARGPARSE.match(line) or CRASH.search(line):
        return found["text"]
    return line.strip()


def last_words(lines: list[Line]) -> str:
    """The last line that says something, or what comes nearest to it."""
    texts = [line for line in lines if line.text.strip()]
    for wanted in (
        [line for line in texts if not (line.is_chatter or NOT_WORDS.match(line.text))],
        texts,
    ):
        if wanted:
            return wanted[-1].text.strip()
    return ""


def _by_last_words(exit_code: int | None, lines: list[Line]) -> Explanation:
    words = last_words(lines)
    last = around(lines, len(lines) - 1)
    if exit_code in KILLED:
        return Explanation(
            FailureKind.OUT_OF_MEMORY,
            "killed by SIGKILL, most often the kernel's out-of-memory killer",
            last,
        )
    is_memory = OUT_OF_MEMORY.search(words)
    kind = FailureKind.OUT_OF_MEMORY if is_memory else FailureKind.ENGINE_CRASHED
    message = shortened(f"{_ending(exit_code)}: {words or 'it said nothing'}")
    passes = exit_code == TEMPORARY_FAILURE or (not is_memory and may_pass(words))
    return Explanation(kind, message, last, passes)


def last_lines(log: str) -> tuple[str, ...]:
    """The end of a log that does not say why, for people."""
    lines = clean(log)
    return around(lines, len(lines) - 1)


def around(lines: list[Line], index: int) -> tuple[str, ...]:
    """The lines of a log that tell why: up to the one at `index`, and what is said right after."""
    said = [
        (at, line.text)
        for at, line in enumerate(lines)
        if line.text.strip() and not (line.is_chatter and at != index)
    ]
    before = [text for at, text in said if at <= index][-LINES_BEFORE:]
    after = [text for at, text in said if at > index][:LINES_AFTER]
    return tuple(shortened(text) for text in (*before, *after))


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "not healthy"
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number in {each.value for each in signal.Signals}:
        return f"ended by {signal.Signals(number).name}"
    return f"ended with exit code {exit_code}"


def shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1].rstrip() + "…"
