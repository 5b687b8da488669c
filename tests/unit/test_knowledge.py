"""What is known to fail is not tried again, is shown, and can be tried all the same."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import ended, knowledge, tuning
from experiments.models import Experiment, TuningTask, Veto
from experiments.space import Configuration
from experiments.states import FailureKind, Status, TaskStatus, VetoState
from experiments.strategies import STRATEGIES
from experiments.taskfile import from_dict
from tests.unit.conftest import SPECIFICATION

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]
Cause = tuple[FailureKind, str] | None

SPACE = {"dtype": ["half", "float3"], "max-num-seqs": [1, 2, 4, 8], "block-size": [16, 32]}
REFUSED = (
    FailureKind.BAD_FLAG,
    "argument --dtype: invalid choice: 'float3' (choose from 'auto', 'half')",
)


@pytest.fixture
def make_search(db: None) -> Callable[..., TuningTask]:
    def make(name: str = "search", parameters: Any = SPACE, **optimization: Any) -> TuningTask:
        task = TuningTask(status=TaskStatus.RUNNING)
        options = {"max_iterations": 100, "max_parallel_experiments": 1, **optimization}
        task.describe(
            from_dict(
                {
                    **SPECIFICATION,
                    "task_name": name,
                    "parameters": parameters,
                    "optimization": {**SPECIFICATION["optimization"], **options},
                }
            )
        )
        task.save()
        return task

    return make


def run(task: TuningTask, cause: Callable[[Configuration], Cause], most: int = 100) -> None:
    """Let the task go on to its end, or over so many experiments; each ends as `cause` says."""
    for _ in range(most):
        tuning.advance(task.pk)
        if task.experiments.exclude(status__in=(Status.SUCCESS, Status.FAILED)).count() == 0:
            break
        end(task, cause)
    task.refresh_from_db()


def end(task: TuningTask, cause: Callable[[Configuration], Cause]) -> None:
    for one in task.experiments.filter(status=Status.PENDING):
        columns: dict[str, Any] = {"status": Status.SUCCESS, "feasible": True}
        columns["objective_score"] = float(one.number)
        if failure := cause(one.parameters):
            columns = {"status": Status.FAILED, "error_where": "start", "reached": 0.0}
            columns |= {"error_kind": failure[0], "error_message": failure[1]}
        Experiment.objects.filter(pk=one.pk).update(**columns)


def refuses_float3(configuration: Configuration) -> Cause:
    return REFUSED if configuration.get("dtype") == "float3" else None


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_value_that_the_engine_refused_is_tried_once(
    make_search: MakeTask, strategy: str
) -> None:
    task = make_search(strategy=strategy)
    run(task, refuses_float3)
    failed = task.experiments.filter(status=Status.FAILED)
    assert failed.count() == 1 and task.experiments.count() == 1 + 8 + 1
    vetoes = list(task.vetoes.all())
    assert len(vetoes) == 7 and all(veto.state == VetoState.STANDING for veto in vetoes)
    assert all(veto.parameters["dtype"] == "float3" for veto in vetoes)
    first = failed.get()
    assert vetoes[0].reason.startswith(f"dtype=float3 was refused in #{first.number}: argument")
    assert vetoes[0].sources == [f"#{first.number}"] and vetoes[0].chance == 1.0


def test_a_task_that_ends_says_what_it_has_not_tried(make_search: MakeTask) -> None:
    task = make_search()
    run(task, refuses_float3)
    assert task.message == (
        "every configuration was tried, but 7 that would have failed: see its vetoes"
    )
    nothing = make_search("nothing", {"dtype": ["float3", "float4"]})
    run(nothing, lambda configuration: REFUSED)
    assert nothing.message.startswith("no experiment worked")


def test_who_does_not_want_it_has_everything_tried(make_search: MakeTask) -> None:
    task = make_search(skip_known_failures=False)
    run(task, refuses_float3)
    assert task.experiments.count() == 1 + 16 and not task.vetoes.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"error_may_pass": True},
        {"error_kind": FailureKind.LOST},
        {"error_kind": FailureKind.CANCELLED},
        {"error_kind": FailureKind.TIMEOUT, "reached": 0.5},
        {"error_kind": FailureKind.START_TIMEOUT},
        {"error_kind": FailureKind.ENGINE_CRASHED, "reached": 0.5},
        {"reached": None},  # Refused before the engine was asked
    ],
)
def test_what_is_not_the_configurations_fault_is_held_against_nothing(
    make_search: MakeTask, make_experiment: Make, fields: dict[str, Any]
) -> None:
    kind, message = REFUSED
    row = {"status": Status.FAILED, "error_kind": kind, "reached": 0.0, **fields}
    one = make_experiment(make_search(), parameters={}, error_message=message, **row)
    assert not any(outcome.kind for outcome in ended.outcomes(one.task))


def test_an_uncertain_veto_is_lifted_by_what_works(make_search: MakeTask) -> None:
    """Two failures of two; then the third, which was tried all the same, works."""
    task = make_search(parameters={"block-size": [7, 8, 16, 32], "max-num-seqs": [1, 2, 4, 8, 16]})

    def crashes(configuration: Configuration) -> Cause:
        is_bad = configuration.get("block-size") == 7 and configuration["max-num-seqs"] in (1, 4)
        return (FailureKind.ENGINE_CRASHED, "ValueError: No common block size") if is_bad else None

    run(task, crashes)
    assert task.experiments.count() == 1 + 20  # Nothing that works was lost
    assert not task.vetoes.filter(state=VetoState.STANDING).exists()


def test_what_is_overruled_is_tried_next(make_search: MakeTask) -> None:
    task = make_search(max_iterations=6)
    run(task, refuses_float3, most=3)
    Veto.objects.bulk_create(
        Veto(
            task=task,
            key=knowledge.short_key(task.file.space().key(configuration)),
            parameters=configuration,
            state=VetoState.OVERRULED,
            kind=FailureKind.BAD_FLAG,
            chance=1.0,
            reason="",
        )
        for configuration in [{"dtype": "float3", "max-num-seqs": 8, "block-size": 32}]
    )
    tuning.advance(task.pk)
    last = task.experiments.order_by("number").last()
    assert last is not None and last.parameters["dtype"] == "float3"
    end(task, refuses_float3)
    tuning.advance(task.pk)
    last = task.experiments.order_by("number").last()
    assert last is not None and last.parameters["dtype"] == "half"
