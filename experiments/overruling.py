"""A person lets a task try what it would not: its vetoes are overruled."""

from experiments import audit, budget, knowledge
from experiments.actions import Done, Said, held, reopen
from experiments.errors import BadInput
from experiments.models import TuningTask, Veto
from experiments.operations import whole_numbers
from experiments.states import Action, VetoState
from experiments.vetoes import spoken_for

ALL = "all"
# A lifted one stands again when something fails, and who overrules it does not want that
STILL_IN_FORCE = (VetoState.STANDING, VetoState.LIFTED)


def overrule(actor: str, task: TuningTask, said: Said) -> Done:
    """Vetoed configurations are tried next: those that are named, or all that stand.

    A task that has ended runs again, if there is something left of its budget.
    """
    with held(task) as task:
        chosen = named(task, said.get("veto"))
        new = [veto for veto in chosen if veto.state in STILL_IN_FORCE]
        if not new:
            return Done(f"{spoken_for(chosen)} of {task} is overruled already", task)
        left = budget.to_search(task) - task.experiments.filter(repeat_of=None).count()
        if left < 1:
            raise BadInput(
                "ID", f"{task} has nothing left of its budget for a search; extend it first"
            )
        audit.record(actor, Action.OVERRULE, task, spoken_for(new))
        Veto.objects.filter(pk__in=[veto.pk for veto in new]).update(state=VetoState.OVERRULED)
        if task.has_ended:
            reopen(task)
        else:
            knowledge.push(task)
    tried = "is tried next" if len(new) <= left else f"is tried as far as its budget goes, {left}"
    return Done(f"{spoken_for(new)} of {task} {tried}", task)


def named(task: TuningTask, text: object) -> list[Veto]:
    """The vetoes of these numbers: `3`, `3,5`, a list of them, or `all` that stand."""
    if text in (ALL, [ALL]):
        found = list(task.vetoes.filter(state=VetoState.STANDING))
        if not found:
            raise BadInput("veto", f"{task} has no veto that stands")
        return found
    wanted = whole_numbers("veto", text)
    by_number = {veto.pk: veto for veto in task.vetoes.filter(pk__in=wanted)}
    for number in wanted:
        if number not in by_number:
            raise BadInput("veto", f"{task} has no veto {number}; `manage.py show` lists them")
    return [by_number[number] for number in wanted]
