"""The live page of a task, and its buttons. The admin routes to them."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from experiments import jobs, pages, planning, steering
from experiments.errors import BadInput
from experiments.models import TuningTask
from gpupool import PoolUnreachable

LIVE = "admin:experiments_tuningtask_live"


@require_GET
def live_page(request: HttpRequest, task_id: int) -> HttpResponse:
    """The page that shows a task and keeps itself up to date."""
    if not pages.may_view(request.user):
        raise PermissionDenied
    task = get_object_or_404(TuningTask, pk=task_id)
    context = {
        **admin.site.each_context(request),
        **pages.live(task),
        "may_change": pages.may_change(request.user),
        "parallel_limit": planning.parallel_limit(planning.pool_now()),
        "title": task.name,
        "opts": TuningTask._meta,
        "original": task,
        "is_fullwidth": "1",
    }
    return TemplateResponse(request, "experiments/live.html", context)


@require_POST
def act(request: HttpRequest, task_id: int, verb: str) -> HttpResponse:
    """One of the buttons and fields of a task."""
    if not pages.may_change(request.user):
        raise PermissionDenied
    if verb not in steering.VERBS:
        raise Http404
    task = get_object_or_404(TuningTask, pk=task_id)
    do(request, verb, task, request.POST.dict() | {"user": request.user})
    return redirect(LIVE, task_id)


def do(request: HttpRequest, verb: str, task: TuningTask, said: steering.Said) -> None:
    """Do it and say so; what is not possible is a message too."""
    try:
        done = steering.act(verb, request.user.get_username(), task, said)
    except BadInput as problem:
        messages.warning(request, f"Nothing is done: {problem}.")
    except PoolUnreachable:
        messages.warning(request, "Nothing is done: Redis does not answer.")
    else:
        if jobs.announce(task.pk):
            messages.success(request, f"{done}.")
        else:
            messages.warning(
                request, f"{done}, but Redis does not answer: it goes on when Redis is back."
            )
