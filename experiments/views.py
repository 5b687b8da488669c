"""The live page of a task, and its buttons: each a POST, each one audited action."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from experiments import exports, jobs, picture, planning, roles, steering
from experiments.actions import Done
from experiments.errors import BadInput
from experiments.files import attachment
from experiments.guard import by_htmx, is_key, only_for
from experiments.models import TuningTask
from experiments.sections import HIGHEST_PRIORITY
from experiments.states import TaskStatus
from experiments.task_table import View
from gpupool import PoolUnreachable

LIVE = "admin:experiments_tuningtask_live"
CHANGE = "admin:experiments_tuningtask_change"
QUESTIONS = ("cancel", "change", "clone", "extend")  # The actions that ask before they are done


@only_for(roles.may_view, LIVE)
@require_GET
def live_page(request: HttpRequest, task_id: int) -> HttpResponse:
    """The page that shows a task and keeps itself up to date."""
    task = get_object_or_404(TuningTask, pk=task_id)
    view = View.of(request.GET.dict())
    context = {
        **admin.site.each_context(request),
        "drawing": picture.draw(task_id, roles.rights(request.user), view).fragments,
        "view": view,
        "may_change": roles.may_steer(request.user),
        "may_export": roles.may_export(request.user),
        "task": task,
        "title": task.name,
        "opts": TuningTask._meta,
        "original": task,
        "is_fullwidth": "1",
    }
    return TemplateResponse(request, "experiments/live.html", context)


@only_for(roles.may_export, LIVE)
@require_GET
def export(request: HttpRequest, task_id: int) -> HttpResponse:
    """Its report, all that is known of it, and a table of its experiments, in one archive."""
    task = get_object_or_404(TuningTask, pk=task_id)
    return attachment(exports.archive([task]), task.name, "zip")


@only_for(roles.may_steer, LIVE)
@require_GET
def ask(request: HttpRequest, task_id: int, verb: str) -> HttpResponse:
    """What an action wants to know before it is done, or whether it is really wanted."""
    if verb not in QUESTIONS:
        raise Http404
    task = get_object_or_404(TuningTask, pk=task_id)
    refuse_unless_offered(request, verb, task)
    number = request.GET.get("experiment", "")
    question = {
        "task": task,
        "verb": verb,
        "experiment": task.experiments.filter(number=number).first() if is_key(number) else None,
        "parallel_limit": planning.parallel_limit(planning.pool_now()),
        "priority_limit": HIGHEST_PRIORITY,
        "new_name": free_name(task.name),
    }
    return render(request, "experiments/live/ask.html", question)


def refuse_unless_offered(request: HttpRequest, verb: str, task: TuningTask) -> None:
    """Who may steer a task need not be who may make a new one of it."""
    if verb == "clone" and not roles.rights(request.user).may_write(task.specification):
        raise PermissionDenied


def free_name(name: str) -> str:
    """A name for a clone that no task has yet."""
    stem = name[:190]
    taken = set(TuningTask.objects.filter(name__startswith=stem).values_list("name", flat=True))
    names = (f"{stem} ({number})" for number in range(2, len(taken) + 3))
    return next(name for name in names if name not in taken)


@only_for(roles.may_steer, LIVE)
@require_POST
def act(request: HttpRequest, task_id: int, verb: str) -> HttpResponse:
    """One of the buttons and fields of a task."""
    if verb not in steering.VERBS:
        raise Http404
    task = get_object_or_404(TuningTask, pk=task_id)
    refuse_unless_offered(request, verb, task)
    done = do(request, verb, task, request.POST.dict() | {"user": request.user})
    if verb == "clone" and done is not None and done.task.status == TaskStatus.PENDING:
        return go_to(request, reverse(CHANGE, args=[done.task.pk]))
    if not by_htmx(request):
        return redirect(LIVE, task_id)
    # The parts of the page too: its socket may be away at this moment
    drawing = picture.draw(task_id, roles.rights(request.user), view_of(request))
    context = {"fragments": drawing.fragments.values()}
    return render(request, "experiments/live/answer.html", context)


def view_of(request: HttpRequest) -> View:
    """How the page is looked at from which a button was pressed."""
    address = urlsplit(request.headers.get("HX-Current-URL", ""))
    return View.of(dict(parse_qsl(address.query)))


def go_to(request: HttpRequest, address: str) -> HttpResponse:
    return HttpResponse(headers={"HX-Redirect": address}) if by_htmx(request) else redirect(address)


def do(request: HttpRequest, verb: str, task: TuningTask, said: dict[str, Any]) -> Done | None:
    """Do it and say so; what is not possible is a message too."""
    try:
        done = steering.act(verb, request.user.get_username(), task, said)
    except BadInput as problem:
        messages.warning(request, f"Nothing is done: {problem}.")
    except PoolUnreachable:
        messages.warning(request, "Nothing is done: Redis does not answer.")
    else:
        if jobs.announce(done.task.pk):
            messages.success(request, f"{done.says}.")
        else:
            later = "but Redis does not answer: it goes on when Redis is back"
            messages.warning(request, f"{done.says}, {later}.")
        return done
    return None
