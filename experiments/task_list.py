"""The list of tasks, which keeps itself up to date: it asks for the lines that have changed."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.views import ChangeList

from experiments import roles, summaries
from experiments.guard import is_key, only_for
from experiments.models import TuningTask
from experiments.summaries import Summary

MOST = 100  # lines of one page
CELLS = ("state", "progress", "best", "gain", "end")


class TaskList(ChangeList):  # type: ignore[misc]
    """A page of tasks, each with its summary: one query for the experiments of all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        tasks: list[TuningTask] = list(cast(Any, self).result_list)
        self.result_list = tasks
        lines = summaries.of_tasks(tasks, timezone.now())
        for line in lines:
            line["task"].summary = line
        self.seen, self.newest = seen(lines), newest()


def cell(task: TuningTask, name: str) -> SafeString:
    """What one column says of a task, with a name by which it is replaced."""
    line = getattr(task, "summary", None) or summaries.of_tasks([task], timezone.now())[0]
    return format_html('<span id="task-{}-{}">{}</span>', task.pk, name, content(line, name))


def content(line: Summary, name: str) -> SafeString | str:
    if name == "state":
        return format_html(
            '<span class="at-pill at-{}">{}</span>', line["tone"], line["task"].status
        )
    if name == "progress":
        return render_to_string("experiments/strip.html", {"row": line})
    return str(line[name]) or "–"


@only_for(roles.may_view, "admin:experiments_tuningtask_changelist")
@require_GET
def cells(request: HttpRequest) -> HttpResponse:
    """The cells of the lines that are not as the page has them: `seen` names each."""
    pairs = [pair.partition(":") for pair in request.GET.getlist("seen")[:MOST]]
    before = {int(task): seen for task, _, seen in pairs if is_key(task)}
    lines = summaries.of_tasks(list(TuningTask.objects.filter(pk__in=before)), timezone.now())
    changed = [line for line in lines if before[line["task"].pk] != digest(line)]
    asked = request.GET.get("newest", "")
    context = {
        "cells": [
            {"id": f"task-{line['task'].pk}-{name}", "html": content(line, name)}
            for line in changed
            for name in CELLS
        ],
        "seen": seen(lines),
        "newest": asked,
        "is_newer": is_key(asked) and newest() > int(asked),
    }
    return render(request, "experiments/task_cells.html", context)


def seen(lines: Sequence[Summary]) -> list[str]:
    """A short name of how each line is now."""
    return [f"{line['task'].pk}:{digest(line)}" for line in lines]


def digest(line: Summary) -> str:
    said: dict[str, Any] = {**line, "task": line["task"].status}
    return sha256(repr(sorted(said.items())).encode()).hexdigest()[:12]


def newest() -> int:
    """The latest task's number; 0 when there is none."""
    return TuningTask.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
