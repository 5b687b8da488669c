"""What a browser is shown instead of a page: it is not there, it is refused, or it went wrong."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from experiments import roles


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    says = "There is no page at this address, or what it was about has been deleted."
    return page(request, 404, "Not found", says)


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    groups = request.user.groups.values_list("name", flat=True)
    mine = ", ".join(groups) or "none"
    says = f"Your role does not include this (yours: {mine}). A superuser can give you another."
    return page(request, 403, "Not for your role", says)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: a POST without the token of its page."""
    says = (
        "The form was not sent by this site's own page, or that page was too old. "
        "Nothing was done: open the page again and repeat it. It needs cookies."
    )
    return page(request, 403, "Not sent by this site", says)


def page(request: HttpRequest, status: int, title: str, says: str) -> HttpResponse:
    """In the site's looks: with the menu for those who are logged in."""
    may_be_here = admin.site.has_permission(request)
    layout = "admin/base_site.html" if may_be_here else "unfold/layouts/unauthenticated.html"
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        **{"title": title, "says": says, "status": status, "layout": layout},
        "may_view": roles.may_view(request.user),
    }
    return render(request, "experiments/error.html", context, status=status)
