"""What an engine says it runs with, read from its log, beside what it was asked for."""

import ast
import re
from collections.abc import Iterator, Mapping

from experiments.engines.base import Value
from experiments.engines.flags import ENVIRONMENT_PREFIX, PARALLELISM, format_value, spelling

Settings = dict[str, Value]

OPENING, CLOSING = "([{<", ")]}>"
# Other names of one setting, by the name that an engine reports
SAME = {
    "max-seq-len": ("max-model-len",),
    "n-ctx": ("ctx-size", "c"),
    "n-batch": ("batch-size", "b"),
    "n-ubatch": ("ubatch-size", "ub"),
    "n-seq-max": ("parallel", "np"),
    "context-len": ("context-length",),
}
ALIASES = {
    **{other: name for name, others in SAME.items() for other in others},
    **{other: names[0] for names in PARALLELISM for other in names},
}
WORDS = {"half": "float16", "float": "float32", "enabled": "true", "disabled": "false"}
LEFT_TO_THE_ENGINE = {"auto", ""}


def pairs(text: str) -> Settings:
    """`a=1, b='x', c=Config(d=2)` up to its end, as flags: numbers, words, true and false only."""
    found: Settings = {}
    for part in _parts(text):
        name, equals, written = part.partition("=")
        value = _value(written.strip())
        if equals and value is not None:
            found[name_of(name.strip())] = value
    return found


def _parts(text: str) -> Iterator[str]:
    """What stands between commas, outside of brackets and quotes; ends where a bracket closes."""
    depth, quote, start = 0, "", 0
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[position - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter in OPENING:
            depth += 1
        elif letter in CLOSING:
            depth -= 1
            if depth < 0:
                yield text[start:position]
                return
        elif letter == "," and not depth:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _value(text: str) -> Value | None:
    """A plain value as the engine wrote it; None for anything else, also for its own None."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = text.removeprefix("torch.") if re.fullmatch(r"[\w./-]+", text) else None
    return value if isinstance(value, str | int | float) else None


def literal(text: str) -> Settings:
    """`{'a': 1, 'b': [2]}` as flags; empty when it is no such thing."""
    try:
        written = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    plain = written.items() if isinstance(written, dict) else ()
    return {name_of(str(k)): v for k, v in plain if isinstance(v, str | int | float)}


def name_of(flag: str) -> str:
    """One name for each setting, however a flag or a log calls it."""
    name = spelling(flag)
    return ALIASES.get(name, name)


def differing(asked: Mapping[str, Value], effective: Mapping[str, Value]) -> list[str]:
    """Each flag that the engine says it runs with in another value: "asked a=1, runs with 2".

    What was left to the engine (`auto`) it decides, and of what it does not tell nothing is said.
    """
    found = []
    for flag, value in asked.items():
        reported = effective.get(name_of(flag))
        is_variable = flag.startswith(ENVIRONMENT_PREFIX)
        if reported is None or is_variable or not _can_be_compared(value, reported):
            continue
        if in_words(value) != in_words(reported):
            found.append(f"asked {flag}={format_value(value)}, runs with {format_value(reported)}")
    return found


def _can_be_compared(asked: Value, reported: Value) -> bool:
    if asked in LEFT_TO_THE_ENGINE:
        return False
    # A number with a unit (`2k`) is read by the engine alone
    return not isinstance(asked, str) or isinstance(reported, str)


def in_words(value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = format_value(value)
    return WORDS.get(text, text)


def settings_of(asked: Mapping[str, Value], effective: Mapping[str, Value]) -> dict[str, str]:
    """All that a configuration runs with: what the engine says, and of the rest what it was asked.

    Two configurations with equal settings are one.
    """
    told = {name_of(flag): value for flag, value in asked.items()}
    return {name: in_words(value) for name, value in {**told, **effective}.items()}
