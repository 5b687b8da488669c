"""Where results were good, look closer: a tree-structured Parzen estimator (Optuna's TPE).

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
"""

import math
import random
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from experiments.space import Choices, Configuration, Dimension, Integer, Space
from experiments.strategies.base import Trial
from experiments.strategies.random_search import untried

if TYPE_CHECKING:
    import optuna

SUGGESTIONS = 10  # asked for before chance decides, when each was tried already
MODEL_AFTER = 8  # finished trials, chosen by chance, before the model is asked


class Bayesian:
    """TPE, rebuilt from the trials at every ask: no process keeps a study."""

    name = "bayesian"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        tried = {space.key(trial.configuration) for trial in trials}
        rng = random.Random(f"{seed}:{len(trials)}")
        size = space.size()
        inside = [trial for trial in trials if space.contains(trial.configuration)]
        if size is not None and len({space.key(t.configuration) for t in inside}) >= size:
            return None
        if sum(trial.feasible is not None for trial in inside) < MODEL_AFTER:
            return untried(space, tried, rng)
        # A fixed seed would give the same suggestion at every ask of one history's siblings.
        study = _study(space, inside, maximize, zlib.crc32(f"{seed}:{len(trials)}".encode()))
        for configuration in _suggestions(study, space):
            if space.allows(configuration) and space.key(configuration) not in tried:
                return configuration
        return untried(space, tried, rng)


def _study(
    space: Space, trials: Sequence[Trial], maximize: bool, seed: int
) -> "optuna.study.Study":
    """An in-memory study that has seen `trials`: of a Pareto front, one with many directions."""
    import optuna  # Half a second, which only a process that asks must pay
    from optuna.study import StudyDirection

    distributions = distributions_of(space)
    # Of a front each score is better when it is higher
    count = max((1, *(len(trial.scores) for trial in trials)))
    up, down = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    with _quiet():
        study = optuna.create_study(
            directions=[up] * count if maximize or count > 1 else [down],
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=0),
        )
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params=_to_optuna(space, trial.configuration),
                    distributions=distributions,
                    **_outcome(trial, count),
                )
            )
    return study


def _suggestions(study: "optuna.study.Study", space: Space) -> Iterator[Configuration]:
    """What the model would try; each stays in the study, so that the next is another."""
    distributions = distributions_of(space)
    for _ in range(SUGGESTIONS):
        with _quiet():
            suggested = study.ask(distributions).params
        yield from_optuna(space, suggested)


def _outcome(trial: Trial, count: int) -> dict[str, Any]:
    """The state of a trial in Optuna's words: `count` values, and a constraint (to 0: feasible).

    A failed one is the worse kind of infeasible, the worse the earlier it failed; not Optuna's
    FAIL, which the model would not see: it would then go back again and again to the
    out-of-memory corner next to a good result.
    """
    from optuna.trial import TrialState

    if trial.feasible is None:
        return {"state": TrialState.RUNNING}
    if trial.score is None or not math.isfinite(trial.score) or len(trial.scores) < count > 1:
        values, infeasible = [0.0] * count, 2.0 - trial.reached
    else:
        values = list(trial.scores) if count > 1 else [trial.score]
        infeasible = 0.0 if trial.feasible else 1.0
    return {"values": values, "constraints": {"infeasible": infeasible}}


def distributions_of(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Optuna's word for a space."""
    return {dimension.name: _distribution(dimension) for dimension in space.dimensions}


def from_optuna(space: Space, suggested: Mapping[str, Any]) -> Configuration:
    """The configuration that Optuna suggests."""
    return space.active({d.name: _from_optuna(d, suggested[d.name]) for d in space.dimensions})


def _distribution(dimension: Dimension) -> "optuna.distributions.BaseDistribution":
    """Optuna's word for a dimension. Choices go by their index, where true is not 1; it is a
    number where neighbours are alike.

    Optuna wants steps that divide the range, and no step with a logarithm: the high end is
    cut to a step, and a logarithmic suggestion is snapped to one.
    """
    from optuna import distributions

    if isinstance(dimension, Choices):
        if dimension.ordered:
            return distributions.IntDistribution(0, dimension.count - 1)
        return distributions.CategoricalDistribution(range(dimension.count))
    if isinstance(dimension, Integer):
        low, high = dimension.low, dimension.nth(dimension.count - 1)
        step = 1 if dimension.log else dimension.step
        return distributions.IntDistribution(low, high, log=dimension.log, step=step)
    high_end = dimension.high if dimension.count is None else dimension.nth(dimension.count - 1)
    stepped = None if dimension.log else dimension.step
    return distributions.FloatDistribution(dimension.low, high_end, log=dimension.log, step=stepped)


def _to_optuna(space: Space, configuration: Configuration) -> dict[str, Any]:
    """The flat vector that Optuna wants: a parameter that is inactive has its middle value."""
    params: dict[str, Any] = {}
    active = space.active(configuration)
    for dimension in space.dimensions:
        value = active.get(dimension.name, dimension.at(0.5))
        if isinstance(dimension, Choices):
            params[dimension.name] = dimension.index(value)
        else:
            params[dimension.name] = dimension.snap(float(value))
    return params


def _from_optuna(dimension: Dimension, suggested: Any) -> Any:
    if isinstance(dimension, Choices):
        return dimension.nth(suggested)
    return dimension.snap(suggested)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's notes on each study, and on what it calls experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
