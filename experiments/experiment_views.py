"""The pages of experiments beside the admin's own: the log, the buttons, and the comparison."""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from experiments import ansi, comparison, gpu_charts, logs, roles, views
from experiments.guard import is_key, only_for
from experiments.models import Experiment

PAGE = "admin:experiments_experiment_change"
LIST = "admin:experiments_experiment_changelist"
VERBS = ("cancel", "retry")


def log_now(experiment: Experiment) -> dict[str, Any]:
    """The end of the log as HTML, what it is of, and whether more may come."""
    return {
        "experiment": experiment,
        "log": ansi.html(logs.end_of(experiment)),
        "seen": logs.mark(experiment),
        "is_followed": not experiment.has_ended,
    }


@only_for(roles.may_view_experiments, PAGE)
@require_GET
def log(request: HttpRequest, experiment_id: int) -> HttpResponse:
    """The log's part of the page; nothing where the page has it as it is."""
    experiment = get_object_or_404(Experiment.objects.select_related("task"), pk=experiment_id)
    now, seen = logs.mark(experiment), request.GET.get("seen", "")
    if seen == now and not experiment.has_ended:
        return HttpResponse(status=204)
    if seen and seen.rpartition("-")[0] != now.rpartition("-")[0]:
        # It has moved: all of the page is another
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return render(request, "experiments/experiment/log.html", log_now(experiment))


@only_for(roles.may_view_experiments, PAGE)
@require_GET
def gpus(request: HttpRequest, experiment_id: int) -> HttpResponse:
    """The readings' part of the page; nothing where the page has it as it is."""
    experiment = get_object_or_404(Experiment, pk=experiment_id)
    if request.GET.get("seen", "") == gpu_charts.mark(experiment):
        return HttpResponse(status=204)
    return render(request, "experiments/experiment/gpus.html", gpu_charts.on_page(experiment))


@only_for(roles.may_view_experiments, PAGE)
@require_GET
def download(request: HttpRequest, experiment_id: int) -> HttpResponseBase:
    """The whole log, but for secrets as the engine wrote it, as plain text and a file."""
    experiment = get_object_or_404(Experiment.objects.select_related("task"), pk=experiment_id)
    path = logs.path_of(experiment)
    if path is None or not path.is_file():
        raise Http404("the log is not here")
    name = f"task-{experiment.task_id}-experiment-{experiment.number}-{experiment.attempt}.log"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingHttpResponse(
        logs.whole(experiment, path), content_type="text/plain; charset=utf-8", headers=headers
    )


@only_for(roles.may_steer, PAGE)
@require_POST
def act(request: HttpRequest, experiment_id: int, verb: str) -> HttpResponse:
    """Cancel or retry one experiment, and stay on its page."""
    if verb not in VERBS:
        raise Http404
    experiment = get_object_or_404(Experiment.objects.select_related("task"), pk=experiment_id)
    views.do(request, verb, experiment.task, {"experiment": str(experiment.number)})
    return redirect(PAGE, experiment_id)


@only_for(roles.may_view_experiments, LIST)
@require_GET
def compare(request: HttpRequest) -> HttpResponse:
    """Two to six experiments side by side: `?ids=3,7`."""
    words = request.GET.get("ids", "").split(",")
    wanted = [int(word) for word in words if is_key(word)]
    chosen = dict.fromkeys(wanted[: comparison.MOST + 1])
    found = Experiment.objects.select_related("task").filter(pk__in=chosen)
    experiments = sorted(found, key=lambda one: list(chosen).index(one.pk))
    if not comparison.FEWEST <= len(experiments) <= comparison.MOST:
        messages.warning(request, "Choose two to six experiments to compare.")
        return redirect(LIST)
    context = {
        **admin.site.each_context(request),
        "title": "Compare experiments",
        "is_fullwidth": "1",
        "experiments": experiments,
        "parameters": comparison.parameters(experiments),
        "metrics": comparison.metrics(experiments),
    }
    return TemplateResponse(request, "experiments/experiment/compare.html", context)
