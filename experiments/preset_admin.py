"""Presets in the admin: written, exported, imported, and made of a task."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET, require_http_methods

from experiments import audit, editor, masking, presets, roles, textareas
from experiments.documents import write_yaml
from experiments.errors import BadInput
from experiments.files import attachment, uploaded
from experiments.form_fields import DataField, area, line
from experiments.forms import COMMAND_REFUSED
from experiments.guard import is_key, only_for
from experiments.model_pages import Audited, RowsPage, block, column
from experiments.models import Preset, TuningTask
from experiments.moments import moment
from experiments.states import Action

CHANGELIST = "admin:experiments_preset_changelist"


class PresetForm(forms.ModelForm):  # type: ignore[type-arg]
    """A preset; its fields of a task file are one text."""

    may_write_commands = True  # Of whom it is for: the admin says so

    name = line(max_length=200)
    description = DataField(max_length=10_000, widget=area(2, code=False))
    parts = DataField(
        textareas.read_yaml,
        textareas.write_as_yaml,
        widget=area(20, "slo:\n  ttft: {p90: {threshold: 1.0, hard_fail: true}}"),
        label="Fields of the task file",
        help_text="YAML, as in a task file but without task_name. A new task that begins here "
        "has them filled in, and can change them.",
    )

    class Meta:
        model = Preset
        fields = ["name", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: dict[str, Any] = self.instance.parts or {}
        if self.before:
            self.initial["parts"] = textareas.write_as_yaml(masking.data(self.before))

    def clean_parts(self) -> Any:
        parts = masking.restored("", self.cleaned_data["parts"] or {}, self.before)
        try:
            presets.check(parts)
            if not self.may_write_commands and (field := roles.command_in(parts)):
                raise BadInput(field, COMMAND_REFUSED)
        except BadInput as problem:
            raise forms.ValidationError(str(problem)) from problem
        return parts

    def save(self, commit: bool = True) -> Preset:
        self.instance.parts = self.cleaned_data["parts"]
        return cast(Preset, super().save(commit))


@admin.register(Preset)
class PresetAdmin(Audited, RowsPage):
    list_title = "Presets: parts of a task file to begin new tasks with"
    nothing = "No preset yet"
    what_next = mark_safe(
        "Add one, import a file, or use <code>manage.py presets import FILE</code>."
    )
    form = PresetForm
    list_before_template = change_form_outer_before_template = "experiments/preset_links.html"
    list_display = ("name", "description", "holds", "author", "changed", "use")
    list_display_links = ("name",)
    search_fields = ("name", "description")
    search_help_text = "A word of the name or the description"
    fields = ("name", "description", "parts")
    shown = ("name", "description", "fields_of_task", "author", "changed")

    @column("Fields")
    def holds(self, preset: Preset) -> str:
        return ", ".join(preset.parts)

    @column("Made by")
    def author(self, preset: Preset) -> str:
        return str(preset.created_by or "came with Autotuner")

    @column("Changed", ordering="changed_at")
    def changed(self, preset: Preset) -> SafeString:
        return moment(preset.changed_at, "minute")

    @column("Fields of the task file")
    def fields_of_task(self, preset: Preset) -> SafeString:
        known = masking.known_of(preset.parts)
        return block(write_yaml(masking.data(preset.parts, known)))

    @column("Use")
    def use(self, preset: Preset) -> SafeString:
        return format_html(
            '<a class="at-link" href="{}?preset={}">New task</a> · '
            '<a class="at-link" href="{}">Export</a>',
            *(reverse("admin:experiments_tuningtask_add"), preset.pk),
            reverse("admin:experiments_preset_export", args=[preset.pk]),
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if roles.may_edit(request.user) else [one for one in shown if one != "use"]

    # ── who may what ────────────────────────────────────────────────────────────────────────

    def has_change_permission(self, request: HttpRequest, obj: Preset | None = None) -> bool:
        return may_write(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Preset | None = None) -> bool:
        return may_write(request, obj) and super().has_delete_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)  # A class of this request's own
        form.may_write_commands = roles.may_write_commands(request.user)
        return form

    def get_fields(self, request: HttpRequest, obj: Preset | None = None) -> Any:
        is_shown = obj is not None and not self.has_change_permission(request, obj)
        return self.shown if is_shown else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Preset | None = None) -> Any:
        is_shown = obj is not None and not self.has_change_permission(request, obj)
        return self.shown if is_shown else ()

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """A task's form comes here as it stands, to become a preset."""
        if "_of_task" in request.POST and roles.may_edit(request.user):
            form, parts, problems = editor.parts_typed(request)
            if problems:
                title = "There is no preset yet"
                return editor.told(request, title, problems)
            page = editor.as_opened(request)
            page.typed = {name: form[name].value() for name in ("name", "description")}
            page.typed["parts"] = textareas.write_as_yaml(parts)
            request = page
        response: HttpResponse = super().changeform_view(request, *args, **options)
        return response

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Of the task that is to become a preset."""
        if typed := getattr(request, "typed", None):
            return cast(dict[str, Any], typed)
        key = request.GET.get("task", "")
        if not (is_key(key) and roles.may_view(request.user)):
            return {}
        task = get_object_or_404(TuningTask, pk=key)
        parts = textareas.write_as_yaml(presets.parts_of(task.specification))
        return {"name": task.name, "description": task.description, "parts": parts}

    def save_model(self, request: HttpRequest, obj: Preset, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        name = "experiments_preset"
        return [
            path("import/", take_in, name=f"{name}_import"),
            path("<int:preset_id>/export/", give_out, name=f"{name}_export"),
            *super().get_urls(),
        ]


def may_write(request: HttpRequest, preset: Preset | None) -> bool:
    """One with a command only by who may write commands."""
    has_command = preset is not None and roles.command_in(preset.parts)
    return not has_command or roles.may_write_commands(request.user)


@only_for(roles.may_see_presets, CHANGELIST)
@require_GET
def give_out(request: HttpRequest, preset_id: int) -> HttpResponse:
    """Its file."""
    preset = get_object_or_404(Preset, pk=preset_id)
    return attachment(presets.write(preset), preset.name)


@only_for(roles.may_write_presets, CHANGELIST)
@require_http_methods(["GET", "POST"])
def take_in(request: HttpRequest) -> HttpResponse:
    """A preset from its file; what cannot be used is said, and the text kept."""
    text, problem = request.POST.get("text", ""), ""
    if request.method == "POST":
        try:
            text = uploaded(request) or text
            preset = kept(text, request)
        except BadInput as error:
            problem = str(error)
        else:
            messages.success(request, f"The preset {preset} is saved.")
            return redirect(CHANGELIST)
    context = {
        **admin.site.each_context(request),
        **{"title": "Import a preset", "opts": Preset._meta},
        **{"text": text, "problem": problem, "replace": "replace" in request.POST},
    }
    return TemplateResponse(request, "experiments/preset_import.html", context)


def kept(text: str, request: HttpRequest) -> Preset:
    """Save what was read. Raises BadInput, also for a command that this person may not write."""
    document = presets.read(text)
    field = roles.command_in(document.parts)
    there = Preset.objects.filter(name=document.name).first()
    if field and not roles.may_write_commands(request.user):
        raise BadInput(f"task.{field}", COMMAND_REFUSED)
    if not may_write(request, there):
        raise PermissionDenied
    preset = presets.keep(document, replace="replace" in request.POST, user=request.user)
    action = Action.EDIT if there else Action.ADD
    audit.record(request.user.get_username(), action, f"preset {preset}", "imported")
    return preset
