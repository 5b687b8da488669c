"""What is done to the tasks that were chosen in their list."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from experiments import exports, roles, views
from experiments.files import attachment
from experiments.models import TuningTask

MOST_EXPORTED = 20  # tasks; of very long ones each takes a second


def for_each(verb: str, description: str) -> Callable[..., None]:
    """An action of the list: a verb for each of the tasks that were chosen."""

    def act(_: ModelAdmin, request: HttpRequest, tasks: QuerySet[TuningTask]) -> None:
        for task in tasks:
            views.do(request, verb, task, {})

    act.__name__ = f"{verb}_selected"
    decorate = admin.action(description=description, permissions=["steer"])
    return cast(Callable[..., None], decorate(act))


@admin.action(description="Clone: new tasks, not started", permissions=["clone"])
def clone_selected(_: ModelAdmin, request: HttpRequest, tasks: QuerySet[TuningTask]) -> None:
    """Under names that are free; what this person may not write is not cloned."""
    for task in tasks:
        if roles.rights(request.user).may_write(task.specification):
            said = {"name": views.free_name(task.name), "user": request.user}
            views.do(request, "clone", task, said)
        else:
            messages.warning(request, f"{task} is not cloned: you may not write its command.")


@admin.action(description="Export: report, JSON and CSV", permissions=["export"])
def export_selected(
    _: ModelAdmin, request: HttpRequest, tasks: QuerySet[TuningTask]
) -> HttpResponse | None:
    """One archive of all of them."""
    chosen: list[Any] = list(tasks[: MOST_EXPORTED + 1])
    if len(chosen) > MOST_EXPORTED:
        messages.warning(request, f"Nothing is exported: choose at most {MOST_EXPORTED} tasks.")
        return None
    name = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} tasks"
    return attachment(exports.archive(chosen), name, "zip")


ACTIONS = [
    for_each("start", "Start"),
    for_each("pause", "Pause: what runs goes on, nothing new starts"),
    for_each("resume", "Resume"),
    for_each("cancel", "Cancel: what runs is stopped"),
    for_each("retry", "Retry what failed"),
    clone_selected,
    export_selected,
]
