"""The kinds of fields that the form of a tuning task has."""

from collections.abc import Callable
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from experiments import textareas
from experiments.errors import BadInput

MOST = 2**31 - 1  # What a column of whole numbers holds


def area(rows: int, placeholder: str = "", *, code: bool = True) -> forms.Textarea:
    """A text area; `code` is what is read line by line."""
    attributes = {"rows": rows, "placeholder": placeholder, "class": "at-code" if code else ""}
    widget: forms.Textarea = UnfoldAdminTextareaWidget(attrs=attributes)
    return widget


class DataField(forms.CharField):
    """Text that is written for, and read as, a part of the task file."""

    def __init__(
        self, read: Callable[[str], Any] = str, write: Callable[[Any], str] = str, **options: Any
    ) -> None:
        options.setdefault("widget", area(4))
        super().__init__(required=False, strip=False, **options)
        self.read = read
        self.write = write

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n").rstrip()

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return self.read(text) if text else ""
        except BadInput as problem:
            raise forms.ValidationError(str(problem)) from problem


def line(**options: Any) -> forms.CharField:
    return forms.CharField(widget=UnfoldAdminTextInputWidget(), **options)


def numbers(placeholder: str = "", **options: Any) -> DataField:
    widget = UnfoldAdminTextInputWidget(attrs={"placeholder": placeholder})
    return DataField(textareas.read_numbers, textareas.write_numbers, widget=widget, **options)


def whole(least: int, most: int = MOST, **options: Any) -> forms.IntegerField:
    widget = UnfoldAdminIntegerFieldWidget(attrs={"min": least})
    return forms.IntegerField(min_value=least, max_value=most, widget=widget, **options)


def choice(names: dict[str, str], **options: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=list(names.items()), widget=UnfoldAdminSelectWidget(), **options
    )
