"""What people see of commands, variables, task files and logs: all of it without the secrets.

A secret is known by its name, that of a flag, a variable or a key, or by where it is, as a password
in an address. By its value it is then left out of every other text too, such as a log that repeats
it. Whatever leaves for a page, an export, a log or a column that people read goes through here.
"""

import json
import re
import shlex
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from django.conf import settings

from experiments.marks import clean_environment

MASK = "••••••"
SHORTEST = 6  # characters of a value that is looked for in texts; a shorter one is any word
LONGEST_LINE = 2**20  # bytes of a log in one line that are looked at together

# In any name, unless it says where the secret is kept
STRONG = re.compile(
    r"(?:api|access|private|signing|encryption)[-_.]?key|secret|passw(?:or)?d|passphrase"
    r"|credential|authorization|[-_.]pwd$",
    re.IGNORECASE,
)
KEPT_IN = re.compile(r"[-_.](?:file|path|dir)$", re.IGNORECASE)
# As a word of a name of which no other word says that it counts or names tokens and keys
WEAK = {"token", "key"}
NO_SECRETS = {
    *("tokens", "tokenizer", "num", "max", "min", "id", "ids", "map", "mode", "budget", "limit"),
    *("count", "len", "length", "size", "per", "kv", "cache", "name", "prefix", "type", "parser"),
    *("format", "dtype"),
}
OF_A_DIMENSION = {"type", "low", "high", "step", "log", "ordered", "when"}

FLAG = re.compile(r"^(-{0,2}[\w.-]+)=(.*)$", re.DOTALL)  # Also a variable before a program
# Where a text says that a part of it is a secret. Every repetition has its limit: a log's line may
# be as long as the log.
PLACES = (
    re.compile(r"\b[A-Za-z][\w+.-]{0,30}://[^\s/:@]{0,200}:(?P<password>[^\s/@]{1,500})(?=@)"),
    re.compile(r"[?&](?P<name>[\w.-]{1,100})=(?P<value>[^&\s\"'#]{1,2000})"),
    re.compile(r"\bbearer\s{1,5}(?P<bearer>[\w.~+/=-]{6,2000})", re.IGNORECASE),
    re.compile(r"\"(?P<name>[\w.-]{1,100})\"\s{0,5}:\s{0,5}\"(?P<value>(?:[^\"\\]|\\.){1,2000})\""),
)

Known = Mapping[str, str]  # Secret values, each with the name that it has


@dataclass(frozen=True)
class Secret:
    """A part of a text that nobody is to see."""

    name: str
    value: str

    @property
    def in_a_shell(self) -> str:
        """The shell's own variable of this name: `"$API_KEY"`."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", self.name.lstrip("-").removeprefix("env."))
        return f'"${name.upper()}"'


def is_secret(name: str, value: object = "") -> bool:
    """Whether a flag, a variable or a key of this name may carry a secret in this value."""
    if value is None or isinstance(value, bool):
        return False
    is_strong, is_weak = _called(name)
    return is_strong or (is_weak and not isinstance(value, int | float))


@lru_cache(maxsize=4096)  # A document has the same few names again and again
def _called(name: str) -> tuple[bool, bool]:
    """Whether any value of this name is secret, and whether a text is."""
    if KEPT_IN.search(name):
        return False, False
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    words = set(re.split(r"[-_.]+", spaced.lower()))
    return bool(STRONG.search(name)), bool(words & WEAK) and not words & NO_SECRETS


# ── one text, one command ───────────────────────────────────────────────────────────────────


def hide(text: str, known: Known | None = None) -> str:
    """The text with a mask for every secret in it: those that are known, and those that show."""
    return masked(pieces(text, known or {}))


def command(arguments: Sequence[str], known: Known | None = None) -> list[str]:
    """The same arguments: `--api-key x`, `--api-key=x` and `TOKEN=x` without x."""
    return [masked(word) for word in words(arguments, known or {})]


def environment(variables: Mapping[str, str], known: Known | None = None) -> dict[str, str]:
    """The same variables; what is secret is a mask."""
    return {name: shown(name, text, known) for name, text in sorted(variables.items())}


def shell_line(variables: Mapping[str, str], arguments: Sequence[str], known: Known) -> str:
    """A command for a person to copy, in which the shell's own variables stand for secrets."""
    own = (f"{name}={_own(name, text, known)}" for name, text in variables.items())
    return " ".join([*own, *(quoted(word) for word in words(arguments, known))])


def _own(name: str, text: str, known: Known) -> str:
    """A variable's value in a shell: one with any secret in it is the shell's own as a whole."""
    has_one = is_secret(name) or any(isinstance(one, Secret) for one in pieces(text, known))
    return f'"${name}"' if has_one else shlex.quote(text)


def words(arguments: Iterable[str], known: Known) -> Iterator[list[str | Secret]]:
    """Each argument in pieces."""
    after = ""  # The flag before, if it is one whose value is secret
    for argument in arguments:
        assigned = FLAG.match(argument)
        if after and not argument.startswith("--"):
            yield [Secret(after, argument)]
        elif assigned and is_secret(assigned[1]):
            yield [f"{assigned[1]}=", Secret(assigned[1], assigned[2])]
        else:
            yield pieces(argument, known)
        after = (
            argument if argument.startswith("-") and not assigned and is_secret(argument) else ""
        )


def pieces(text: str, known: Known) -> list[str | Secret]:
    """A text, parted where it has a secret."""
    parts: list[str | Secret] = [text]
    for pattern in (*_values(known), *PLACES):
        parts = [
            piece
            for part in parts
            for piece in (_parted(part, pattern, known) if isinstance(part, str) else (part,))
        ]
    return parts


def _values(known: Known) -> Iterator[re.Pattern[str]]:
    if known:
        longest_first = sorted(known, key=len, reverse=True)
        yield re.compile(f"(?P<known>{'|'.join(map(re.escape, longest_first))})")


def _parted(text: str, pattern: re.Pattern[str], known: Known) -> Iterator[str | Secret]:
    end = 0
    for match in pattern.finditer(text):
        found = match.groupdict()
        name = found.pop("name", None)
        if name is not None and not is_secret(name):
            continue
        ((group, value),) = found.items()
        yield text[end : match.start(group)]
        yield Secret(name or known.get(value) or group, value)
        end = match.end(group)
    yield text[end:]


def masked(parts: Iterable[str | Secret]) -> str:
    return "".join(part if isinstance(part, str) else MASK for part in parts)


def quoted(parts: Iterable[str | Secret]) -> str:
    """As a word for a shell."""
    found = [p.in_a_shell if isinstance(p, Secret) else shlex.quote(p) for p in parts if p != ""]
    return "".join(found) or "''"


# ── plain data: a task file, the documents that are exported ────────────────────────────────


def shown(name: str, value: Any, known: Known | None = None) -> Any:
    """A value as people see it, by the name that it has."""
    if isinstance(value, Mapping):
        return {key: shown(_name(name, str(key)), inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        if name == "command" and all(isinstance(one, str) for one in value):
            return command(value, known)
        return _told_apart([shown(name, one, known) for one in value])
    if is_secret(name, value):
        return MASK
    return hide(value, known) if isinstance(value, str) else value


def _name(outer: str, key: str) -> str:
    """Whose value one in a mapping is: all in a secret one are secret, but what says how it is
    searched."""
    return outer if is_secret(outer) and key not in OF_A_DIMENSION else key


def _told_apart(values: list[Any]) -> list[Any]:
    """Masks with numbers: no value of a list is the same as another."""
    if values.count(MASK) < 2:
        return values
    return [f"{MASK}{at}" if one == MASK else one for at, one in enumerate(values, start=1)]


def data(found: Mapping[str, Any], known: Known | None = None) -> dict[str, Any]:
    """Plain data as people see it."""
    return {name: shown(str(name), value, known) for name, value in found.items()}


def known_of(specification: Mapping[str, Any]) -> dict[str, str]:
    """The values that are secret in a task file, and in the environment that engines inherit.

    Those that are long enough to be told from other words, also as JSON and addresses write them.
    """
    found: dict[str, str] = {}
    inherited = clean_environment(settings.ENVIRONMENT)
    for secret in (*secrets_of("", inherited), *secrets_of("", specification)):
        for text in secret.value.splitlines():
            for written in (text.strip(), json.dumps(text.strip())[1:-1], quote(text.strip())):
                if len(written) >= SHORTEST and written != MASK:
                    found[written] = secret.name
    return found


def secrets_of(name: str, value: Any) -> Iterator[Secret]:
    """Every secret in plain data."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_of(_name(name, str(key)), inner)
    elif isinstance(value, list | tuple):
        if name == "command" and all(isinstance(one, str) for one in value):
            yield from (p for word in words(value, {}) for p in word if isinstance(p, Secret))
        else:
            for inner in value:
                yield from secrets_of(name, inner)
    elif is_secret(name, value):
        yield Secret(name, str(value))
    elif isinstance(value, str):
        yield from (piece for piece in pieces(value, {}) if isinstance(piece, Secret))


# ── what was masked comes back ──────────────────────────────────────────────────────────────


def restored(name: str, new: Any, old: Any) -> Any:
    """New data, in which what is still masked has its value in the old data of the same place."""
    return _restored(new, old, shown(name, old))


def _restored(new: Any, old: Any, seen: Any) -> Any:
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return {
            key: _restored(value, old[key], seen[key]) if key in old else value
            for key, value in new.items()
        }
    if isinstance(new, list) and isinstance(old, list):
        left: dict[str, deque[Any]] = defaultdict(deque)
        for one, value in zip(seen, old, strict=True):
            left[str(one)].append(value)
        return [left[str(one)].popleft() if left[str(one)] else one for one in new]
    return old if new == seen and new != old else new


def still_masked(found: Any, field: str = "") -> str:
    """The first field of plain data that has a mask where its value should be; else nothing."""
    if isinstance(found, Mapping):
        inner = ((f"{field}.{key}" if field else str(key), value) for key, value in found.items())
    elif isinstance(found, list):
        inner = ((f"{field}[{index}]", value) for index, value in enumerate(found))
    else:
        return field if isinstance(found, str) and MASK in found else ""
    return next(filter(None, (still_masked(value, name) for name, value in inner)), "")


# ── a log that is too long to look at as a whole ────────────────────────────────────────────


def stream(parts: Iterable[bytes], known: Known) -> Iterator[bytes]:
    """A log in parts, which may end anywhere, without what is secret in its lines."""
    kept = b""
    for part in parts:
        kept += part
        end = kept.rfind(b"\n") + 1 or (len(kept) if len(kept) > LONGEST_LINE else 0)
        yield _hidden(kept[:end], known)
        kept = kept[end:]
    yield _hidden(kept, known)


def _hidden(text: bytes, known: Known) -> bytes:
    whole = hide(text.decode(errors="surrogateescape"), known)
    return whole.encode(errors="surrogateescape")
