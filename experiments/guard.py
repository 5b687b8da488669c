"""Who may open which page, for pages that keep themselves up to date."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache

View = Callable[..., HttpResponseBase]


def only_for(may: Callable[[Any], bool], page: str) -> Callable[[View], View]:
    """Strangers log in first, and then come to this page; who may not is refused."""

    def guard(view: View) -> View:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                if by_htmx(request):  # Else the form to log in would land within the page
                    return HttpResponse(status=401, headers={"HX-Refresh": "true"})
                match = request.resolver_match
                of = match.kwargs if match else {}
                keys = [of[name] for name in ("task_id", "experiment_id") if name in of]
                return redirect_to_login(address(page, keys))
            if not may(request.user):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return login_not_required(guarded)

    return guard


def address(page: str, keys: list[Any]) -> str:
    """Of the page of this row, or of the list that all of them are in."""
    try:
        return reverse(page, args=keys)
    except NoReverseMatch:
        return reverse(page)


def by_htmx(request: HttpRequest) -> bool:
    """Whether the page itself asks, and puts the answer into its parts."""
    return request.headers.get("HX-Request") == "true"


def is_key(word: str) -> bool:
    """Whether what a browser sent can be the number of a row."""
    return word.isdecimal() and len(word) <= 18  # Digits of what a database takes
