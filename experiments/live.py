"""The one push: tells every open page which rows changed. It carries ids, never state."""

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

log = logging.getLogger(__name__)

ALL_TASKS = "tasks"


def task_group(task_id: int) -> str:
    """The name under which the pages of one task listen."""
    return f"task.{task_id}"


def push(task_id: int, experiment_id: int | None = None) -> None:
    """Say that this task, or this experiment of it, changed.

    A page that misses it shows the truth at its next frame, so a Redis that is away is no error.
    """
    poke = {"type": "poke", "task": task_id, "experiment": experiment_id}
    layer = get_channel_layer()
    try:
        for group in (task_group(task_id), ALL_TASKS):
            async_to_sync(layer.group_send)(group, poke)
    except Exception as error:  # Whatever the layer raises, the row is already committed.
        log.warning("Live pages were not told of task %s: %s", task_id, error)
