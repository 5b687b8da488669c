"""What earlier tasks say of a task's configurations, on the same engine, model and hardware."""

from collections.abc import Iterator, Mapping

from experiments.dimensions import Value, identity
from experiments.ended import Ended, outcome
from experiments.engines.flags import ENVIRONMENT_PREFIX, format_value
from experiments.feasibility import Outcome
from experiments.models import Experiment, TuningTask
from experiments.provenance import asked, normal
from experiments.space import Configuration
from experiments.states import Status
from experiments.taskfile import TaskFile

NEWEST = 1000  # experiments of other tasks that are asked


def outcomes(task: TuningTask) -> Iterator[Outcome]:
    """What experiments of other tasks say, the older first, in the words of this task's space."""
    fingerprints = fingerprints_of(task)
    if not fingerprints:
        return
    rows = (
        Experiment.objects.filter(
            fingerprint__in=fingerprints, status__in=(Status.SUCCESS, Status.FAILED)
        )
        .exclude(task=task)
        .order_by("-pk")
        .values_list("task__name", "environment", *Ended._fields)[:NEWEST]
    )
    translate = Translation(task.file)
    for name, environment, *ended in reversed(rows):
        configuration = translate(environment.get("flags", {}))
        if configuration is not None:
            said = Ended._make(ended)._replace(parameters=configuration)
            yield from outcome(said, where=name)


def fingerprints_of(task: TuningTask) -> set[str]:
    """Where the task's experiments run; before the first, where its engine and model ran last."""
    own = task.experiments.exclude(fingerprint="").values_list("fingerprint", flat=True)
    if mine := set(own):
        return mine
    last = Experiment.objects.filter(task__engine=task.engine, task__model=task.model)
    return set(
        last.exclude(fingerprint="").order_by("-pk").values_list("fingerprint", flat=True)[:1]
    )


class Translation:
    """From all the flags of an experiment to a configuration of a task file's space."""

    def __init__(self, file: TaskFile) -> None:
        self.names = {normal(name): name for name in file.space().names}
        self.fixed = {
            name: same(name, value)
            for name, value in asked(file, {}).items()
            if name not in self.names
        }

    def __call__(self, flags: Mapping[str, Value]) -> Configuration | None:
        """None for one that has other fixed flags, or other ones altogether."""
        rest = {name: same(name, x) for name, x in flags.items() if name not in self.names}
        if rest != self.fixed:
            return None
        return {own: flags[name] for name, own in self.names.items() if name in flags}


def same(name: str, value: Value) -> str:
    """Text that is the same for values which the engine is told in the same words."""
    return format_value(value) if name.startswith(ENVIRONMENT_PREFIX) else identity(value)
