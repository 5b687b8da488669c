"""A task's page as it is drawn, part by part: what a move changes costs little."""

from collections.abc import Iterable
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments import pages
from experiments.drawing import ITEMS, Drawing, Part
from experiments.models import Experiment, TuningTask
from experiments.roles import Rights

STATE = ("status", "attempt", "cancel_requested")  # A row changes only with one of these
MOST_AT_ONCE = 200  # rows that are read by their keys; of more, all are read
ROW_WANTS = ("task", "may_change", "has_defaults")
PLANNED = '<span id="block-{}" class="at-block at-planned" title="not yet chosen"></span>'


def draw(task_id: int, rights: Rights) -> Drawing:
    """A whole page as the database has it now. Raises TuningTask.DoesNotExist."""
    return Picture(task_id, rights).whole()


class Picture:
    """What one task looks like to those with these rights. Not for two threads at once."""

    def __init__(self, task_id: int, rights: Rights) -> None:
        self.rights = rights
        self.task = TuningTask(pk=task_id)
        self.experiments: list[Experiment] = []
        self.parts: dict[str, Part] = {}
        self.is_moving = True
        self.drawing = Drawing({}, self.is_moving)
        # Of each row: what it was drawn from, itself, and its block in the strip
        self.drawn: dict[int, tuple[dict[str, Any], str, str]] = {}

    def whole(self) -> Drawing:
        """Everything, as the database has it now."""
        self.task = TuningTask.objects.get(pk=self.task.pk)
        self.experiments = list(pages.experiments_of(self.task))
        return self._draw_all()

    def first(self) -> Drawing:
        """What a move changes at once: only rows whose state is another one are read again. The
        drawing of before when there is none: times go on by themselves in the browser.
        """
        if self._look():
            self._draw_first()
            self.drawing = Drawing(dict(self.parts), self.is_moving)
        return self.drawing

    def later(self) -> Drawing:
        """Everything, from the rows whose state is another one and those that were read before."""
        self._look()
        return self._draw_all()

    def _draw_all(self) -> Drawing:
        self._draw_first()
        self._draw_later()
        self.drawing = Drawing(dict(self.parts), self.is_moving)
        return self.drawing

    # ── reading ─────────────────────────────────────────────────────────────────────────────

    def _look(self) -> bool:
        """Whether the task or a row of it is not as it was."""
        before = columns(self.task)
        self.task.refresh_from_db()
        known = {one.pk: one for one in self.experiments}
        rows = list(self.task.experiments.order_by("number").values_list("pk", *STATE))
        stale = [pk for pk, *state in rows if pk not in known or state != state_of(known[pk])]
        if stale:
            read = pages.experiments_of(self.task)
            read = read.filter(pk__in=stale) if len(stale) <= MOST_AT_ONCE else read
            known.update((one.pk, one) for one in read)
        is_other = bool(stale) or len(rows) != len(known) or before != columns(self.task)
        self.experiments = [known[pk] for pk, *_ in rows if pk in known]
        return is_other

    # ── drawing ─────────────────────────────────────────────────────────────────────────────

    def _draw_first(self) -> None:
        self.now = timezone.now()
        self.ranking = pages.rank(self.task, self.experiments)
        context = pages.first(self.task, self.experiments, self.ranking, self.rights, self.now)
        self.is_moving = context["is_moving"]
        self.parts |= parts(pages.FIRST, context)
        self._draw_items(context)

    def _draw_items(self, context: dict[str, Any]) -> None:
        all_rows = {row["experiment"].number: row for row in context["blocks"]}
        shown = {row["experiment"].number for row in context["rows"]}
        self.drawn = {
            number: self._item(row, context, number in shown) for number, row in all_rows.items()
        }
        blocks = {number: block for number, (_, _, block) in self.drawn.items()}
        blocks |= {number: format_html(PLANNED, number) for number in context["planned"]}
        numbers = [row["experiment"].number for row in context["rows"]]
        rows = {number: self.drawn[number][1] for number in numbers}
        self.parts["strip"] = Part(self.parts["strip"].html, blocks)
        self.parts["rows"] = Part(self.parts["rows"].html, rows)

    def _item(
        self, row: dict[str, Any], context: dict[str, Any], is_shown: bool
    ) -> tuple[dict[str, Any], str, str]:
        """A row and its block; those of before when nothing of it has changed."""
        before = self.drawn.get(row["experiment"].number)
        if before and before[0]["experiment"] is row["experiment"] and before[0] == row:
            return before
        wanted = {"row": row} | {name: context[name] for name in ROW_WANTS}
        html = render_to_string("experiments/live/row.html", wanted) if is_shown else ""
        return row, html, render_to_string("experiments/live/block.html", wanted)

    def _draw_later(self) -> None:
        context = pages.later(self.task, self.experiments, self.ranking, self.rights, self.now)
        self.parts |= parts(pages.LATER, context)


def columns(task: TuningTask) -> dict[str, Any]:
    return {field.attname: getattr(task, field.attname) for field in task._meta.concrete_fields}


def state_of(one: Experiment) -> list[Any]:
    return [getattr(one, name) for name in STATE]


def parts(names: Iterable[str], context: dict[str, Any]) -> dict[str, Part]:
    """Each part, with room for its items."""
    context = {**context, "items": SafeString(ITEMS)}
    return {
        name: Part(render_to_string(f"experiments/live/{name}.html", context)) for name in names
    }
