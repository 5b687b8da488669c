"""What experiments say of their flags: those without effect, and configurations that are one."""

from collections import defaultdict
from collections.abc import Sequence

from experiments import masking
from experiments.engines import ENGINES
from experiments.engines.effective import Settings, differing, name_of, settings_of
from experiments.models import Experiment
from experiments.taskfile import TaskFile


def said(file: TaskFile, log: str) -> Settings:
    """What the engine says of the flags that the task file knows, from the log of its start."""
    every = ENGINES[file.base_runtime].effective(log) or {}
    known = {name_of(flag) for flag in (*file.space().names, *file.fixed_flags())}
    return {name: value for name, value in every.items() if name in known}


def without_effect(experiment: Experiment) -> list[str]:
    """Each flag with which the engine says that it does not run."""
    flags = masking.data(experiment.environment.get("flags", {}))
    return differing(flags, masking.data(experiment.effective))


def twins(experiments: Sequence[Experiment]) -> dict[int, list[int]]:
    """By number, the older experiments that ran with the same settings, by other parameters.

    Only of those whose engine says what it runs with; a repeat is meant to be the same.
    """
    alike: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    found = {}
    for one in sorted(experiments, key=lambda experiment: experiment.number):
        if not one.effective or one.repeat_of is not None:
            continue
        flags = one.environment.get("flags", {})
        older = alike[tuple(sorted(settings_of(flags, one.effective).items()))]
        if older:
            found[one.number] = list(older)
        older.append(one.number)
    return found


def remarks(experiments: Sequence[Experiment]) -> dict[int, list[str]]:
    """By number, what is worth knowing of an experiment beside its parameters."""
    same = twins(experiments)
    found = {}
    for one in experiments:
        older = ", ".join(f"#{number}" for number in same.get(one.number, []))
        said = [one.measured_as] if one.measured_as else []
        said += without_effect(one)
        said += [f"the same settings as {older}"] if older else []
        if said:
            found[one.number] = said
    return found
