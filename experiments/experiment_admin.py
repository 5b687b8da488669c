"""Experiments in the admin: for reading, comparing, cancelling and retrying."""

import shlex
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import ModelAdmin, TabularInline

from experiments import (
    comparison,
    effects,
    experiment_views,
    exports,
    gpu_charts,
    logs,
    masking,
    roles,
    task_table,
    views,
)
from experiments.documents import write_yaml
from experiments.experiment_list import ExperimentList, GpuFilter
from experiments.figures import elapsed, number, objective, plain, reached
from experiments.level_table import level_table
from experiments.model_pages import ReadOnly, RowsPage, block, column, copied, pill, unbroken
from experiments.models import Experiment, Move
from experiments.moments import moment
from experiments.states import FailureKind
from experiments.task_admin import live_url
from experiments.tones import tone

EXPLAINED = {
    FailureKind.BAD_FLAG: "The engine refused its configuration: mend the flag, or leave it out.",
    FailureKind.OUT_OF_MEMORY: "On the GPU or the host: smaller batches, a shorter context, less "
    "of the GPU's memory for the engine, or more GPUs.",
    FailureKind.START_TIMEOUT: "It was not healthy in time: the model loads slowly, or it hangs.",
    FailureKind.ENGINE_CRASHED: "It ended, or could not be started: its last words are below.",
    FailureKind.BENCHMARK_ERRORS: "The engine answered, and nothing usable could be measured.",
    FailureKind.TIMEOUT: "It was healthy, and not done within its time.",
    FailureKind.LOST: "Its worker died, on each of its attempts: it may be what kills them.",
    FailureKind.CANCELLED: "A person cancelled it.",
}


class MoveInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = Move
    fields = ("moment", "old", "new", "attempt", "reason")
    readonly_fields = fields
    extra = 0
    hide_title = True
    verbose_name_plural = "Every change of its status"

    @column("At")
    def moment(self, move: Move) -> SafeString:
        return moment(move.at)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("experiments.view_experiment")


def page_url(experiment: Experiment) -> str:
    return reverse(experiment_views.PAGE, args=[experiment.pk])


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
class ExperimentAdmin(ReadOnly, RowsPage):
    list_title = "Experiments"
    nothing = "No experiment yet"
    what_next = mark_safe(
        "A tuning task makes them when it is started: its Start button, or "
        "<code>manage.py start ID</code>."
    )
    list_display = (
        *("name", "state", "chosen", "score", "feasible", "error", "placed"),
        "when",
    )
    list_filter = (
        *("status", "feasible", "error_kind", ("node", admin.AllValuesFieldListFilter)),
        *(GpuFilter, ("task", admin.RelatedOnlyFieldListFilter)),
    )
    search_fields = ("task__name", "parameters", "error_message")
    search_help_text = "A word of the task, a parameter, an error"
    list_select_related = ("task",)
    list_per_page = 50
    ordering = ("-task_id", "-number")
    inlines = (MoveInline,)
    actions = [
        for_chosen("cancel", "Cancel: what runs is stopped"),
        for_chosen("retry", "Retry"),
        "compare_selected",
        "csv_selected",
    ]
    change_form_outer_before_template = "experiments/experiment/buttons.html"
    fieldsets = (
        (
            "Experiment",
            {"fields": ("page", "state", "attempt", "baseline")},
        ),
        (
            "Failure",
            {"fields": ("error_kind", "meaning", "error_message", "where", "may_pass", "lines")},
        ),
        (
            "Configuration",
            {"fields": ("differences", "remarks", "command_line", "variables")},
        ),
        (
            "Result",
            {"fields": ("score", "feasible", "holds_at", "pruning", "load_levels", "results")},
        ),
        (
            "Where and when",
            {"fields": ("node", "gpu_names", "begun", "duration", "phases")},
        ),
        ("GPUs over its time", {"fields": ("readings",)}),
        ("End of the engine's log", {"fields": ("log",)}),
    )

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ExperimentList]:
        return ExperimentList

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return roles.may_steer(request.user)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_steer": roles.may_steer(request.user)}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        experiment = options.get("obj")
        if experiment is not None:
            title = f"{experiment.task} #{experiment.number}"
            context.update(title=title, subtitle=None)
        return super().render_change_form(request, context, **options)

    def get_urls(self) -> list[URLPattern]:
        name, of = "experiments_experiment", "<int:experiment_id>"
        return [
            path("compare/", experiment_views.compare, name=f"{name}_compare"),
            path(f"{of}/log/", experiment_views.log, name=f"{name}_log"),
            path(f"{of}/gpus/", experiment_views.gpus, name=f"{name}_gpus"),
            path(f"{of}/log/download/", experiment_views.download, name=f"{name}_download"),
            path(f"{of}/do/<slug:verb>/", experiment_views.act, name=f"{name}_act"),
            *super().get_urls(),
        ]

    @admin.action(description="Compare two to six side by side")
    def compare_selected(self, request: HttpRequest, chosen: QuerySet[Experiment]) -> HttpResponse:
        """That page says when they are too few, or too many."""
        keys = chosen.order_by("pk").values_list("pk", flat=True)[: comparison.MOST + 1]
        ids = ",".join(map(str, keys))
        return redirect(f"{reverse('admin:experiments_experiment_compare')}?ids={ids}")

    @admin.action(description="Export as CSV")
    def csv_selected(self, request: HttpRequest, chosen: QuerySet[Experiment]) -> HttpResponse:
        rows = list(chosen.select_related("task").order_by("task_id", "number"))
        return HttpResponse(
            exports.csv_of(rows),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="experiments.csv"'},
        )

    @column("Experiment", ordering="number")
    def name(self, experiment: Experiment) -> str:
        return f"{experiment.task} #{experiment.number}"

    @column("Task")
    def page(self, experiment: Experiment) -> SafeString:
        text = f"{experiment.task} #{experiment.number}"
        return format_html('<a class="at-link" href="{}">{}</a>', live_url(experiment.task), text)

    @column("Status", ordering="status")
    def state(self, experiment: Experiment) -> SafeString:
        word = pill(experiment.status, tone(experiment))
        remark = '{}<span class="at-remark">pruned</span>'
        return format_html(remark, word) if experiment.pruned else word

    @column("Parameters")
    def chosen(self, experiment: Experiment) -> SafeString | str:
        shown = masking.data(experiment.parameters)
        pairs = [(f"{name}={plain(value)}",) * 2 for name, value in shown.items()]
        chips = format_html_join("", '<code class="at-chip" title="{}">{}</code>', pairs)
        return chips or ("the engine's defaults" if experiment.is_baseline else "–")

    @column("Score", ordering="objective_score")
    def score(self, experiment: Experiment) -> SafeString | str:
        if experiment.objective_score is None:
            return "–"
        _, unit, factor = objective(experiment.task)
        each = ", ".join(
            f"{title}: {text}"
            for title, text in reached(experiment.task, experiment.objective_values)
        )
        about = "≈ " if experiment.pruned else ""
        text = f"{about}{number(experiment.objective_score * factor)} {unit}".strip()
        return format_html("{}{}", unbroken(text), f" ({each})" if each else "")

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

    @column("Where", ordering="node")
    def placed(self, experiment: Experiment) -> SafeString | str:
        if not experiment.node:
            return "–"
        note = format_html('<span class="at-remark">{}</span>', experiment.node)
        return note + (self.gpu_names(experiment) if experiment.gpu_uuids else "")

    @column("Baseline")
    def baseline(self, experiment: Experiment) -> str:
        return "yes: the engine's defaults" if experiment.is_baseline else "no"

    @column("GPUs")
    def gpu_names(self, experiment: Experiment) -> SafeString | str:
        """Short as on the task's page; the whole name when pointed at."""
        pairs = [(uuid, uuid[-8:]) for uuid in experiment.gpu_uuids]
        chips = '<code class="at-chip at-unbroken" title="{}">{}</code>'
        return format_html_join(" ", chips, pairs) or "–"

    @column("Started", ordering="started_at")
    def begun(self, experiment: Experiment) -> SafeString:
        return moment(experiment.started_at)

    @column("Started, and time", ordering="started_at")
    def when(self, experiment: Experiment) -> SafeString:
        took = self.duration(experiment)
        return format_html('{}<span class="at-remark">{}</span>', self.begun(experiment), took)

    @column("Of that")
    def phases(self, experiment: Experiment) -> str:
        return task_table.phases(experiment, timezone.now()) or "–"

    @column("Time")
    def duration(self, experiment: Experiment) -> SafeString:
        took = elapsed(experiment.started_at, experiment.finished_at, timezone.now())
        return unbroken(took or "–")

    @column("Parameters")
    def differences(self, experiment: Experiment) -> SafeString | str:
        shown = comparison.relatives(experiment)
        rows = comparison.parameters([one.experiment for one in shown])
        if not rows:
            return "the engine's defaults"
        titles = [one.title for one in shown]
        context = {"what": "Parameter", "titles": titles, "rows": rows}
        return render_to_string("experiments/experiment/rows.html", context)

    @column("Environment")
    def variables(self, experiment: Experiment) -> SafeString:
        own = masking.environment(comparison.own_environment(experiment), logs.secrets(experiment))
        return block("\n".join(f"{name}={value}" for name, value in own.items()) or "–")

    @column("Which means")
    def meaning(self, experiment: Experiment) -> str:
        return EXPLAINED.get(FailureKind(experiment.error_kind), "–")

    @column("Remarks")
    def remarks(self, experiment: Experiment) -> str:
        again = f"measures #{experiment.repeat_of} again" if experiment.repeat_of else ""
        said = [again, experiment.measured_as, *effects.without_effect(experiment)]
        return "; ".join(filter(None, said)) or "–"

    @column("Command")
    def command_line(self, experiment: Experiment) -> SafeString:
        shown = masking.command(experiment.command, logs.secrets(experiment))
        return copied("command", shlex.join(shown)) if shown else block("–")

    @column("Pruned")
    def pruning(self, experiment: Experiment) -> str:
        return experiment.pruned_why or "–"

    @column("Load levels")
    def load_levels(self, experiment: Experiment) -> SafeString | str:
        return SafeString(level_table(experiment)) or "–"

    @column("Measured")
    def results(self, experiment: Experiment) -> SafeString:
        return block(write_yaml(experiment.metrics) if experiment.metrics else "–")

    @column("Read once a second")
    def readings(self, experiment: Experiment) -> SafeString | str:
        context = gpu_charts.on_page(experiment)
        return render_to_string("experiments/experiment/gpus.html", context)

    @column("Log")
    def log(self, experiment: Experiment) -> SafeString | str:
        path = logs.path_of(experiment)
        may_download = path is not None and path.is_file()
        context = {**experiment_views.log_now(experiment), "may_download": may_download}
        return render_to_string("experiments/experiment/log_card.html", context)
