"""Which load level an experiment is measured at next, and when it has lost.

Pure functions over results: the same that decide about a running server replay recorded ones.

A new configuration is first measured at the level that decides the score of the best one so far
(`Race.deciding`), and has lost there when it is worse by more than the `margin`. The other levels
follow as they weigh in that score, so that little is left to hope for soon. After each of them it
has lost when it is infeasible, or when its score could not reach that of the best even if it were
better than the best, by the margin, at every level that is left.

Of several objectives each is a race of its own, and an experiment has lost when it has lost all of
them to the same one: it is neither on a Pareto front nor the best by any weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.benchmarks.base import Level, Pace, Samples, StopWhen
from experiments.objectives import THROUGHPUTS, TIMES, Objectives
from experiments.pareto import penalised, together
from experiments.race import Race, Rules, Standing, score
from experiments.scoring import LevelResult, Score
from experiments.slo import Minimum

PACED = ("output_throughput", "total_throughput", "requests_per_second")
MOST_PACED = 2000  # requests of the best that another is compared with: a command line's worth


@dataclass(frozen=True)
class Step:
    """What is to be done next.

    The level to measure, or none at the end. `needed` is the value of the objective's metric
    there without which the experiment has lost: at least so much, or at most when less is better.
    `pruned` says why it has lost.
    """

    level: str = ""
    needed: float | None = None
    pruned: str = ""


def next_step(
    labels: Sequence[str],
    measured: Sequence[LevelResult],
    best: Standing | None,
    rules: Rules,
    gpus: int = 1,
) -> Step:
    """The step after `measured`, for levels with these `labels`, the lightest first.

    Without a `best` every level is measured, and nothing is pruned.
    """
    race = Race.of(labels, measured, best, rules, gpus)
    left = [label for label in labels if label not in {level.label for level in measured}]
    if race is None:
        return Step(left[0]) if left else Step()
    if why := race.lost(bool(left)):
        return Step(pruned=why)
    if not left:
        return Step()
    label = race.most_decisive(left)
    return Step(label, race.needed(label))


def all_races(steps: Sequence[Step]) -> Step:
    """What is done next when these are the steps of several objectives.

    No value is `needed` of any one objective when there are others.
    """
    if len(steps) == 1:
        return steps[0]
    for step in steps:
        if not step.pruned:
            return Step(step.level)
    return Step(pruned="; ".join(dict.fromkeys(step.pruned for step in steps)))


def result(
    labels: Sequence[str],
    measured: Sequence[LevelResult],
    best: Standing | None,
    rules: Rules,
    gpus: int = 1,
) -> Score:
    """The score of an experiment that was pruned: of what was measured, and an estimate.

    At the levels that are left it is expected to be to the best as it was at those measured, all
    together; so its value is the best's times that ratio, or the worst level's for a percentile.
    """
    scored = score(measured, rules, gpus)
    race = Race.of(labels, measured, best, rules, gpus)
    if race is None:
        return scored
    value = race.estimate()
    return Score(
        value=value,
        values=(value,),
        objective_score=penalised(value, scored.penalty, rules.objective.maximize),
        feasible=scored.feasible,
        penalty=scored.penalty,
        levels=scored.levels,
        holds_at=None,
        reasons=scored.reasons,
    )


def all_results(scores: Sequence[Score], objectives: Objectives) -> Score:
    """The score of an experiment that was pruned, from that of each objective."""
    first = scores[0]
    if not objectives.several:
        return first
    values = tuple(one.value for one in scores)
    value = together(values, objectives)
    return replace(
        first,
        value=value,
        values=values,
        objective_score=penalised(value, first.penalty, objectives.maximize),
    )


def breaking(rules: Rules) -> StopWhen:
    """When a level need not go on: any limit is exceeded for certain, a soft one as well."""
    stop = hopeless(rules)
    limits = dict(rules.slo.limits()) if rules.slo else {}
    times = {name: x.threshold for name, x in limits.items() if name.split("_")[0] in TIMES}
    errors = limits["error_rate"].threshold if "error_rate" in limits else 1.0
    return replace(stop, at_most=times, max_error_rate=min(errors, stop.max_error_rate))


def pace(
    rules: Rules, needed: float | None, level: Level, value: float | None, samples: Samples
) -> Pace | None:
    """How fast the best was at this level, from its `value` there and its `samples`.

    None where that forecasts nothing: a percentile has its own bounds, and an open loop brings as
    many tokens as it is sent requests.
    """
    metric = rules.objective.metric
    time, is_paced = metric.removesuffix("_mean"), not rules.objective.maximize
    if metric in PACED:
        time, is_paced = "latency", rules.objective.maximize and level.concurrency is not None
    times = [taken for taken in samples.get(time, ()) if taken is not None][:MOST_PACED]
    if not is_paced or not times or needed is None or not value:
        return None
    # Before each place in flight has answered once, all is one burst
    after = max(StopWhen.after, level.concurrency or 0)
    return Pace(metric, value, needed, time, times, after)


def hopeless(rules: Rules, needed: float | None = None) -> StopWhen:
    """When a level need not go on: a hard limit is broken for certain, or what is `needed`."""
    at_most: dict[str, float] = {}
    at_least: dict[str, float] = {}
    errors = rules.max_error_rate
    for metric, limit in rules.slo.limits() if rules.slo else ():
        if not limit.hard_fail:
            continue
        if metric == "error_rate":
            errors = limit.threshold * (1 + limit.fail_ratio)
        elif isinstance(limit, Minimum):
            at_least[metric] = limit.threshold * (1 - limit.fail_ratio)
        else:
            at_most[metric] = limit.threshold * (1 + limit.fail_ratio)
    metric = rules.objective.metric
    if needed is not None and rules.objective.maximize and metric in THROUGHPUTS:
        at_least[metric] = max(needed, at_least.get(metric, needed))
    elif needed is not None and not rules.objective.maximize and metric.split("_")[0] in TIMES:
        at_most[metric] = min(needed, at_most.get(metric, needed))
    return StopWhen(at_most, at_least, errors)
