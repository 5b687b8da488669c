"""The editor of a task: what it would do and what is wrong, said while one types; and a whole
task file, pasted."""

from collections.abc import Sequence
from copy import copy
from functools import reduce
from statistics import median
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods, require_POST

from experiments import audit, masking, planning, preset_fill, presets, roles, taskfile
from experiments.documents import write_yaml
from experiments.errors import BadInput
from experiments.files import attachment, uploaded
from experiments.form_places import PLACES
from experiments.forms import COMMAND_REFUSED, NEW_TASK, TaskForm, said_at
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
        return told(request, "There is no task file yet", problems(form))
    task = form.instance
    known = masking.known_of(task.specification)
    return attachment(write_yaml(masking.data(task.specification, known)), task.name)


def told(request: HttpRequest, title: str, found: list[tuple[str, str]]) -> HttpResponse:
    """A page, in a tab of its own, of what is wrong with the form."""
    context = {**admin.site.each_context(request), "title": title, "problems": found}
    return TemplateResponse(request, "experiments/task_problems.html", context, status=400)


def parts_typed(request: HttpRequest) -> tuple[TaskForm, dict[str, Any], list[tuple[str, str]]]:
    """The form as it is, what a preset of it would have, and what is wrong with that: a preset may
    do without what a task needs, such as its name and its model."""
    key = request.POST.get("_of_task", "")
    form = typed(request, int(key) if is_key(key) else None)
    form.full_clean()
    parts = {name: value for name, value in form.written.items() if value != {}}
    parts.pop("task_name", None)
    wrong = [one for one in PLACES if one in form.unread - {"name"}]
    found = [(str(form[one].label), str(form.errors[one][0])) for one in wrong]
    if not found:
        try:
            presets.check(parts)
        except BadInput as problem:
            name, message = said_at(problem)
            found = [(str(form[name].label) if name else "", message)]
    return form, presets.parts_of(parts), found


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
    """What a new task has filled in: the fields of the presets that it has begun with."""
    parts = (preset.parts for preset in begun_with(request))
    return reduce(presets.filled, parts, NEW_TASK)


def begun_with(request: HttpRequest) -> list[Preset]:
    """Those that the form names, or the address that it is at, in their order."""
    keys = request.POST.getlist("preset") or request.GET.getlist("preset")
    chosen = [chosen_preset(request, key) for key in dict.fromkeys(keys)]
    return [preset for preset in chosen if preset is not None]


def chosen_preset(request: HttpRequest, key: str) -> Preset | None:
    may = is_key(key) and roles.may_see_presets(request.user)
    return Preset.objects.filter(pk=key).first() if may else None


def filled(request: HttpRequest) -> HttpRequest:
    """Somebody asks for the page of a new task, in which the form is as it stands here, with one
    more preset's fields in it."""
    form, keys = typed(request, None), request.POST.getlist("preset")
    preset = chosen_preset(request, request.POST.get("next_preset", ""))
    if preset is None:
        page = as_opened(request, keys)
        page.typed = {name: form[name].value() for name in PLACES}
    else:
        key = str(preset.pk)
        page = as_opened(request, [*(one for one in keys if one != key), key])
        page.filled = preset_fill.fill(form, preset)
        page.typed = page.filled.values
    return cast(HttpRequest, page)


def as_opened(request: HttpRequest, keys: Sequence[str] = ()) -> Any:
    """The same person opens the page to which a form was sent, with these presets."""
    page: Any = copy(request)
    page.method, page.POST = "GET", QueryDict()
    page.GET = QueryDict(urlencode({"preset": list(keys)}, doseq=True))
    return page


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
    """Each field that is wrong, in the form's order: its label, and its first problem."""
    wrong = [name for name in PLACES if name in form.errors]
    found = [(str(form[name].label), str(form.errors[name][0])) for name in wrong]
    return [*found, *(("", str(problem)) for problem in form.non_field_errors())]


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
