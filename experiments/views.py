"""The live page of a task, and its buttons. The admin routes to them."""

import logging

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from experiments import dispatch, jobs, operations, pages, planning
from experiments.errors import BadInput, IllegalMove, MovedElsewhere
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
        "parallel_limit": planning.parallel_limit(planning.pool_now()),
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


@require_POST
def change_parallel(request: HttpRequest, task_id: int) -> HttpResponse:
    """The field Max parallel experiments, of a task that runs."""
    if not pages.may_change(request.user):
        raise PermissionDenied
    task = get_object_or_404(TuningTask, pk=task_id)
    set_max_parallel(request, task, request.POST.get("max_parallel_experiments", ""))
    return redirect(LIVE, task_id)


def start(request: HttpRequest, task: TuningTask) -> None:
    """Start a task and say so; what is not possible is a message too."""
    try:
        task.start()
    except (IllegalMove, MovedElsewhere) as error:
        messages.warning(request, f"Not started: {error}.")
        return
    if ring(task):
        messages.success(request, f"{task.name} is started.")
    else:
        messages.warning(
            request,
            f"{task.name} is started, but Redis does not answer: it begins when Redis is back.",
        )


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


def set_max_parallel(request: HttpRequest, task: TuningTask, text: str) -> None:
    """Change how many experiments run at once and say so; what is not possible is a message too."""
    try:
        most = operations.whole_number("Max parallel experiments", text)
        operations.set_max_parallel(request.user.get_username(), task, most)
    except BadInput as problem:
        messages.error(request, f"Not changed: {problem}.")
    except PoolUnreachable:
        messages.error(request, "Not changed: Redis does not answer.")
    else:
        ring(task)
        messages.success(request, f"{task.name} runs at most {most} experiments at once.")


def ring(task: TuningTask) -> bool:
    """Have the task looked at now; whether that could be said."""
    try:
        jobs.advance_task.delay(task.pk)
    except Exception as error:  # Whatever the broker raises, the row is already committed.
        log.warning("Task %s is found by itself, it could not be announced: %s", task.pk, error)
        return False
    return True
