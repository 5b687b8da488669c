"""What every action of a person on a task has: the task for itself, and words of what was done."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from experiments.errors import BadInput, IllegalMove, MovedElsewhere
from experiments.models import TuningTask

Said = Mapping[str, Any]  # What was written, by field


class Done(NamedTuple):
    """What was done, in words for people, and the task that is to be looked at now."""

    says: str
    task: TuningTask


@contextmanager
def held(task: TuningTask) -> Iterator[TuningTask]:
    """The task as it is now, and nobody else's until the end of the block.

    All that is done inside is done, with its audit entry, or nothing is. Raises BadInput for a
    move that is not possible, or that a worker has just made impossible.
    """
    try:
        with transaction.atomic():
            yield task.locked()
    except TuningTask.DoesNotExist:
        raise BadInput("ID", f"{task} was deleted meanwhile") from None
    except (IllegalMove, MovedElsewhere) as error:
        raise BadInput("ID", str(error)) from error


def reopen(task: TuningTask, **changes: Any) -> None:
    """An ended task runs again, also one that was cancelled before its start."""
    task.reopen(started_at=task.started_at or timezone.now(), **changes)
