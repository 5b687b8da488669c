"""Who gets GPUs, as far as the rows say it."""

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from experiments import dispatch
from experiments.models import Experiment, TuningTask
from experiments.states import Status


def test_the_usual_duration_is_the_mean_of_the_last_that_ended(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    now = timezone.now()
    for seconds in (1000.0, *[10.0, 20.0] * (dispatch.LAST // 2)):
        make_experiment(
            task,
            status=Status.SUCCESS,
            started_at=now - timedelta(seconds=seconds),
            finished_at=now,
        )
    make_experiment(task, status=Status.DEPLOYING, started_at=now)
    assert dispatch.usual_duration([task.pk, task.pk + 1]) == {task.pk: 15.0}
