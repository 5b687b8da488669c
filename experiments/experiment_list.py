"""The list of experiments: its pages, and one filter that Django has not."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from experiments.models import Experiment

NEWEST = 1000  # experiments, whose GPUs can be chosen


class ExperimentList(ChangeList):  # type: ignore[misc]
    """A page of experiments."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.result_count:
            # What was searched in vain was counted: it is not searched a second time
            self.result_list = Experiment.objects.none()

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> list[str]:
        """Those that are equal go in the same direction: so an index has them."""
        first, *others = (str(name) for name in super().get_ordering(request, queryset))
        sign = "-" if first.startswith("-") else ""
        return [first, *(sign + name.removeprefix("-") for name in others)]


class GpuFilter(admin.SimpleListFilter):
    """Those that ran on one GPU, alone or beside others."""

    title = "GPU"
    parameter_name = "gpu"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The GPUs of the newest experiments; and the one that is asked for."""
        placed = Experiment.objects.order_by("-pk").values_list("node", "gpu_uuids")[:NEWEST]
        found = {(node, gpu) for node, gpus in placed for gpu in gpus}
        asked = request.GET.get(self.parameter_name)
        if asked and asked not in {gpu for _, gpu in found}:
            found.add(("", asked))
        return [(gpu, f"{gpu[-8:]} on {node}" if node else gpu) for node, gpu in sorted(found)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Experiment]
    ) -> QuerySet[Experiment]:
        gpu = self.value()
        return queryset.filter(gpu_uuids__contains=f'"{gpu}"') if gpu else queryset
