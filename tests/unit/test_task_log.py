"""The log on a task's page: everything that happened, the newest first."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import audit, picture, roles, steering, task_log
from experiments.models import Experiment, TuningTask
from experiments.states import Action, FailureKind, Status
from gpupool import Lease


@pytest.fixture
def done(make_experiment: Callable[..., Experiment], lease: Lease) -> Experiment:
    """It was measured, and scored 100."""
    one = make_experiment()
    one.place(lease)
    one.start(["vllm"])
    one.begin_benchmark()
    one.succeed(objective_score=100.0, feasible=True)
    return one


def lines(task: TuningTask) -> list[task_log.Line]:
    return task_log.lines(task, list(task.experiments.order_by("number")), [])


def said(task: TuningTask) -> list[str]:
    return [line.text for line in lines(task)]


def test_it_says_what_became_of_an_experiment_the_newest_first(done: Experiment) -> None:
    assert said(done.task) == [
        "100",
        "its engine answers after 0 s; it is measured",
        "starts its engine",
        "has 1 GPU on node-1",
        "the task is made",
    ]


def test_a_failure_and_what_people_did_are_in_it(done: Experiment, lease: Lease) -> None:
    audit.record("ann", Action.LIMIT, done.task, "1 → 2 experiments at once")
    audit.record("ann", Action.DRAIN, done.task.name, "a node of the same name")
    audit.record("ann", Action.PAUSE, "another task")
    failed = Experiment.objects.create(task=done.task, number=2, parameters={})
    failed.place(lease)
    failed.fail(FailureKind.OUT_OF_MEMORY, "no memory left")
    assert said(done.task)[:3] == [
        "failed: no memory left",
        "has 1 GPU on node-1",
        "limit changed: 1 → 2 experiments at once",
    ]


def test_it_says_who_did_what_and_what_the_system_did(done: Experiment, lease: Lease) -> None:
    task = done.task
    other = Experiment.objects.create(task=task, number=2, parameters={})
    TuningTask.objects.update(started_at=task.created_at)
    task.refresh_from_db()
    steering.act("pause", "ann", task, {})
    steering.act("resume", "shell:bob", task, {})
    steering.act("cancel", "eve", task, {"experiment": "2"})
    audit.record("kim", Action.QUARANTINE, lease.gpus[0], "fan noise; for 1 h")
    audit.record("kim", Action.QUARANTINE, "another GPU", "not ours")
    waits = Experiment.objects.create(task=task, number=3, parameters={})
    waits.place(lease)
    waits.put_back("no worker came")
    waits.cancel()
    task.finish("enough")
    known = {(line.text, line.by, line.experiment) for line in lines(task)}
    for text, by, one in (
        *(("paused", "ann", None), ("resumed", "shell:bob", None), ("cancelled: #2", "eve", None)),
        *(("cancelled", "eve", other), ("the search starts", "the system", None)),
        ("waits again: no worker came", "the system", waits),
        ("COMPLETED: enough", "the system", None),
        (f"GPU quarantined {lease.gpus[0]}: fan noise; for 1 h", "kim", None),
    ):
        assert (text, by, one) in known, known
    html = picture.draw(task.pk, roles.Rights()).fragments["log"]
    assert "by bob at the shell" in html and "not ours" not in html


def test_it_is_bounded_and_leads_to_the_experiment(done: Experiment, monkeypatch: Any) -> None:
    monkeypatch.setattr(task_log, "SHOWN", 2)
    html = picture.draw(done.task_id, roles.Rights()).fragments["log"]
    assert html.count("<li") == 2 and f"/experiment/{done.pk}/change/" in html
    assert html.count("<time") == 2 and f'data-n="{done.number}"' in html


def test_what_waits_again_says_why(done: Experiment) -> None:
    lost = Experiment.objects.create(task=done.task, number=2, parameters={})
    lost.status = Status.FAILED
    lost.save()
    lost.retry("a person wants it")
    assert said(done.task)[0] == "waits again: a person wants it"


def test_markup_in_a_reason_is_only_text(done: Experiment) -> None:
    bad = Experiment.objects.create(task=done.task, number=2, parameters={})
    bad.fail(FailureKind.BAD_FLAG, "<script>alert(1)</script>")
    assert "<script>" not in picture.draw(done.task_id, roles.Rights()).fragments["log"]
