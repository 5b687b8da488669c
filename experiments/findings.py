"""What a task has found so far: its winner, its Pareto front, and how sure they are."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from experiments import fronts, repeats
from experiments.fronts import Member
from experiments.models import Experiment, TuningTask
from experiments.repeats import Certainty
from experiments.states import Status


class Found(NamedTuple):
    """What a task has found so far: its winner, and what that is to be seen with."""

    best: Experiment | None
    front: list[Experiment]
    sure: Certainty | None  # How sure the winner is
    baseline: Experiment | None  # The engine's defaults, measured
    members: Sequence[Member] = ()  # How sure each of the front is
    # Of several objectives: each configuration's, by its number and of all its measurements
    values: Mapping[int, Sequence[float]] = MappingProxyType({})
    # By number, of the winner and the defaults: the measurement that stands for all of theirs
    typical: Mapping[int, Experiment] = MappingProxyType({})

    @property
    def score(self) -> float | None:
        """The winner's, of all its measurements that count."""
        return None if self.sure is None else self.sure.score

    @property
    def gain(self) -> float | None:
        """By how much the winner is better than the engine's defaults, of all measurements of both:
        0.18 is 18 % better. Of several objectives the weighted geometric mean of their ratios.
        """
        if self.sure is None:
            return None
        if self.sure.winner.is_baseline:
            return 0.0
        return None if self.sure.gain is None else self.sure.gain.share

    @property
    def named(self) -> list[tuple[str, Experiment]]:
        """Those that have a name. They may be the same one."""
        both = (("defaults", self.baseline), ("best", self.best))
        return [(name, one) for name, one in both if one]

    def shown(self, experiment: Experiment) -> Experiment:
        """Whose single figures are those of this configuration: not those of the measurement that
        it was chosen by, which was a lucky one, or was pruned.
        """
        return self.typical.get(experiment.number, experiment)

    def whose_figures(self) -> str:
        """Which measurements these are, in words; empty where nothing was measured again."""
        if self.sure is None or all(one.times == 1 for one in self.sure.both):
            return ""
        named = {one.number: (self.shown(one), word) for word, one in self.named}
        words = " and ".join(f"#{one.number} ({word})" for one, word in named.values())
        return f"Single figures are those of {words}, the nearest to all measurements that count."


NOTHING = Found(None, [], None, None)


def found_by(task: TuningTask, experiments: Sequence[Experiment]) -> Found:
    """All of it, worked out once."""
    objectives = task.objectives
    each = fronts.goals(experiments, objectives) if objectives.several else []
    members = fronts.members(experiments, objectives, each) if objectives.has_front else []
    among = [one.number for one in members] if objectives.has_front else None
    sure = repeats.certainty(task, experiments, among)
    by_number = {one.number: one for one in experiments}
    return Found(
        best=by_number[sure.winner.number] if sure else None,
        front=[by_number[one.number] for one in members],
        sure=sure,
        baseline=baseline_of(experiments),
        members=members,
        values=fronts.values(each) if each else {},
        typical={one.number: by_number[sure.noise.typical(one)] for one in sure.both}
        if sure
        else {},
    )


def best_of(task: TuningTask, experiments: Sequence[Experiment]) -> Experiment | None:
    """The winner so far: feasible, and the best of all its measurements; the older one of equals;
    never a pruned one.

    Of a Pareto front that is the one with the largest product of ratios to any other experiment.
    """
    return found_by(task, experiments).best


def front_of(task: TuningTask, experiments: Sequence[Experiment]) -> list[Experiment]:
    """The Pareto front: the feasible ones that no other feasible one beats; never a pruned one.

    Empty for a task whose objectives have one winner.
    """
    return found_by(task, experiments).front


def baseline_of(experiments: Sequence[Experiment]) -> Experiment | None:
    """The measured defaults of the engine, if they could be measured."""
    for experiment in experiments:
        if experiment.is_baseline and experiment.status == Status.SUCCESS:
            return experiment
    return None
