"""The raw samples of an experiment: what each request of each load level took."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import models

from experiments.columns import JsonText

if TYPE_CHECKING:
    from experiments.experiment import Experiment


class Samples(models.Model):
    """The requests of one load level that completed, in the order in which they did.

    A level that was measured again has two rows; the one that does not count is `superseded`.
    They are deleted with their experiment.
    """

    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.CASCADE, related_name="samples"
    )
    level = models.CharField(max_length=200)  # Its label
    superseded = models.BooleanField(default=False)
    # ttft, tpot, latency (seconds), input_tokens, output_tokens: a list of numbers each
    data = JsonText(default=dict)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.experiment_id}: {self.level}"


def keep(experiment: "Experiment", samples: Iterable[tuple[str, bool, dict[str, Any]]]) -> None:
    """Write the samples of each level: its label, whether it is superseded, its data."""
    Samples.objects.bulk_create(
        Samples(experiment=experiment, level=level, superseded=superseded, data=data)
        for level, superseded, data in samples
        if data
    )


def documents(experiment: "Experiment") -> Iterator[dict[str, Any]]:
    """The samples of an experiment for an export, level by level."""
    for one in experiment.samples.all():
        yield {"level": one.level, "superseded": one.superseded, **one.data}
