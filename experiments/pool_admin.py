"""The page of the GPUs, and its buttons: each a POST, each one audited operation."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from experiments import operations, pool_pages
from experiments.errors import BadInput
from gpupool import PoolUnreachable

View = Callable[..., HttpResponse]


def only_for(may: Callable[[Any], bool]) -> Callable[[View], View]:
    """Strangers log in first; who may not is refused."""

    def guard(view: View) -> View:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                if by_htmx(request):  # Else the form to log in would land within the page
                    return HttpResponse(status=401, headers={"HX-Refresh": "true"})
                return redirect_to_login(reverse("gpus"))
            if not may(request.user):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return login_not_required(guarded)

    return guard


def by_htmx(request: HttpRequest) -> bool:
    """Whether the page itself asks, and puts the answer into its parts."""
    return request.headers.get("HX-Request") == "true"


@only_for(pool_pages.may_view)
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


@only_for(pool_pages.may_view)
@require_GET
def now(request: HttpRequest) -> HttpResponse:
    """The parts of the page that change."""
    return render(request, "experiments/pool/now.html", pool_pages.now(request.user))


@only_for(pool_pages.may_operate)
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


@only_for(pool_pages.may_operate)
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
        return redirect("gpus")
    context = {**pool_pages.now(request.user), "is_answer": True}
    return render(request, "experiments/pool/now.html", context)


def in_words(problem: Exception) -> str:
    if isinstance(problem, PoolUnreachable):
        return "Nothing is done: Redis does not answer."
    return f"Nothing is done: {problem}."
