"""Who else is on a node while a load level is measured there.

Experiments on one node share its memory bandwidth and PCIe, whatever cores they are pinned to. A
steady neighbour is nearly invisible; one that starts its engine costs a fifth of the throughput
or more, so a level that was measured meanwhile is marked as disturbed.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from experiments.database import read_or
from experiments.experiment import Experiment
from experiments.states import Status


@dataclass(frozen=True)
class Neighbours:
    """How many other experiments were on the node, of any task, jobs among them.

    Each counts once: as `starting` when it was DEPLOYING at any moment of the time, else as
    `steady`.
    """

    steady: int = 0
    starting: int = 0


class Watch:
    """Looks at the other experiments on the node of `experiment` from now on.

    It reads the rows at both ends of the time: one that waits again for another attempt has
    forgotten where it was. Without the database nobody is seen.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.since = timezone.now()
        self._seen = self._present()

    def until_now(self) -> Neighbours:
        """Who was there between the beginning and now."""
        seen = self._seen | self._present()
        starting = sum(seen.values())
        return Neighbours(steady=len(seen) - starting, starting=starting)

    def _present(self) -> dict[int, bool]:
        return read_or({}, lambda: present(self.experiment, self.since))


def somebody_starts(experiment: Experiment) -> bool:
    """Whether another experiment on its node starts its engine now."""
    starting = Experiment.objects.filter(node=experiment.node, status=Status.DEPLOYING)
    return read_or(False, lambda: starting.exclude(pk=experiment.pk).exists())


def present(experiment: Experiment, since: datetime) -> dict[int, bool]:
    """The others on its node between `since` and now: whether each was starting then."""
    others = Experiment.objects.filter(node=experiment.node, started_at__isnull=False)
    there = others.filter(Q(finished_at__isnull=True) | Q(finished_at__gte=since))
    rows = there.exclude(pk=experiment.pk).values_list("pk", "benchmarking_at")
    return {pk: steady is None or steady >= since for pk, steady in rows}
