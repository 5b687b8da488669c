"""Kinds of columns that Django has not."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Text = models.TextField[Any, Any]
else:
    Text = models.TextField


class JsonText(Text):
    """JSON kept as text, because PostgreSQL's jsonb forgets the order of keys and ours matters."""

    if TYPE_CHECKING:  # What a column of it holds, for the types
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, allow_nan=False)

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value


def choices(words: Iterable[Any]) -> list[tuple[str, str]]:
    """The words of an enumeration as a model field wants them."""
    return [(word.value, word.value) for word in words]
