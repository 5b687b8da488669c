"""How likely a configuration fails, judged by those that have failed and those that started.

No rule needs more than counting, so that a person can check each verdict. A failure counts against
what shares its values, or needs at least as much memory; whatever started counts for it.
"""

from collections.abc import Iterable, Iterator

from experiments.dimensions import Choices, Dimension, identity, is_number
from experiments.engines.flags import format_value
from experiments.engines.refusals import refused_values
from experiments.memory_need import Memory
from experiments.outcomes import Outcome, Setting, Verdict, settings
from experiments.regions import Regions
from experiments.space import Configuration, Space
from experiments.states import FailureKind

__all__ = ["Evidence", "Outcome", "Verdict"]


class Evidence:
    """All outcomes that bear on a space, counted once for many questions."""

    def __init__(self, space: Space, outcomes: Iterable[Outcome]) -> None:
        self.space = space
        self.outcomes = list({space.key(o.configuration): o for o in outcomes}.values())
        self.failed = [outcome for outcome in self.outcomes if outcome.kind]
        self._same = {space.key(o.configuration): o for o in self.failed if o.is_elsewhere}
        self._refused = dict(self._refusals())
        numeric = {dimension.name for dimension in space.dimensions if _is_numeric(dimension)}
        self._regions = Regions(self.outcomes, numeric)
        self._memory = Memory(space, self.outcomes, numeric)

    def judge(self, configuration: Configuration) -> Verdict | None:
        """Why it would fail, the surest reason first; None when nothing speaks against it."""
        return (
            self._by_the_same(configuration)
            or self._by_refusal(configuration)
            or self._by_best_rule(configuration)
        )

    def _by_the_same(self, configuration: Configuration) -> Verdict | None:
        same = self._same.get(self.space.key(configuration))
        if same is None or same.kind is None:
            return None
        return Verdict(same.kind, 1.0, f"failed in {same.name}: {same.message}", (same.name,))

    def _refusals(self) -> Iterator[tuple[Setting, Outcome]]:
        """Values that the engine refused by name, and that never worked."""
        started = [o.configuration for o in self.outcomes if o.started]
        worked = {setting for configuration in started for setting in settings(configuration)}
        worked |= {(name, "") for configuration in started for name in configuration}
        for outcome in self.failed:
            if outcome.kind == FailureKind.BAD_FLAG:
                for name, value in refused_values(outcome.message, outcome.configuration):
                    setting = (name, "" if value is None else identity(value))
                    if setting not in worked:
                        yield setting, outcome

    def _by_refusal(self, configuration: Configuration) -> Verdict | None:
        for name, value in configuration.items():
            for setting in ((name, identity(value)), (name, "")):
                if outcome := self._refused.get(setting):
                    what = f"{name}={format_value(value)}" if setting[1] else name
                    reason = f"{what} was refused in {outcome.name}: {outcome.message}"
                    return Verdict(FailureKind.BAD_FLAG, 1.0, reason, (outcome.name,))
        return None

    def _by_best_rule(self, configuration: Configuration) -> Verdict | None:
        found = (self._regions.judge(configuration), self._memory.judge(configuration))
        known = [verdict for verdict in found if verdict is not None]
        return max(known, key=lambda verdict: verdict.chance, default=None)


def _is_numeric(dimension: Dimension) -> bool:
    if isinstance(dimension, Choices):
        return dimension.count > 1 and all(map(is_number, dimension.options))
    return True
