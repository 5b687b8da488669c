"""What failures have taught a task: which configurations it does not try, and why.

The strategy proposes, and what is known to fail is written down as a veto instead of being tried.
Vetoes are judged again at every step: what has worked since then lifts them.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.db import transaction

from experiments import elsewhere, live
from experiments.ended import outcomes
from experiments.feasibility import Evidence, Verdict
from experiments.models import TuningTask, Veto
from experiments.outcomes import SURE
from experiments.space import Configuration, Space
from experiments.states import VetoState
from experiments.strategies.base import Trial
from experiments.veto import short_key

Ask = Callable[[Sequence[Trial]], Configuration | None]

PATIENCE = 50  # vetoed proposals one after the other, before any that is not vetoed is taken
LOOKED_AT = 20_000  # configurations among which one is looked for then
TEST_EVERY = 10  # of so many vetoes for uncertain reasons one is tried, to learn whether it is true
STANDING = VetoState.STANDING
WANTED = frozenset({VetoState.OVERRULED, VetoState.TESTED})


def allowed(task: TuningTask, trials: Sequence[Trial], ask: Ask) -> Configuration | None:
    """What `ask` proposes next after `trials`, and what is not known to fail.

    First of all what a person wants tried in spite of it. When nothing else is left, what is the
    least sure to fail, unless all of it is sure to.
    """
    if not task.file.optimization.skip_known_failures:
        return ask(trials)
    search = Search(task, trials)
    return search.wanted() or search.proposed(ask) or search.least_doubtful()


class Search:
    """One step of a task's search, with all that is known at its beginning."""

    def __init__(self, task: TuningTask, trials: Sequence[Trial]) -> None:
        self.task = task
        self.space: Space = task.file.space()
        self.trials = list(trials)
        self.tried = {short_key(self.space.key(trial.configuration)) for trial in trials}
        # Of the same configuration the task's own is the last, and counts
        self.evidence = Evidence(self.space, [*elsewhere.outcomes(task), *outcomes(task)])
        self.vetoes = list(task.vetoes.all())
        self.reconsider()
        self.weak = sum(veto.chance < SURE for veto in self.vetoes)

    def reconsider(self) -> None:
        """Lift what something speaks against by now, and let stand again what was lifted so."""
        for veto in self.vetoes:
            if veto.state in WANTED or veto.key in self.tried:
                continue
            verdict = self.evidence.judge(veto.parameters)
            if verdict is None:
                self.change(veto, VetoState.LIFTED)
            elif veto.state == VetoState.LIFTED or verdict.chance != veto.chance:
                self.change(veto, VetoState.STANDING, **columns_of(verdict))

    def change(self, veto: Veto, state: VetoState, **columns: Any) -> bool:
        """Whether it was changed, by us; a person may have been faster."""
        if veto.state == state and not columns:
            return False
        as_we_know_it = Veto.objects.filter(pk=veto.pk, state=veto.state)
        if not as_we_know_it.update(state=state, **columns):
            return False
        for name, value in {"state": state, **columns}.items():
            setattr(veto, name, value)
        push(self.task)
        return True

    def wanted(self) -> Configuration | None:
        """The oldest that is to be tried in spite of all, and that was not yet."""
        wanted = (veto for veto in self.vetoes if veto.state in WANTED)
        return next((veto.parameters for veto in wanted if veto.key not in self.tried), None)

    def proposed(self, ask: Ask) -> Configuration | None:
        """The strategy's next one that is not vetoed; it goes on elsewhere after each that is."""
        new: list[Veto] = []
        try:
            for _ in range(PATIENCE):
                standing = [veto for veto in (*self.vetoes, *new) if veto.state == STANDING]
                known = [Trial(veto.parameters, None, False) for veto in standing]
                configuration = ask([*self.trials, *known])
                if configuration is None:
                    return None
                verdict = self.evidence.judge(configuration)
                if verdict is None:
                    return configuration
                veto = self.veto(configuration, verdict)
                new.append(veto)
                if veto.state == VetoState.TESTED:
                    return configuration
            return self.any_other()
        finally:
            self.write(new)

    def veto(self, configuration: Configuration, verdict: Verdict) -> Veto:
        self.weak += verdict.is_weak
        is_test = verdict.is_weak and self.weak % TEST_EVERY == 0
        return Veto(
            task=self.task,
            key=short_key(self.space.key(configuration)),
            parameters=configuration,
            state=VetoState.TESTED if is_test else VetoState.STANDING,
            **columns_of(verdict),
        )

    def write(self, new: Sequence[Veto]) -> None:
        """Keep new vetoes. Another process may have written the same one."""
        if new:
            Veto.objects.bulk_create(new, ignore_conflicts=True)
            self.vetoes = list(self.task.vetoes.all())
            push(self.task)

    def any_other(self) -> Configuration | None:
        """Anything not tried that nothing speaks against: the strategy sees only what is vetoed."""
        standing = {veto.key for veto in self.vetoes if veto.state == STANDING}
        for configuration in self.candidates():
            key = short_key(self.space.key(configuration))
            if key not in self.tried | standing and self.evidence.judge(configuration) is None:
                return configuration
        return None

    def candidates(self) -> Iterator[Configuration]:
        size = self.space.size()
        if size is not None and size <= LOOKED_AT:
            return self.space.grid()
        rng = random.Random(f"{self.task.file.optimization.seed}:{len(self.trials)}")
        return (self.space.sample(rng) for _ in range(LOOKED_AT))

    def least_doubtful(self) -> Configuration | None:
        """Of what is vetoed for an uncertain reason, the one that is the least likely to fail."""
        weak = (veto for veto in self.vetoes if veto.state == STANDING and veto.chance < SURE)
        for veto in sorted(weak, key=lambda veto: veto.chance):
            if veto.key not in self.tried and self.change(veto, VetoState.TESTED):
                return dict(veto.parameters)
        return None


def columns_of(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind,
        "chance": verdict.chance,
        "reason": verdict.reason,
        "sources": list(verdict.sources),
    }


def push(task: TuningTask) -> None:
    transaction.on_commit(partial(live.push, task.pk), robust=True)


def untried(task: TuningTask) -> int:
    """How many configurations the task has not tried because they are known to fail."""
    return task.vetoes.filter(state=STANDING).count()
