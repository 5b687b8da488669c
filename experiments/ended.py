"""What experiments that have ended say of their configurations."""

from collections.abc import Iterator
from typing import NamedTuple

from experiments.feasibility import Outcome
from experiments.models import TuningTask
from experiments.space import Configuration
from experiments.states import FailureKind, Status


class Ended(NamedTuple):
    """What is known of an experiment that has ended."""

    number: int
    parameters: Configuration
    status: str
    error_kind: str
    error_where: str
    error_message: str
    error_may_pass: bool
    reached: float | None


def outcomes(task: TuningTask) -> Iterator[Outcome]:
    """What the experiments of the task say of their configurations."""
    ended = task.experiments.filter(status__in=(Status.SUCCESS, Status.FAILED))
    for row in ended.order_by("number").values_list(*Ended._fields):
        yield from outcome(Ended._make(row))


def outcome(ended: Ended, where: str = "") -> Iterator[Outcome]:
    """What one experiment says, if anything: what may pass, and what was lost, says nothing.

    `where` is the name of its task, if that is another one.
    """
    kind = blamed(ended)
    started = ended.status == Status.SUCCESS or bool(ended.reached)
    if kind or started:
        name = f"task {where} #{ended.number}" if where else f"#{ended.number}"
        message, is_elsewhere = ended.error_message, bool(where)
        yield Outcome(ended.parameters, name, kind, started, message, is_elsewhere)


def blamed(ended: Ended) -> FailureKind | None:
    """The kind of a failure that would come again with the same configuration.

    A crash counts at the start only: later on it may be the load's. One that never was at its
    start (`reached` is None) was not of its engine's making.
    """
    if ended.status != Status.FAILED or ended.error_may_pass or ended.reached is None:
        return None
    always = (FailureKind.BAD_FLAG, FailureKind.OUT_OF_MEMORY)
    at_start = (*always, FailureKind.ENGINE_CRASHED) if not ended.reached else always
    return next((kind for kind in at_start if kind == ended.error_kind), None)
