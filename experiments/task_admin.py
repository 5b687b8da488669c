"""Tasks in the admin: added, edited, started, cancelled and deleted here."""

from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from experiments import editor, masking, roles, task_list, views
from experiments.documents import write_yaml
from experiments.engines.known_flags import KNOWN_FLAGS
from experiments.forms import TaskForm
from experiments.model_pages import Audited, RowsPage, block, column, unbroken
from experiments.models import Experiment, Preset, TuningTask
from experiments.moments import moment
from experiments.slo_lines import KNOWN_LIMITS
from experiments.states import ENDED, TASK_ENDED, TaskStatus
from experiments.task_actions import ACTIONS

WORKLOAD = (
    *("traffic_scenarios", "num_concurrency", "request_rate", "rate_search"),
    *("max_requests", "max_minutes", "generator", "slo"),
)


@admin.register(TuningTask)
class TuningTaskAdmin(Audited, RowsPage):
    list_title = "Tasks"
    nothing = "No tuning task yet"
    what_next = mark_safe(
        "Add one, paste a task file, or give it to <code>manage.py tune FILE</code> at the shell."
    )

    class Media:
        js = ("experiments/rows.js",)

    form = TaskForm
    list_display = (
        *("page", "state", "progress", "best", "gain", "end"),
        *("engine", "model", "created"),
    )
    list_before_template = "experiments/task_list.html"
    list_display_links = None
    list_filter = ("status", "engine", "created_at")
    search_fields = ("name", "model", "description", "objective")
    search_help_text = "A word of the name, the model, the description"
    list_per_page, list_max_show_all = 50, task_list.MOST
    actions = ACTIONS
    change_form_outer_before_template = "experiments/task_links.html"
    change_form_before_template = "experiments/task_begun.html"
    conditional_fields = {
        "executable": "engine != 'custom' && engine != 'job'",
        "command": "engine == 'custom' || engine == 'job'",
        **dict.fromkeys(WORKLOAD, "engine != 'job'"),
    }
    fieldsets = (
        ("Task", {"fields": ("name", "description", "objective")}),
        (
            "Engine",
            {
                "fields": (
                    *("engine", "model", "executable", "command"),
                    ("fixed_arguments", "environment"),
                )
            },
        ),
        (
            "Search",
            {
                "fields": (
                    "search_space",
                    "constraints",
                    ("strategy", "seed"),
                    "pruning",
                    ("skip_known_failures", "reuse"),
                )
            },
        ),
        (
            "Budget",
            {
                "fields": (
                    ("max_experiments", "repeats"),
                    ("max_parallel_experiments", "priority"),
                    ("timeout", "price_per_gpu_hour"),
                    ("gpus", "min_memory_mb"),
                    "min_host_memory_mb",
                )
            },
        ),
        (
            "Workload",
            {
                "description": "Not for jobs: their command is the measurement.",
                "fields": (
                    "traffic_scenarios",
                    ("num_concurrency", "request_rate"),
                    "rate_search",
                    ("max_requests", "max_minutes"),
                    *("generator", "slo"),
                ),
            },
        ),
    )
    # A task that was started stays as it was measured.
    shown = (
        (
            "Task",
            {
                "fields": (
                    *("page", "state", "message", "description"),
                    *("created_by", "created", "started", "finished"),
                )
            },
        ),
        ("Task file", {"fields": ("task_file",)}),
    )

    # ── what is shown ───────────────────────────────────────────────────────────────────────

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[task_list.TaskList]:
        return task_list.TaskList

    @column("Name", ordering="name")
    def page(self, task: TuningTask) -> SafeString:
        return format_html('<a class="at-link" href="{}">{}</a>', live_url(task), task.name)

    @column("Status", ordering="status")
    def state(self, task: TuningTask) -> SafeString:
        return task_list.cell(task, "state")

    @column("Experiments")
    def progress(self, task: TuningTask) -> SafeString:
        return task_list.cell(task, "progress")

    @column("Best")
    def best(self, task: TuningTask) -> SafeString:
        return task_list.cell(task, "best")

    @column("vs. defaults")
    def gain(self, task: TuningTask) -> SafeString:
        return task_list.cell(task, "gain")

    @column("Expected end")
    def end(self, task: TuningTask) -> SafeString:
        return task_list.cell(task, "end")

    @column("Created", ordering="created_at")
    def created(self, task: TuningTask) -> SafeString:
        return unbroken(moment(task.created_at, "minute"))

    @column("Started")
    def started(self, task: TuningTask) -> SafeString:
        return moment(task.started_at)

    @column("Ended")
    def finished(self, task: TuningTask) -> SafeString:
        return moment(task.finished_at)

    @column("Task file")
    def task_file(self, task: TuningTask) -> SafeString:
        known = masking.known_of(task.specification)
        return block(write_yaml(masking.data(task.specification, known)))

    # ── editing ─────────────────────────────────────────────────────────────────────────────

    def has_change_permission(self, request: HttpRequest, obj: TuningTask | None = None) -> bool:
        """Only what has not been started; a command only by who may write commands."""
        if obj is not None and obj.status != TaskStatus.PENDING:
            return False
        if obj is not None and roles.command_in(obj.specification):
            return roles.may_write_commands(request.user)
        return cast(bool, super().has_change_permission(request, obj))

    def has_view_permission(self, request: HttpRequest, obj: TuningTask | None = None) -> bool:
        return roles.may_view(request.user)

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return roles.may_steer(request.user)

    def has_clone_permission(self, request: HttpRequest) -> bool:
        return roles.may_steer(request.user) and roles.may_edit(request.user)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return roles.may_export(request.user)

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)  # A class of this request's own
        form.may_write_commands = roles.may_write_commands(request.user)
        form.begins_with = editor.begins_with(request)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: TuningTask | None = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return self.shown
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: TuningTask | None = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return [name for _, section in self.shown for name in section["fields"]]
        return super().get_readonly_fields(request, obj)

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        """With a line that says what the task would do as it is typed now."""
        obj = options.get("obj")
        if self.has_change_permission(request, obj):
            name = "admin:experiments_tuningtask_summary"
            context["show_summary"] = reverse(name, args=[obj.pk] if obj else [])
            context["download"] = reverse(
                "admin:experiments_tuningtask_download", args=[obj.pk] if obj else []
            )
            context["flags"], context["limits"] = KNOWN_FLAGS, KNOWN_LIMITS
            if obj is None and roles.may_see_presets(request.user):
                context["presets"] = Preset.objects.all()
                context["begun_with"] = editor.begun_with(request)
                context["filled"] = getattr(request, "filled", None)
        return super().render_change_form(request, context, **options)

    def save_model(self, request: HttpRequest, obj: TuningTask, form: Any, change: bool) -> None:
        request.saved_task = obj  # type: ignore[attr-defined]
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
            return obj.save()
        with transaction.atomic():
            # Another click may have started it since this page was opened.
            waiting = TuningTask.objects.select_for_update().filter(status=TaskStatus.PENDING)
            if not waiting.filter(pk=obj.pk).exists():
                raise PermissionDenied(f"{obj} has been started meanwhile")
            columns = [*TaskForm.Meta.fields, "max_experiments", "priority", "specification"]
            return obj.save(update_fields=columns)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What is typed, when a preset is filled in."""
        return getattr(request, "typed", {})

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Save and start: it starts after the commit, for whoever runs it must see its row."""
        if "_fill" in request.POST and roles.may_edit(request.user):
            request = editor.filled(request)
        response: HttpResponse = super().changeform_view(request, *args, **options)
        saved = getattr(request, "saved_task", None)
        is_asked = "_start" in request.POST and roles.may_steer(request.user)
        if saved is not None and is_asked:
            views.do(request, "start", saved, {})
        return response

    def response_post_save_add(self, request: HttpRequest, obj: TuningTask) -> HttpResponse:
        return redirect(live_url(obj))

    def response_post_save_change(self, request: HttpRequest, obj: TuningTask) -> HttpResponse:
        return redirect(live_url(obj))

    # ── deleting ────────────────────────────────────────────────────────────────────────────

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A task goes with its experiments, but not while something of it runs."""
        shown, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        forbidden.discard(Experiment._meta.verbose_name)
        still = [f"{task} (cancel it first)" for task in objs if is_busy(task)]
        return shown, counts, forbidden, [*protected, *still]

    def delete_model(self, request: HttpRequest, obj: TuningTask) -> None:
        self.delete_queryset(request, TuningTask.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TuningTask]) -> None:
        with transaction.atomic():
            tasks = list(TuningTask.objects.select_for_update().filter(pk__in=queryset))
            if any(is_busy(task) for task in tasks):
                raise PermissionDenied("a task that runs cannot be deleted")
            TuningTask.objects.filter(pk__in=[task.pk for task in tasks]).delete()

    def get_urls(self) -> list[URLPattern]:
        name = "experiments_tuningtask"
        return [
            path("<int:task_id>/live/", views.live_page, name=f"{name}_live"),
            path("<int:task_id>/ask/<slug:verb>/", views.ask, name=f"{name}_ask"),
            path("<int:task_id>/do/<slug:verb>/", views.act, name=f"{name}_act"),
            path("<int:task_id>/export/", views.export, name=f"{name}_export"),
            path("paste/", editor.paste, name=f"{name}_paste"),
            path("cells/", task_list.cells, name=f"{name}_cells"),
            path("summary/", editor.summary, name=f"{name}_summary"),
            path("download/", editor.download, name=f"{name}_download"),
            path("<int:task_id>/download/", editor.download, name=f"{name}_download"),
            path("<int:task_id>/summary/", editor.summary, name=f"{name}_summary"),
            *super().get_urls(),
        ]


def live_url(task: TuningTask) -> str:
    return reverse(views.LIVE, args=[task.pk])


def is_busy(task: TuningTask) -> bool:
    """Whether it runs, or something of it has not stopped yet."""
    may_go = task.status in TASK_ENDED or task.status == TaskStatus.PENDING
    return not may_go or task.experiments.exclude(status__in=ENDED).exists()
