"""The live page of a task, and its two buttons. The admin routes to them."""

import logging

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from experiments import dispatch, jobs, pages
from experiments.errors import IllegalMove, MovedElsewhere
from experiments.models import TuningTask
from gpupool import PoolUnreachable

log = logging.getLogger(__name__)

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
        "title": task.name,
        "opts": TuningTask._meta,
        "original": task,
        "is_fullwidth": "1",
    }
    return TemplateResponse(request, "experiments/live.html", context)


@require_POST
def start_task(request: HttpRequest, task_id: int) -> HttpResponse:
    """The button Start."""
    if not pages.may_change(request.user):
        raise PermissionDenied
    start(request, get_object_or_404(TuningTask, pk=task_id))
    return redirect(LIVE, task_id)


@require_POST
def cancel_task(request: HttpRequest, task_id: int) -> HttpResponse:
    """The button Cancel."""
    if not pages.may_change(request.user):
        raise PermissionDenied
    cancel(request, get_object_or_404(TuningTask, pk=task_id))
    return redirect(LIVE, task_id)


def start(request: HttpRequest, task: TuningTask) -> None:
    """Start a task and say so; what is not possible is a message too."""
    try:
        task.start()
    except (IllegalMove, MovedElsewhere) as error:
        messages.warning(request, f"Not started: {error}.")
        return
    try:
        jobs.advance_task.delay(task.pk)
    except Exception as error:  # Whatever the broker raises, the row is already committed.
        log.warning("The start of task %s was not announced: %s", task.pk, error)
        messages.warning(
            request,
            f"{task.name} is started, but Redis does not answer: it begins when Redis is back.",
        )
    else:
        messages.success(request, f"{task.name} is started.")


def cancel(request: HttpRequest, task: TuningTask) -> None:
    """Cancel a task and say so; what is not possible is a message too."""
    try:
        dispatch.cancel(task)
    except (IllegalMove, MovedElsewhere) as error:
        messages.warning(request, f"Not cancelled: {error}.")
    except PoolUnreachable as error:
        log.warning("Task %s is cancelled, its leases end by themselves: %s", task.pk, error)
        messages.warning(
            request,
            f"{task.name} is cancelled, but Redis does not answer: its GPUs are free when "
            "their leases end.",
        )
    else:
        messages.success(request, f"{task.name} is cancelled.")
