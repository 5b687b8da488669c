"""Why the winner is the winner: what matters, where it is good, and what it gains at each load."""

from collections.abc import Iterator, Sequence
from typing import Any

from experiments import interference, masking, scoring, tuning
from experiments.figures import plain
from experiments.findings import Found
from experiments.markdown import row
from experiments.models import Experiment, TuningTask
from experiments.states import Status
from experiments.strategies.insight import Insight, insight

BARS = "▏▎▍▌▋▊▉█"  # Eighths of a bar's cell
CELLS = 12


def explanation(
    task: TuningTask, experiments: Sequence[Experiment], found: Found
) -> dict[str, Any] | None:
    """What the results say of the parameters; None while there are too few of them."""
    learnt = _insight(task, experiments)
    if learnt is None:
        return None
    return {
        "importance": [{"name": e.name, "share": e.importance} for e in learnt.effects],
        "effects": {
            e.name: [{"value": value, "ratio": ratio} for value, ratio in e.ratios]
            for e in learnt.effects
        },
        "best_region": {e.name: e.best for e in learnt.effects},
        "try_next": [
            {"parameters": one.configuration, "chance_to_win": one.chance}
            for one in learnt.promises
        ],
        "levels": levels(task, found),
    }


def importance(task: TuningTask, experiments: Sequence[Experiment]) -> list[tuple[str, float]]:
    """The parameters and how much each matters, 0 to 1, the most first; nothing while too few are
    measured."""
    found = _insight(task, experiments)
    return [] if found is None else [(one.name, one.importance) for one in found.effects]


def _insight(task: TuningTask, experiments: Sequence[Experiment]) -> Insight | None:
    searched = [one for one in experiments if one.repeat_of is None]
    return insight(
        task.file.space(),
        [tuning.trial(one, task.objectives) for one in searched],
        maximize=task.objectives.maximize,
        seed=task.file.optimization.seed,
    )


def levels(task: TuningTask, found: Found) -> list[dict[str, Any]]:
    """The winner beside the baseline at every load level, in the objectives' metrics.

    Of one that was measured more than once the measurement that is nearest to all of them.
    """
    if found.best is None or found.baseline is None or task.engine == "job":
        return []
    best, baseline = found.shown(found.best), found.shown(found.baseline)
    theirs = {level["label"]: level["metrics"] for level in baseline.levels}
    lines = []
    for level in best.levels:
        other = theirs.get(level["label"], {})
        for objective in task.objectives.each:
            own, base = level["metrics"].get(objective.metric), other.get(objective.metric)
            lines.append(
                {
                    "label": level["label"],
                    "metric": objective.metric,
                    "winner": own,
                    "baseline": base,
                    "gain": scoring.gain(own, base, objective.maximize),
                }
            )
    return lines


# ── as Markdown ─────────────────────────────────────────────────────────────────────────────


def markdown(task: TuningTask, experiments: Sequence[Experiment], found: Found) -> list[str]:
    """The same for people, with pictures that a Markdown viewer draws (Mermaid)."""
    table = _level_table(levels(task, found), found.whose_figures())
    lines = [*_progress_picture(task, experiments), *table]
    if said := interference.sentence(task, experiments):
        lines += ["## Interference", "", f"{said}, than on a quiet node.", ""]
    learnt = _insight(task, experiments)
    if learnt is None:
        return lines
    lines += [
        "## What matters",
        "",
        "| parameter | importance | | best values |",
        "|---|--:|---|---|",
    ]
    for effect in learnt.effects:
        best = ", ".join(plain(value) for value in masking.shown(effect.name, effect.best))
        share = effect.importance
        lines.append(row([effect.name, f"{share:.0%}", bar(share), best]))
    if learnt.promises:
        lines += ["", "## What to try next", "", "| chance to win | parameters |", "|--:|---|"]
        for one in learnt.promises:
            chosen = ", ".join(
                f"{key}={plain(value)}" for key, value in masking.data(one.configuration).items()
            )
            lines.append(row([f"{one.chance:.0%}", chosen]))
    return [*lines, ""]


def bar(share: float) -> str:
    """A share of one as a bar of text."""
    eighths = round(share * CELLS * 8)
    rest = BARS[eighths % 8 - 1] if eighths % 8 else ""
    return "█" * (eighths // 8) + rest


def _level_table(lines: Sequence[dict[str, Any]], whose: str) -> list[str]:
    if not lines:
        return []
    table = ["## The winner at each load level", "", *([whose, ""] if whose else [])]
    table += ["| level | metric | defaults | winner | gain |", "|---|---|--:|--:|--:|"]
    for one in lines:
        numbers = ["" if one[key] is None else f"{one[key]:.4g}" for key in ("baseline", "winner")]
        gain = "" if one["gain"] is None else f"{one['gain']:+.1%}"
        table.append(row([one["label"], one["metric"], *numbers, gain]))
    return [*table, ""]


def _progress_picture(task: TuningTask, experiments: Sequence[Experiment]) -> list[str]:
    """The best so far, after each experiment that was measured."""
    found = list(best_so_far(task, experiments))
    if len(found) < 2:
        return []
    numbers = ", ".join(str(number) for number, _ in found)
    scores = ", ".join(f"{score:.6g}" for _, score in found)
    return [
        *("## The search", "", "```mermaid", "xychart-beta"),
        '    title "Best score so far"',
        f'    x-axis "experiment" [{numbers}]',
        f'    y-axis "{"score" if task.objectives.several else task.objectives.each[0].metric}"',
        *(f"    line [{scores}]", "```", ""),
    ]


def best_so_far(task: TuningTask, experiments: Sequence[Experiment]) -> Iterator[tuple[int, float]]:
    """The best score of those that meet the objectives, after each of them that was measured."""
    best: float | None = None
    for one in sorted(experiments, key=lambda one: one.number):
        if one.status != Status.SUCCESS or one.pruned or one.repeat_of or not one.feasible:
            continue
        if scoring.better(one.objective_score, best, task.objectives.maximize):
            best = one.objective_score
        if best is not None:
            yield one.number, best
