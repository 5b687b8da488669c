"""Presets: parts of a task file under a name. They are checked, kept, filled in, and exchanged as
YAML files:

    preset: Chat
    description: Many short answers, the first token soon
    task:
      slo: {ttft: {p90: {threshold: 0.5}}}
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from experiments import masking, taskfile
from experiments.documents import read_document, write_yaml
from experiments.errors import BadInput
from experiments.preset import Preset
from experiments.roles import COMMAND_ENGINES
from experiments.validation import describe

KEYS = ("preset", "description", "task")
# What a task file cannot do without, for the check of one that has only some of its fields
REST: dict[str, Any] = {
    "task_name": "preset",
    "base_runtime": "vllm",
    "model": {"id_or_path": "model"},
    "parameters": {"a-flag": [1, 2]},
    "optimization": {"objective": "maximize_throughput"},
}


@dataclass(frozen=True)
class Document:
    """A preset as its file has it."""

    name: str
    description: str
    parts: dict[str, Any]


def check(parts: object) -> None:
    """Raise BadInput, which names the field, unless these are fields that a task file may have."""
    if not isinstance(parts, dict):
        raise BadInput("", f"a preset has fields of a task file, not {describe(parts)}")
    if not parts:
        raise BadInput("", "a preset needs at least one field of a task file, such as slo")
    if "task_name" in parts:
        raise BadInput("task_name", "leave it out: each task that begins here has its own name")
    whole = filled(REST, parts)
    if whole["base_runtime"] in COMMAND_ENGINES:
        whole.setdefault("command", ["program"])
    if problems := taskfile.problems(whole):
        raise problems[0]


def filled(specification: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """A task file with a preset's fields in it: those of a section beside the section's others."""
    found = deepcopy(dict(specification))
    for name, value in parts.items():
        before = found.get(name)
        found[name] = deepcopy(value)
        if isinstance(before, dict) and isinstance(value, dict) and name != "parameters":
            found[name] = {**before, **found[name]}
    return found


def parts_of(specification: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset of this task would have, without its secrets: its name and description are
    the preset's own."""
    own = ("task_name", "description")
    rest = {name: value for name, value in specification.items() if name not in own}
    return masking.data(rest, masking.known_of(specification))


# ── files ───────────────────────────────────────────────────────────────────────────────────


def read(text: str, source: str = "") -> Document:
    """A preset's file. Raises BadInput, which names the field."""
    data = read_document(text, source)
    if not isinstance(data, dict):
        raise BadInput(
            source, f"a preset's file has preset, description, task, not {describe(data)}"
        )
    for key in data:
        if key not in KEYS:
            raise BadInput(str(key), f"is not known here; a preset's file has {', '.join(KEYS)}")
    name, description = data.get("preset"), data.get("description") or ""
    longest = Preset._meta.get_field("name").max_length
    if not isinstance(name, str) or not name.strip() or len(name) > (longest or 0):
        raise BadInput("preset", f"give it a name of at most {longest} characters")
    if not isinstance(description, str):
        raise BadInput("description", f"expected text, not {describe(description)}")
    parts: Any = data.get("task")
    try:
        check(parts)
    except BadInput as problem:
        inside = f"task.{problem.field}" if problem.field else "task"
        raise BadInput(inside, problem.message) from None
    return Document(name.strip(), description, parts)


def write(preset: Preset) -> str:
    """Its file, without secrets."""
    known = masking.known_of(preset.parts)
    described = {"description": preset.description} if preset.description else {}
    return write_yaml(
        {"preset": preset.name, **described, "task": masking.data(preset.parts, known)}
    )


def keep(document: Document, *, replace: bool, user: Any = None) -> Preset:
    """Save it. Raises BadInput when there is another of its name, which is not to be replaced."""
    preset = Preset.objects.filter(name=document.name).first()
    if preset is not None and not replace:
        raise BadInput("preset", f"there is one called {document.name!r}; rename it, or replace it")
    if preset is None:
        preset = Preset(name=document.name, created_by=user)
    preset.description, preset.parts = document.description, document.parts
    preset.save()
    return preset
