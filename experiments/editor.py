"""The editor of a task: what it would do and what is wrong, said while one types; and a whole
task file, pasted."""

from statistics import median
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods, require_POST

from experiments import audit, masking, planning, presets, roles, taskfile
from experiments.documents import write_yaml
from experiments.errors import BadInput
from experiments.files import attachment, uploaded
from experiments.forms import COMMAND_REFUSED, NEW_TASK, TaskForm
from experiments.guard import is_key, only_for
from experiments.models import Experiment, Preset, TuningTask
from experiments.states import Action, Status

LATEST = 50  # experiments that say how long one takes
TEMPLATE = "experiments/task_summary.html"
CHANGELIST = "admin:experiments_tuningtask_changelist"


@only_for(roles.may_edit, CHANGELIST)
@require_POST
def summary(request: HttpRequest, task_id: int | None = None) -> HttpResponse:
    """What the form as it is would become; nothing is saved."""
    form = typed(request, task_id)
    if not form.is_valid():
        return render(request, TEMPLATE, {"problems": problems(form)})
    plan = planning.plan(form.instance.file)
    return render(request, TEMPLATE, {"plan": plan, "hours": hours(form.instance, plan)})


@only_for(roles.may_edit, CHANGELIST)
@require_POST
def download(request: HttpRequest, task_id: int | None = None) -> HttpResponse:
    """The task file of the form as it is, without its secrets; nothing is saved."""
    form = typed(request, task_id)
    if not form.is_valid():
        title = "There is no task file yet"
        context = {**admin.site.each_context(request), "title": title, "problems": problems(form)}
        return TemplateResponse(request, "experiments/task_problems.html", context, status=400)
    task = form.instance
    known = masking.known_of(task.specification)
    return attachment(write_yaml(masking.data(task.specification, known)), task.name)


def typed(request: HttpRequest, task_id: int | None) -> TaskForm:
    """The form as it is in the browser now."""
    task = TuningTask() if task_id is None else get_object_or_404(TuningTask, pk=task_id)
    kind = type("Form", (TaskForm,), {"begins_with": begins_with(request)})
    form: TaskForm = kind(request.POST, instance=task)
    form.may_write_commands = roles.may_write_commands(request.user)
    return form


@only_for(roles.may_edit, CHANGELIST)
@require_http_methods(["GET", "POST"])
def paste(request: HttpRequest) -> HttpResponse:
    """A new task from the text of a task file; what cannot be used is said, and the text kept."""
    text, problem = request.POST.get("text", ""), ""
    if request.method == "POST":
        try:
            text = uploaded(request) or text
            task = create(text, request)
        except BadInput as error:
            problem = str(error)
        else:
            messages.success(request, f"{task} is saved, not started.")
            return redirect("admin:experiments_tuningtask_change", task.pk)
    context = {
        **admin.site.each_context(request),
        **{"title": "New task from a file", "opts": TuningTask._meta},
        **{"text": text, "problem": problem},
    }
    return TemplateResponse(request, "experiments/task_paste.html", context)


def begins_with(request: HttpRequest) -> dict[str, Any]:
    """What a new task has filled in: the fields of the preset that the address names."""
    key = request.GET.get("preset", "")
    preset = Preset.objects.filter(pk=key).first() if is_key(key) else None
    may = preset is not None and roles.may_see_presets(request.user)
    return presets.filled(NEW_TASK, preset.parts) if preset and may else NEW_TASK


def create(text: str, request: HttpRequest) -> TuningTask:
    """Save it. Raises BadInput, also for a command that this person may not write."""
    file = taskfile.load(text)
    field = roles.command_in(file.to_dict())
    if field and not roles.may_write_commands(request.user):
        raise BadInput(field, COMMAND_REFUSED)
    with transaction.atomic():
        task = planning.create(file, request.user)
        audit.record(request.user.get_username(), Action.ADD, task)
    return task


def problems(form: TaskForm) -> list[tuple[str, str]]:
    """Each field that is wrong, by its label, and its first problem."""
    return [
        (str(form[name].label) if name in form.fields else "", str(errors[0]))
        for name, errors in form.errors.items()
    ]


def hours(task: TuningTask, plan: planning.Plan) -> float | None:
    """How long it may take at most, from the latest experiments of the same engine and model.

    None when nothing of them was measured yet, or a job, which may be anything.
    """
    if task.file.base_runtime == "job":
        return None
    alike = Experiment.objects.filter(
        task__engine=task.engine, task__model=task.model, status=Status.SUCCESS
    )
    latest = alike.order_by("-pk").values_list("started_at", "finished_at")[:LATEST]
    took = [(end - start).total_seconds() for start, end in latest if start and end]
    if not took:
        return None
    at_once = plan.parallel
    if plan.gpus_in_pool:
        at_once = max(1, min(at_once, plan.gpus_in_pool // min(plan.gpus_per_experiment)))
    return median(took) / 3600 * plan.experiments / at_once
