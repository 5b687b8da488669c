"""What people and programs are told of a task's vetoes."""

from collections.abc import Sequence
from typing import Any

from experiments import masking
from experiments.figures import plain
from experiments.markdown import row
from experiments.models import TuningTask, Veto
from experiments.states import VetoState

SHOWN = 50  # on the page, and in the terminal; all are in `show --json`

MOST_NAMED = 10  # in one sentence

STATES = {
    VetoState.STANDING: "not tried",
    VetoState.LIFTED: "may be tried: something worked",
    VetoState.TESTED: "tried, to learn whether it is true",
    VetoState.OVERRULED: "tried: overruled",
}


def document(task: TuningTask) -> list[dict[str, Any]]:
    """All of them, for `show --json`."""
    return [
        {
            "number": veto.pk,
            "state": veto.state,
            "parameters": veto.parameters,
            "kind": veto.kind,
            "chance": round(veto.chance, 3),
            "reason": veto.reason,
            "sources": veto.sources,
            "created_at": veto.created_at.isoformat(),
        }
        for veto in task.vetoes.all()
    ]


def newest(task: TuningTask) -> tuple[list[Veto], bool]:
    """Those that are shown to people, and whether there are more."""
    found = list(task.vetoes.order_by("-pk")[: SHOWN + 1])
    return found[:SHOWN], len(found) > SHOWN


def lines(task: TuningTask) -> list[str]:
    """For the terminal."""
    shown, more = newest(task)
    if not shown:
        return []
    said = [f"not tried, for they are known to fail (`manage.py overrule {task.pk} N` tries N):"]
    for veto in shown:
        said.append(f"  {veto.pk:<4} {chosen(veto)}  {STATES[VetoState(veto.state)]}")
        said.append(f"       {veto.kind}, {veto.chance:.0%}: {veto.reason}")
    return said + (
        [f"  … the newest {SHOWN}; all: `manage.py show {task.pk} --json`"] if more else []
    )


def chosen(veto: Veto) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs(veto))


def pairs(veto: Veto) -> list[tuple[str, str]]:
    """Its parameters, as people see them."""
    return [(name, plain(value)) for name, value in masking.data(veto.parameters).items()]


def markdown(task: TuningTask) -> list[str]:
    """A section of the report; none without a veto."""
    shown, more = newest(task)
    if not shown:
        return []
    table = ["", "## Not tried: known to fail", "", "| | parameters | why |", "|---|---|---|"]
    for veto in shown:
        cells = [STATES[VetoState(veto.state)], chosen(veto), f"{veto.kind}: {veto.reason}"]
        table.append(row(cells))
    return table + (["", f"The newest {SHOWN}."] if more else [])


def on_page(task: TuningTask) -> dict[str, Any]:
    """What the live page shows of them."""
    shown, more = newest(task)
    standing = sum(veto.state == VetoState.STANDING for veto in shown)
    return {
        "vetoes": [_row(veto) for veto in shown],
        "vetoes_standing": standing,
        "vetoes_more": more,
    }


def _row(veto: Veto) -> dict[str, Any]:
    return {
        "number": veto.pk,
        "at": veto.created_at,
        "parameters": pairs(veto),
        "state": STATES[VetoState(veto.state)],
        "tone": "bad" if veto.state == VetoState.STANDING else "gone",
        "kind": veto.kind,
        "chance": f"{veto.chance:.0%}",
        "reason": veto.reason,
        "may_overrule": veto.state == VetoState.STANDING,
    }


def spoken_for(vetoes: Sequence[Veto]) -> str:
    """Some vetoes in few words."""
    if len(vetoes) > MOST_NAMED:
        return f"{len(vetoes)} vetoes"
    return "veto " + ", ".join(str(veto.pk) for veto in vetoes)
