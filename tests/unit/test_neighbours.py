"""Who else was on a node while something was measured there."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from experiments import neighbours
from experiments.models import Experiment
from experiments.neighbours import Neighbours, Watch
from experiments.states import Status

Make = Callable[..., Experiment]
NOW = timezone.now()
EARLIER, LONG_AGO = NOW - timedelta(seconds=60), NOW - timedelta(hours=1)


@pytest.fixture
def mine(make_experiment: Make) -> Experiment:
    return make_experiment(status=Status.BENCHMARKING, node="a", started_at=EARLIER)


def test_who_measures_is_steady_and_who_starts_is_starting(
    mine: Experiment, make_experiment: Make
) -> None:
    make_experiment(mine.task, status=Status.DEPLOYING, node="a", started_at=EARLIER)
    make_experiment(
        mine.task,
        status=Status.BENCHMARKING,
        node="a",
        started_at=LONG_AGO,
        benchmarking_at=EARLIER,
    )
    assert Watch(mine).until_now() == Neighbours(steady=1, starting=1)


def test_who_is_elsewhere_waits_or_has_ended_is_no_neighbour(
    mine: Experiment, make_experiment: Make
) -> None:
    make_experiment(mine.task, status=Status.DEPLOYING, node="b", started_at=EARLIER)
    make_experiment(mine.task, status=Status.PLACED, node="a")
    make_experiment(mine.task, status=Status.PENDING)
    done = {"status": Status.SUCCESS, "node": "a", "started_at": LONG_AGO}
    make_experiment(mine.task, **done, benchmarking_at=LONG_AGO, finished_at=EARLIER)
    assert Watch(mine).until_now() == Neighbours()


def test_who_came_or_went_meanwhile_counts(mine: Experiment, make_experiment: Make) -> None:
    steady = {"node": "a", "started_at": LONG_AGO, "benchmarking_at": LONG_AGO}
    goes = make_experiment(mine.task, status=Status.BENCHMARKING, **steady)
    lost = make_experiment(mine.task, status=Status.BENCHMARKING, **steady)
    watch = Watch(mine)
    goes.succeed()
    lost.requeue("its lease ended")  # Its row forgets where it was
    later = timezone.now()
    make_experiment(mine.task, status=Status.FAILED, node="a", started_at=later, finished_at=later)
    assert watch.until_now() == Neighbours(steady=2, starting=1)


def test_who_became_steady_meanwhile_was_starting(mine: Experiment, make_experiment: Make) -> None:
    other = make_experiment(mine.task, status=Status.DEPLOYING, node="a", started_at=EARLIER)
    watch = Watch(mine)
    other.begin_benchmark()
    assert watch.until_now() == Neighbours(starting=1)
    assert Watch(mine).until_now() == Neighbours(steady=1)


def test_without_the_database_nobody_is_seen_and_nothing_fails(
    mine: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> dict[int, bool]:
        raise OperationalError("database is locked")

    monkeypatch.setattr(neighbours, "present", away)
    monkeypatch.setattr("experiments.database.connection", type("Open", (), {"close": list}))
    assert Watch(mine).until_now() == Neighbours()
