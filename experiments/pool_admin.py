"""The page of the GPUs, and its buttons: each a POST, each one audited operation."""

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from experiments import operations, pool_pages, roles
from experiments.errors import BadInput
from experiments.guard import by_htmx, only_for
from gpupool import PoolUnreachable

PAGE = "gpus"


@only_for(roles.may_view_pool, PAGE)
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The page, which keeps itself up to date."""
    context = {
        **admin.site.each_context(request),
        **pool_pages.now(request.user),
        "title": "GPUs",
        "is_fullwidth": "1",
    }
    return TemplateResponse(request, "experiments/pool.html", context)


@only_for(roles.may_view_pool, PAGE)
@require_GET
def now(request: HttpRequest) -> HttpResponse:
    """The parts of the page that change."""
    return render(request, "experiments/pool/now.html", pool_pages.now(request.user))


@only_for(roles.may_operate_pool, PAGE)
@require_GET
def ask(request: HttpRequest, verb: str) -> HttpResponse:
    """What an action wants to know before it is done, or whether it is really wanted."""
    if verb not in pool_pages.QUESTIONS:
        raise Http404
    try:
        question = pool_pages.question(verb, request.GET.get("of", ""), request.user)
    except (BadInput, PoolUnreachable) as problem:
        question = {"problem": in_words(problem)}
    return render(request, "experiments/pool/ask.html", question)


@only_for(roles.may_operate_pool, PAGE)
@require_POST
def act(request: HttpRequest, verb: str) -> HttpResponse:
    """One of the buttons. What is not possible is a message too."""
    if verb not in operations.VERBS:
        raise Http404
    said = {name: request.POST.get(name, "") for name in ("gpu", "node", "lease", "why", "for")}
    try:
        done = operations.VERBS[verb](request.user.get_username(), said)
    except (BadInput, PoolUnreachable) as problem:
        messages.warning(request, in_words(problem))
    else:
        messages.success(request, f"{done}.")
    if not by_htmx(request):
        return redirect(PAGE)
    context = {**pool_pages.now(request.user), "is_answer": True}
    return render(request, "experiments/pool/now.html", context)


def in_words(problem: Exception) -> str:
    if isinstance(problem, PoolUnreachable):
        return "Nothing is done: Redis does not answer."
    return f"Nothing is done: {problem}."
