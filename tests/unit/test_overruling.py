"""Vetoes are shown with their reasons, and a person can have them tried all the same."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from experiments import exports, picture, roles, steering, tuning
from experiments.errors import BadInput
from experiments.models import AuditEntry, TuningTask, Veto
from experiments.states import FailureKind, TaskStatus, VetoState
from tests.unit.test_knowledge import make_search, refuses_float3, run

__all__ = ["make_search"]
MakeTask = Callable[..., TuningTask]
pytestmark = pytest.mark.usefixtures("pool")


@pytest.fixture
def ended(make_search: MakeTask) -> TuningTask:
    """Of a space of four, one failed and another one that shares its reason was not tried."""
    task = make_search(parameters={"dtype": ["half", "float3"], "max-num-seqs": [1, 2]})
    run(task, refuses_float3)
    assert (task.status, task.vetoes.count()) == (TaskStatus.COMPLETED, 1)
    return task


def overrule(task: TuningTask, veto: Any) -> str:
    return steering.act("overrule", "ann", task, {"veto": veto}).says


def test_an_ended_task_runs_again_and_tries_what_is_overruled(ended: TuningTask) -> None:
    veto = ended.vetoes.get()
    assert overrule(ended, veto.pk) == f"veto {veto.pk} of search is tried next"
    tuning.advance(ended.pk)
    last = ended.experiments.order_by("number").last()
    assert last is not None and last.parameters == veto.parameters
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.detail) == ("overrule", f"veto {veto.pk}")


def test_what_is_overruled_twice_is_written_down_once(ended: TuningTask) -> None:
    overrule(ended, "all")
    assert "is overruled already" in overrule(ended, ended.vetoes.get().pk)
    assert AuditEntry.objects.count() == 1
    with pytest.raises(BadInput, match="has no veto that stands"):
        overrule(ended, "all")


@pytest.mark.parametrize(
    ("veto", "problem"), [("99999", "has no veto 99999"), ("x", "is not a whole number")]
)
def test_an_unknown_veto_is_one_clear_line(ended: TuningTask, veto: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        overrule(ended, veto)


def test_without_a_budget_nothing_is_overruled(ended: TuningTask) -> None:
    TuningTask.objects.filter(pk=ended.pk).update(max_experiments=ended.experiments.count())
    with pytest.raises(BadInput, match="extend it first"):
        overrule(ended, "all")
    assert ended.vetoes.get().state == VetoState.STANDING


def test_a_veto_is_shown_with_its_reason_everywhere(
    ended: TuningTask, capsys: pytest.CaptureFixture[str]
) -> None:
    veto = ended.vetoes.get()
    reason = "dtype=float3 was refused in #4"
    call_command("show", str(ended.pk))
    assert reason in capsys.readouterr().out
    call_command("show", str(ended.pk), "--json")
    (shown,) = json.loads(capsys.readouterr().out)["vetoes"]
    assert (shown["number"], shown["state"], shown["kind"]) == (veto.pk, "standing", "bad_flag")
    assert shown["parameters"] == veto.parameters and shown["sources"] == ["#4"]
    assert reason in exports.as_markdown(ended)
    fragments = picture.draw(ended.pk, roles.Rights(steer=True)).fragments
    assert reason in fragments["vetoes"] and f'id="overrule-{veto.pk}"' in fragments["vetoes"]
    assert "<button" not in picture.draw(ended.pk, roles.Rights()).fragments["vetoes"]


def test_a_click_and_a_command_overrule(
    ended: TuningTask, admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    address = reverse("admin:experiments_tuningtask_act", args=[ended.pk, "overrule"])
    veto = ended.vetoes.get()
    page = admin_client.post(address, {"veto": veto.pk}, headers={"HX-Request": "true"})
    assert "is tried next" in page.content.decode()
    twin = Veto.objects.create(
        task=ended, key="k", parameters={}, kind=FailureKind.BAD_FLAG, chance=1.0, reason="r"
    )
    call_command("overrule", str(ended.pk), str(twin.pk))
    assert f"veto {twin.pk} of search is tried next" in capsys.readouterr().out
    with pytest.raises(CommandError, match="there is no task"):
        call_command("overrule", "nobody", "all")
