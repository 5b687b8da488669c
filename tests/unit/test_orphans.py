"""Rows whose worker process is dead: which they are, and how they go on."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from experiments import orphans
from experiments.errors import BadInput
from experiments.management.commands.worker import seconds_to_drain
from experiments.marks import ProcessId
from experiments.models import Experiment, TuningTask
from experiments.states import FailureKind, Status

Make = Callable[..., Experiment]


@pytest.fixture
def dead() -> str:
    process = subprocess.Popen(["sleep", "600"])
    identity = ProcessId.of(process.pid)
    process.kill()
    process.wait()
    return str(identity)


@pytest.fixture
def running(make_task: Callable[..., TuningTask], make_experiment: Make) -> Make:
    task = make_task()

    def make(**fields: Any) -> Experiment:
        here = {"status": Status.BENCHMARKING, "node": settings.NODE}
        return make_experiment(task, **{**here, **fields})

    return make


def test_only_rows_of_this_node_whose_worker_is_dead_are_abandoned(
    running: Make, dead: str
) -> None:
    abandoned = [running(worker=dead), running(worker=dead, status=Status.DEPLOYING)]
    running(worker=str(ProcessId.own()))
    running(worker=dead, node="another")
    running(worker=dead.replace("@", "@not-"))  # Of another machine with this node's name
    running(worker="")  # Of a version that did not say
    running(worker=dead, status=Status.PLACED)  # Nobody has it yet: `heal` rings again
    running(worker=dead, status=Status.SUCCESS)
    assert orphans.abandoned() == abandoned


def test_it_waits_again_as_its_next_attempt(running: Make, dead: str) -> None:
    experiment = running(worker=dead, attempt=1)
    assert orphans.Orphans().look() == [experiment]
    experiment.refresh_from_db()
    assert (experiment.status, experiment.attempt) == (Status.PENDING, 2)
    assert experiment.lease_id == experiment.worker == experiment.error_kind == ""
    assert experiment.moves.get().reason == "its worker process died"
    assert orphans.Orphans().look() == []


def test_its_last_attempt_is_lost_and_one_to_be_cancelled_is_cancelled(
    running: Make, dead: str
) -> None:
    last = running(worker=dead, attempt=3, last_attempt=3)
    unwanted = running(worker=dead, cancel_requested=True)
    assert orphans.Orphans().look() == [last, unwanted]
    last.refresh_from_db()
    assert (last.status, last.error_kind) == (Status.FAILED, FailureKind.LOST)
    unwanted.refresh_from_db()
    assert unwanted.status == Status.CANCELLED


def test_a_worker_that_has_just_ended_was_faster(running: Make, dead: str) -> None:
    experiment = running(worker=dead)
    [found] = orphans.abandoned()
    experiment.succeed(objective_score=1.0, feasible=True)  # Its last word, seen before its end
    assert not orphans.give_back(found)
    experiment.refresh_from_db()
    assert experiment.status == Status.SUCCESS


def test_how_long_a_drain_may_take() -> None:
    assert seconds_to_drain(None) == 0
    assert seconds_to_drain("30m") == 1800
    assert seconds_to_drain("") == float("inf")
    with pytest.raises(BadInput, match="--drain"):
        seconds_to_drain("soon")
