"""The admin: tasks are worked with in `task_admin.py`; what is here is for reading."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from experiments import effects, logs, pages, roles, views
from experiments.documents import write_yaml
from experiments.figures import elapsed, number, objective, plain, reached
from experiments.level_table import level_table
from experiments.models import AuditEntry, Experiment, Move
from experiments.states import Action
from experiments.task_admin import STATUS_COLOURS, block, column, live_url

ACTION_COLOURS = {
    Action.QUARANTINE.value: "warning",
    Action.DRAIN.value: "warning",
    Action.RELEASE.value: "danger",
    Action.PAUSE.value: "warning",
    Action.CANCEL.value: "danger",
    **dict.fromkeys(
        (Action.LIMIT.value, Action.PRIORITY.value, Action.EXTEND.value, Action.CLONE.value), "info"
    ),
    **dict.fromkeys(
        (Action.RETURN.value, Action.UNDRAIN.value, Action.START.value, Action.RESUME.value),
        "success",
    ),
    Action.RETRY.value: "success",
    Action.OVERRULE.value: "warning",
}


class ReadOnly:
    """No door for changes: these rows are written by what runs."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def second(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


class MoveInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = Move
    fields = ("moment", "old", "new", "attempt", "reason")
    readonly_fields = fields
    extra = 0
    hide_title = True
    verbose_name_plural = "Every change of its status"

    @column("At")
    def moment(self, move: Move) -> str:
        return second(move.at)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("experiments.view_experiment")


def for_chosen(verb: str, description: str) -> Callable[..., None]:
    """An action of the list: a verb for the experiments that were chosen, task by task."""

    def act(_: ModelAdmin, request: HttpRequest, chosen: QuerySet[Experiment]) -> None:
        numbers = defaultdict(list)
        for experiment in chosen:
            numbers[experiment.task].append(experiment.number)
        for task, those in numbers.items():
            views.do(request, verb, task, {"experiment": sorted(those)})

    act.__name__ = f"{verb}_selected"
    decorate = admin.action(description=description, permissions=["steer"])
    return cast(Callable[..., None], decorate(act))


@admin.register(Experiment)
class ExperimentAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = (
        *("name", "state", "chosen", "score", "feasible", "error", "node", "gpu_names"),
        *("begun", "duration"),
    )
    list_filter = ("status", "error_kind", ("task", admin.RelatedOnlyFieldListFilter))
    search_fields = ("task__name", "parameters", "error_message")
    list_select_related = ("task",)
    ordering = ("-task_id", "-number")
    inlines = (MoveInline,)
    actions = [
        for_chosen("cancel", "Cancel: what runs is stopped"),
        for_chosen("retry", "Retry"),
    ]
    fieldsets = (
        (
            "Experiment",
            {"fields": ("page", "state", "attempt", "is_baseline")},
        ),
        (
            "Failure",
            {"fields": ("error_kind", "error_message", "where", "may_pass", "lines")},
        ),
        ("Configuration", {"fields": ("configuration", "remarks", "command_line")}),
        (
            "Result",
            {"fields": ("score", "feasible", "holds_at", "pruning", "load_levels", "results")},
        ),
        (
            "Where and when",
            {"fields": ("node", "gpu_names", "begun", "duration", "phases")},
        ),
        ("End of the engine's log", {"fields": ("log",)}),
    )

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return roles.may_steer(request.user)

    @column("Experiment", ordering="number")
    def name(self, experiment: Experiment) -> str:
        return f"{experiment.task} #{experiment.number}"

    @column("Task")
    def page(self, experiment: Experiment) -> SafeString:
        text = f"{experiment.task} #{experiment.number}"
        return format_html('<a class="at-link" href="{}">{}</a>', live_url(experiment.task), text)

    @column("Status", ordering="status", label=STATUS_COLOURS)
    def state(self, experiment: Experiment) -> str:
        return experiment.status

    @column("Parameters")
    def chosen(self, experiment: Experiment) -> str:
        pairs = [f"{name}={plain(value)}" for name, value in experiment.parameters.items()]
        return ", ".join(pairs) or ("the engine's defaults" if experiment.is_baseline else "–")

    @column("Score", ordering="objective_score")
    def score(self, experiment: Experiment) -> str:
        if experiment.objective_score is None:
            return "–"
        _, unit, factor = objective(experiment.task)
        each = ", ".join(f"{title}: {text}" for title, text in reached(experiment.task, experiment))
        text = f"{number(experiment.objective_score * factor)} {unit}".strip()
        return f"{text} ({each})" if each else text

    @column("Error", ordering="error_kind")
    def error(self, experiment: Experiment) -> str:
        if not experiment.error_kind:
            return "–"
        return f"{experiment.error_kind}: {experiment.error_message[:120]}"

    @column("Where")
    def where(self, experiment: Experiment) -> str:
        return experiment.error_where or "–"

    @column("Worth a retry", boolean=True)
    def may_pass(self, experiment: Experiment) -> bool:
        return experiment.error_may_pass

    @column("Of its log")
    def lines(self, experiment: Experiment) -> SafeString | str:
        return block(experiment.error_lines) if experiment.error_lines else "–"

    def get_fieldsets(self, request: HttpRequest, obj: Experiment | None = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        if obj is not None and not obj.error_kind:
            return [section for section in shown if section[0] != "Failure"]
        return shown

    @column("GPUs")
    def gpu_names(self, experiment: Experiment) -> str:
        return ", ".join(experiment.gpu_uuids) or "–"

    @column("Started", ordering="started_at")
    def begun(self, experiment: Experiment) -> str:
        return second(experiment.started_at)

    @column("Of that")
    def phases(self, experiment: Experiment) -> str:
        return pages.phases(experiment, timezone.now()) or "–"

    @column("Time")
    def duration(self, experiment: Experiment) -> str:
        return elapsed(experiment.started_at, experiment.finished_at, timezone.now()) or "–"

    @column("Parameters")
    def configuration(self, experiment: Experiment) -> SafeString:
        return block(write_yaml(experiment.parameters) if experiment.parameters else "defaults")

    @column("Remarks")
    def remarks(self, experiment: Experiment) -> str:
        again = f"measures #{experiment.repeat_of} again" if experiment.repeat_of else ""
        said = [again, experiment.measured_as, *effects.without_effect(experiment)]
        return "; ".join(filter(None, said)) or "–"

    @column("Command")
    def command_line(self, experiment: Experiment) -> SafeString:
        return block("\n".join(experiment.command) or "–")

    @column("Pruned")
    def pruning(self, experiment: Experiment) -> str:
        return experiment.pruned_why or "–"

    @column("Load levels")
    def load_levels(self, experiment: Experiment) -> SafeString | str:
        return SafeString(level_table(experiment)) or "–"

    @column("Measured")
    def results(self, experiment: Experiment) -> SafeString:
        return block(write_yaml(experiment.metrics) if experiment.metrics else "–")

    @column("Log")
    def log(self, experiment: Experiment) -> SafeString:
        return block(logs.end_of(experiment), "at-log")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("moment", "actor", "kind", "target", "detail")
    list_filter = ("action", "actor", "at")
    search_fields = ("actor", "action", "target", "detail")
    list_per_page = 50
    fields = ("moment", "actor", "action", "target", "detail")

    @column("When", ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return second(entry.at)

    @column("What", ordering="action", label=ACTION_COLOURS)
    def kind(self, entry: AuditEntry) -> str:
        return entry.action


# ── what other applications brought, in this site's look ───────────────────────────────────

admin.site.unregister([TaskResult, GroupResult, User, Group])


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("date_done", "task_name", "state", "short_result", "worker")
    list_filter = ("status", "worker", "date_done")
    search_fields = ("task_id", "task_args", "result")
    fields = (
        *("task_id", "task_name", "state", "worker", "task_args", "task_kwargs"),
        *("result", "traceback", "date_created", "date_started", "date_done"),
    )

    @column("Status", ordering="status", label={"SUCCESS": "success"})
    def state(self, job: TaskResult) -> str:
        return str(job.status)

    @column("Result")
    def short_result(self, job: TaskResult) -> str:
        return (job.result or "–")[:200]


@admin.register(User)
class OurUserAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class OurGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass
