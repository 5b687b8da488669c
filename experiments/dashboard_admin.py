"""The start page of the admin, and what it asks for every two seconds."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from experiments import dashboard, roles
from experiments.guard import only_for


def may_open(request: HttpRequest) -> bool:
    """Whether its user has a dashboard."""
    return roles.may_view(request.user)


def on_start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the start page; who may not view tasks sees the admin's own."""
    if not may_open(request):
        return context
    shown = {
        "title": "Dashboard",
        "is_fullwidth": "1",
        "may_add": request.user.has_perm("experiments.add_tuningtask"),
    }
    return {**context, **shown, **whole(dashboard.parts(request.user))}


def whole(parts: dashboard.Drawing) -> dict[str, Any]:
    """Every part, and how each is: a page says that when it asks again."""
    return {
        "dashboard": {name: part.html for name, part in parts.items()},
        "seen": ",".join(part.digest for part in parts.values()),
    }


@only_for(roles.may_view, "admin:index")
@require_GET
def now(request: HttpRequest) -> HttpResponse:
    """The parts of the page that are not as it has them; nothing where all are."""
    parts = dashboard.parts(request.user)
    seen = set(request.GET.get("seen", "").split(","))
    changed = [part.html for part in parts.values() if part.digest not in seen]
    if not changed:
        return HttpResponse(status=204)
    context = {"changed": changed, "seen": whole(parts)["seen"]}
    return render(request, "experiments/dashboard/now.html", context)
