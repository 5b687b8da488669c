"""One task that cannot go on holds up no other."""

from collections.abc import Callable

import pytest

from experiments import healing
from experiments.models import TuningTask
from experiments.states import TaskStatus


@pytest.mark.django_db
def test_a_task_that_cannot_go_on_ends_and_the_others_advance(
    make_task: Callable[..., TuningTask],
) -> None:
    good = make_task()
    broken = TuningTask.objects.create(
        name="saved by an older version",
        engine="vllm",
        objective="maximize_throughput",
        specification={"task_name": "x", "no_longer_known": 1},
        status=TaskStatus.RUNNING,
    )
    healing.advance_all()
    broken.refresh_from_db()
    assert broken.status == TaskStatus.FAILED and "no_longer_known" in broken.message
    assert good.experiments.count() == 2
