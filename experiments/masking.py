"""Commands and variables as pages show them: without what is secret in them."""

import re
from collections.abc import Mapping, Sequence

MASK = "••••••"
SECRET = re.compile(
    r"(?:^|[-_.])(?:api[-_]?key|key|token|secret|passw(?:or)?d|credentials?)s?(?:$|[-_.])",
    re.IGNORECASE,
)
# Flags and variables of engines that are only called so
NOT_SECRET = re.compile(r"tokens|tokenizer|num|max|min|token[-_]?id|kv|cache", re.IGNORECASE)
ASSIGNED = re.compile(r"^(-{0,2}[\w.-]+)=(.*)$", re.DOTALL)
IN_A_URL = re.compile(r"(\w+://[^\s/:@]*:)[^\s/@]+(@)")


def is_secret(name: str) -> bool:
    """Whether a flag or variable of this name may carry a secret."""
    return bool(SECRET.search(name.lstrip("-"))) and not NOT_SECRET.search(name)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables; what is secret is a mask."""
    return {name: MASK if is_secret(name) else plain(v) for name, v in sorted(variables.items())}


def command(arguments: Sequence[str]) -> list[str]:
    """The same arguments: `--api-key x`, `--api-key=x` and `TOKEN=x` without x."""
    shown: list[str] = []
    after_secret = False
    for argument in arguments:
        assigned = ASSIGNED.match(argument)
        if after_secret and not argument.startswith("--"):
            shown.append(MASK)
        elif assigned and is_secret(assigned[1]):
            shown.append(f"{assigned[1]}={MASK}")
        else:
            shown.append(plain(argument))
        after_secret = argument.startswith("-") and not assigned and is_secret(argument)
    return shown


def plain(text: str) -> str:
    """Text without the password of an address in it."""
    return IN_A_URL.sub(rf"\g<1>{MASK}\g<2>", str(text))
