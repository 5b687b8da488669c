"""What a task's experiments are for: most search, some measure again what was found."""

from experiments.models import TuningTask

SHARE = 5  # One of so many measures again
WORTH_IT = 10  # experiments; of a smaller budget none is taken from the search


def everything(task: TuningTask) -> int | None:
    """All that there is to try, the baseline included; None when that is not known."""
    size = task.file.space().size()
    return size if size is None or task.engine == "job" else size + 1


def most_experiments(task: TuningTask) -> int:
    """How many there will be at most: the budget, or all that there is to do when that is less."""
    return min(task.max_experiments, to_search(task) + planned_repeats(task))


def to_search(task: TuningTask) -> int:
    """How many experiments will try something new."""
    known = everything(task)
    return search_budget(task) if known is None else min(search_budget(task), known)


def search_budget(task: TuningTask) -> int:
    """How many may try something new.

    A grid is what the user wants to see whole: unless repeats are asked for, it comes first.
    """
    kept = 0 if _is_grid(task) and _asked(task) is None else planned_repeats(task)
    return max(1, task.max_experiments - kept)


def planned_repeats(task: TuningTask) -> int:
    """How many measure the baseline and the finalists again, at most.

    A job says itself what its numbers are worth.
    """
    asked = _asked(task)
    if asked is not None:
        return min(asked, task.max_experiments - 1)
    if task.engine == "job":
        return 0
    known = everything(task)
    tried = task.max_experiments if known is None else min(task.max_experiments, known)
    share = tried // SHARE if task.max_experiments >= WORTH_IT else 0
    return min(share, task.max_experiments - tried) if _is_grid(task) else share


def _asked(task: TuningTask) -> int | None:
    return task.file.optimization.repeats


def _is_grid(task: TuningTask) -> bool:
    return task.file.optimization.strategy == "grid_search"
