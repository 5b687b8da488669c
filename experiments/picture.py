"""A task's page as it is drawn, part by part: what a move changes costs little."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from operator import is_
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString

from experiments import chart_marks, findings, pages
from experiments.drawing import ITEMS, Drawing, Part
from experiments.models import Experiment, TuningTask
from experiments.roles import Rights
from experiments.task_table import Row, View

STATE = ("status", "attempt", "cancel_requested")  # A row changes only with one of these
LONG_AGO = timedelta(seconds=2)  # After which numbers that go with the time are drawn again
MOST_AT_ONCE = 200  # rows that are read by their keys; of more, all are read
ROW_WANTS = ("task", "may_change", "has_defaults")
PLANNED = '<span id="block-{}" class="at-block at-planned" title="not yet chosen"></span>'


def draw(task_id: int, rights: Rights, view: View | None = None) -> Drawing:
    """A whole page as the database has it now. Raises TuningTask.DoesNotExist."""
    return Picture(task_id, rights, view or View()).whole()


class Picture:
    """What one task looks like to those with these rights, in this view. Not for two threads at
    once."""

    def __init__(self, task_id: int, rights: Rights, view: View) -> None:
        self.rights, self.view = rights, view
        self.task = TuningTask(pk=task_id)
        self.experiments: list[Experiment] = []
        self.parts: dict[str, Part] = {}
        self.is_moving = True
        self.drawing = Drawing({}, self.is_moving)
        # Of each row: what it was drawn from, and itself
        self.drawn: dict[int, tuple[Row, str]] = {}
        # What was found, and in which results of which task; of how many experiments the charts are
        self.results: list[Experiment] = []
        self.of: dict[str, Any] = {}
        self.found = findings.NOTHING
        self.settled: dict[int, Row] = {}
        self.charted: int | None = None

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
        """Everything that is another one, from the rows whose state is another one and those that
        were read before.
        """
        is_other = self._look()
        return self._draw_all(is_other or timezone.now() - self.now > LONG_AGO)

    def _draw_all(self, with_first: bool = True) -> Drawing:
        if with_first:
            self._draw_first()
        self._draw_later()
        self.drawing = Drawing(dict(self.parts), self.is_moving)
        return self.drawing

    # ── reading ─────────────────────────────────────────────────────────────────────────────

    def _look(self) -> bool:
        """Whether the task or a row of it is not as it was."""
        before = self.task.columns
        self.task.refresh_from_db()
        known = {one.pk: one for one in self.experiments}
        rows = list(self.task.experiments.order_by("number").values_list("pk", *STATE))
        stale = [pk for pk, *state in rows if pk not in known or state != state_of(known[pk])]
        if stale:
            read = pages.experiments_of(self.task)
            read = read.filter(pk__in=stale) if len(stale) <= MOST_AT_ONCE else read
            known.update((one.pk, one) for one in read)
        is_other = bool(stale) or len(rows) != len(known) or before != self.task.columns
        self.experiments = [known[pk] for pk, *_ in rows if pk in known]
        return is_other

    # ── drawing ─────────────────────────────────────────────────────────────────────────────

    def _draw_first(self) -> None:
        self.now = timezone.now()
        self._look_at_results()
        seen = (self.rights, self.view, self.now, self.settled)
        context = pages.first(self.task, self.experiments, self.found, *seen)
        self.is_moving = context["is_moving"]
        self.parts |= parts(pages.FIRST, context)
        self._draw_items(context)

    def _look_at_results(self) -> None:
        """Work out what follows from the results only when these are others: a row that was read
        again is another one.
        """
        results = [one for one in self.experiments if one.has_ended]
        if self.task.columns == self.of and are_the_same(results, self.results):
            return
        self.results, self.of = results, self.task.columns
        self.found = findings.found_by(self.task, self.experiments)
        self.settled, self.charted = {}, None

    def _draw_items(self, context: dict[str, Any]) -> None:
        self.drawn = {
            row["experiment"].number: (row, self._row(row, context)) for row in context["rows"]
        }
        blocks = {one["number"]: chart_marks.block(one) for one in context["blocks"]}
        blocks |= {number: PLANNED.format(number) for number in context["planned"]}
        rows = {number: html for number, (_, html) in self.drawn.items()}
        self.parts["strip"] = Part(self.parts["strip"].html, blocks)
        self.parts["rows"] = Part(self.parts["rows"].html, rows)

    def _row(self, row: Row, context: dict[str, Any]) -> str:
        """The one of before when nothing of it has changed."""
        before = self.drawn.get(row["experiment"].number)
        if before and before[0]["experiment"] is row["experiment"] and before[0] == row:
            return before[1]
        wanted = {"row": row} | {name: context[name] for name in ROW_WANTS}
        return render_to_string("experiments/live/row.html", wanted)

    def _draw_later(self) -> None:
        context = pages.later(self.task, self.experiments, self.rights, self.now)
        self.parts |= parts(pages.LATER, context)
        if self.charted != len(self.experiments):
            context = pages.of_results(self.task, self.experiments, self.found)
            self.parts |= parts(pages.OF_RESULTS, context)
            self.charted = len(self.experiments)


def are_the_same(some: Sequence[Experiment], others: Sequence[Experiment]) -> bool:
    """Whether they are the very same objects: two that were read of one row may differ."""
    return len(some) == len(others) and all(map(is_, some, others))


def state_of(one: Experiment) -> list[Any]:
    return [getattr(one, name) for name in STATE]


def parts(names: Iterable[str], context: dict[str, Any]) -> dict[str, Part]:
    """Each part, with room for its items."""
    context = {**context, "items": SafeString(ITEMS)}
    return {
        name: Part(render_to_string(f"experiments/live/{name}.html", context)) for name in names
    }
