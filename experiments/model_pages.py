"""What the admin's pages of rows share: their titles, their columns, and who wrote what there."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from experiments import audit
from experiments.states import Action

Method = TypeVar("Method", bound=Callable[..., Any])


def column(description: str, **options: Any) -> Callable[[Method], Method]:
    """Unfold's `display`, with a type; worked out once for a row, which a form asks five times."""

    def decorate(method: Method) -> Method:
        @wraps(method)
        def once(page: Any, row: Any) -> Any:
            known = row.__dict__.setdefault("_columns", {})
            if method not in known:
                known[method] = method(page, row)
            return known[method]

        return cast(Method, display(description=description, **options)(once))

    return decorate


def block(text: str, kind: str = "") -> SafeString:
    """Text of several lines, as it is."""
    return format_html('<pre class="at-text {}">{}</pre>', kind, text)


def copied(name: str, text: str) -> SafeString:
    """The same with a button that copies it; `name` is its own on the page."""
    return format_html(
        '<div class="at-command"><pre id="{0}" tabindex="0">{1}</pre>'
        '<button class="at-button" type="button" data-copy="#{0}">Copy</button></div>',
        *(name, text),
    )


def pill(word: str, tone: str) -> SafeString:
    """A status: its word, in a colour."""
    return format_html('<span class="at-pill at-{}">{}</span>', tone, word)


def unbroken(text: str) -> SafeString:
    """Text of one line, however narrow its column."""
    return format_html('<span class="at-unbroken">{}</span>', text)


class RowsPage(ModelAdmin):  # type: ignore[misc]
    """A list with a title of its own, instead of "Select … to change", and with words of what to do
    while it has no rows."""

    list_title = nothing = ""
    what_next: str = ""
    list_fullwidth = True

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {"title": self.list_title, **(extra_context or {})}
        answer: HttpResponse = super().changelist_view(request, context)
        return answer


class ReadOnly:
    """No door for changes: these rows are written by what runs."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Audited:
    """What is written in a form is in the audit, too. The admin calls these in its transaction."""

    def log_addition(self, request: Any, obj: Any, message: Any) -> Any:
        audit.record(request.user.get_username(), Action.ADD, named(obj))
        return cast(Any, super()).log_addition(request, obj, message)

    def log_change(self, request: Any, obj: Any, message: Any) -> Any:
        entry = cast(Any, super()).log_change(request, obj, message)
        detail = entry.get_change_message()
        audit.record(request.user.get_username(), Action.EDIT, named(obj), detail)
        return entry

    def log_deletions(self, request: Any, queryset: Any) -> Any:
        for row in queryset:
            audit.record(request.user.get_username(), Action.DELETE, named(row))
        return cast(Any, super()).log_deletions(request, queryset)


def named(row: Any) -> str:
    """A task is called by its name, as everywhere; another row with what it is."""
    kind = row._meta.model_name
    return str(row) if kind == "tuningtask" else f"{kind} {row}"
