"""What ran on which GPU when: one lane per GPU, one bar per experiment, in shares of the width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from experiments.experiment import Experiment
from experiments.figures import span
from experiments.operations import shortened
from experiments.states import LEASED, Status
from experiments.tones import kind, tone

MOST = 500  # bars of a chart: the newest
STEPS = 1000  # What moves by less than such a share of the width is not drawn again
# Of the width: a narrower bar has no number on it, no mark, and narrower than that is none
LEGIBLE, MARKED, THIN = 0.04, 0.01, 0.003
TICKS = 6  # About so many moments are written below
BAR = (
    '<a class="at-bar at-{tone}" data-n="{number}" data-is="{kind}"{link}><title>{title}</title>'
    '<rect class="at-load" x="{x}" width="{load}"/><rect x="{solid_x}" width="{solid}"/>{text}</a>'
)
# What the moments may be apart: round numbers of seconds
APART = [*(15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200), *(14400, 21600, 43200, 86400)]


@dataclass(frozen=True)
class Span:
    """What a chart shows, from left to right. `is_open`: it goes on, and its end is now."""

    begin: datetime
    end: datetime
    is_open: bool = True

    def share(self, at: datetime) -> float:
        """Where a moment is: 0 at the left edge, 1 at the right one."""
        whole = (self.end - self.begin).total_seconds()
        return min(1.0, max(0.0, (at - self.begin).total_seconds() / whole)) if whole else 0.0

    def ticks(self) -> list[tuple[str, str]]:
        """Moments to write below, with where they are: before now, or after the begin."""
        whole = (self.end - self.begin).total_seconds()
        apart = next((one for one in APART if whole / one <= TICKS), APART[-1])
        words = [n * apart for n in range(int(whole / apart) + 1)] if whole else []
        if not self.is_open:
            return [(percentage(word / whole), clock(word)) for word in words]
        return [
            (percentage(1 - word / whole), f"−{clock(word)}" if word else "now") for word in words
        ]


@dataclass
class Lane:
    """One GPU. `name` is short, `title` has its UUID; `note` and `tone` are how it is now."""

    name: str
    title: str
    note: str = ""
    tone: str = ""
    bars: list[dict[str, Any]] = field(default_factory=list)

    @property
    def svg(self) -> SafeString:
        """Its bars, one after another."""
        return mark_safe("".join(map(svg, self.bars)))


def of_task(experiments: Sequence[Experiment], now: datetime) -> dict[str, Any] | None:
    """The lanes of a task's newest experiments; None before one had a GPU."""
    shown = [one for one in experiments if one.placed_at and one.gpu_uuids][-MOST:]
    if not shown:
        return None
    is_open = any(one.status in LEASED for one in shown)
    ends = [one.finished_at for one in shown if one.finished_at]
    end = now if is_open or not ends else max(ends)
    begin = min(one.placed_at for one in shown if one.placed_at)
    return chart(shown, spread(begin, end, is_open), {})


def chart(
    experiments: Iterable[Experiment],
    over: Span,
    known: dict[str, Lane],
    names: dict[int, str] | None = None,
    are_links: bool = True,
) -> dict[str, Any]:
    """The lanes of the `known` GPUs, by UUID, and of those that only experiments speak of.

    `names` are those of the tasks, where there are several. Of each experiment its last attempt is
    drawn: that of an earlier one is not known any more.
    """
    lanes = {uuid: Lane(**{**vars(lane), "bars": []}) for uuid, lane in known.items()}
    others: dict[tuple[str, str], Lane] = {}
    for one in sorted(experiments, key=lambda one: one.pk):
        drawn = bar(one, over, (names or {}).get(one.task_id, ""), are_links)
        for uuid in one.gpu_uuids:
            if uuid not in lanes:
                lanes[uuid] = Lane(shortened(uuid), f"{uuid} of {one.node}")
                others[one.node, uuid] = lanes[uuid]
            lanes[uuid].bars.append(drawn)
    in_order = [*(lanes[uuid] for uuid in known), *(others[key] for key in sorted(others))]
    return {"lanes": in_order, "ticks": over.ticks(), "is_open": over.is_open}


def bar(experiment: Experiment, over: Span, task: str, is_link: bool) -> dict[str, Any]:
    """One experiment in a lane: light until its benchmark began, solid from then on."""
    begun = experiment.placed_at or over.begin
    ended = experiment.finished_at or over.end
    start, end = min(over.share(begun), 1 - THIN), over.share(ended)
    end = max(end, start + THIN)
    # Without a benchmark all of it is light
    solid = min(end, over.share(experiment.benchmarking_at or ended))
    words = f"{task} #{experiment.number}".lstrip()
    took = span((ended - begun).total_seconds())
    mark = "✕" if experiment.status == Status.FAILED and end - start >= MARKED else ""
    return {
        "number": experiment.number,
        "tone": tone(experiment),
        "kind": kind(experiment),
        "title": f"{words}: {outcome(experiment)}, {took}",
        "url": address(experiment.pk) if is_link else "",
        "x": percentage(start),
        "load": percentage(solid - start),
        "solid_x": percentage(solid),
        "solid": percentage(end - solid),
        "middle": percentage((start + end) / 2),
        "text": f"{mark}#{experiment.number}" if end - start >= LEGIBLE else mark,
    }


@cache
def pattern() -> str:
    return reverse("admin:experiments_experiment_change", args=[0])


def address(key: int) -> str:
    """Of an experiment's page: here are hundreds, and to look each up would take the longest."""
    return pattern().replace("/0/", f"/{key}/")


def svg(drawn: dict[str, Any]) -> SafeString:
    """A bar as SVG: here, for a template takes ten times as long for the hundreds of a page."""
    # Only the title has words that are not ours
    link = f' href="{drawn["url"]}" tabindex="-1"' if drawn["url"] else ""
    text = drawn["text"] and f'<text x="{drawn["middle"]}" y="14">{drawn["text"]}</text>'
    shown = {**drawn, "title": escape(drawn["title"]), "link": link, "text": text}
    return mark_safe(BAR.format_map(shown))


def outcome(experiment: Experiment) -> str:
    """Its status in words, and what the status alone does not say."""
    if experiment.status == Status.FAILED:
        return f"FAILED, {experiment.error_kind}" if experiment.error_kind else "FAILED"
    if experiment.status == Status.SUCCESS and not experiment.feasible:
        return "SUCCESS, misses the objectives"
    return str(experiment.status) + (", pruned" if experiment.pruned else "")


def spread(begin: datetime, end: datetime, is_open: bool = True) -> Span:
    """From then to then. An open one is widened to whole steps, so that it is the same for a while:
    a step is a power of two of seconds, of which the width has a thousand or more.
    """
    whole = max(1.0, (end - begin).total_seconds())
    if not is_open:
        return Span(begin, begin + timedelta(seconds=whole), False)
    step = 2.0 ** max(0, int(math.log2(max(1.0, whole / STEPS))))
    first, last = begin.timestamp() // step * step, -(-end.timestamp() // step) * step
    zone = end.tzinfo
    return Span(datetime.fromtimestamp(first, zone), datetime.fromtimestamp(last, zone))


def percentage(share: float) -> str:
    """`12.5%`, as SVG reads it."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def clock(seconds: float) -> str:
    """`45 s`, `10 min`, `2 h`: a round time."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
