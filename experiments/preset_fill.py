"""A preset's fields, put into the form of a new task as it stands: what is typed elsewhere stays,
and what was typed where the preset has something is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments import masking, presets
from experiments.form_places import PLACES, find, put
from experiments.forms import TaskForm
from experiments.models import Preset

ABSENT = object()


@dataclass
class Filled:
    """What became of a form."""

    preset: Preset
    values: dict[str, Any] = field(default_factory=dict)  # What each field is to show
    names: list[str] = field(default_factory=list)  # Of what the preset has filled in
    replaced: list[tuple[str, str]] = field(default_factory=list)  # Label, and what was typed


def fill(form: TaskForm, preset: Preset) -> Filled:
    """Fields that the preset does not have stay as they are typed, even what cannot be read yet."""
    form.full_clean()
    before, after = form.written, presets.filled(form.written, preset.parts)
    found, new = Filled(preset), as_form(preset.parts, after)
    for name, place in PLACES.items():
        typed = found.values[name] = form[name].value()
        if find(preset.parts, place, ABSENT) is ABSENT:
            continue
        found.values[name] = new.shown(name)
        found.names.append(str(form[name].label))
        is_lost = name in form.unread or not holds(
            find(after, place, None), find(before, place, None)
        )
        if is_lost and name in form.changed_data and typed not in (None, ""):
            shown = masking.hide(str(typed), masking.known_of(before))
            found.replaced.append((str(form[name].label), shown))
    found.names += beyond_the_form(preset.parts)
    return found


def as_form(parts: dict[str, Any], whole: dict[str, Any]) -> TaskForm:
    """A form of the fields that the preset has, with what they are in the whole."""
    only: dict[str, Any] = {}
    for place in PLACES.values():
        if find(parts, place, ABSENT) is not ABSENT:
            put(only, place, find(whole, place, None))
    form: TaskForm = type("Form", (TaskForm,), {"begins_with": only})()
    return form


def holds(new: Any, old: Any) -> bool:
    """Whether all of the old is in the new."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(new.get(key, ABSENT) == value for key, value in old.items())
    return bool(new == old)


def beyond_the_form(parts: Mapping[str, Any]) -> Iterator[str]:
    """The fields of a task file that are here and have none in the form."""
    sections = {place.partition(".")[0] for place in PLACES.values() if "." in place}
    for name, value in parts.items():
        inner = [f"{name}.{key}" for key in value] if name in sections else [name]
        yield from (place for place in inner if place not in PLACES.values())
