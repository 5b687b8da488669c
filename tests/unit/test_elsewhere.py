"""What earlier tasks say is taken over only from the same engine, model, hardware and flags."""

from typing import Any

import pytest

from experiments.elsewhere import Translation, outcomes
from experiments.models import Experiment, TuningTask
from experiments.provenance import asked, workload
from experiments.states import FailureKind, Status
from experiments.taskfile import TaskFile, from_dict
from tests.unit.conftest import SPECIFICATION


def task_file(**fields: Any) -> TaskFile:
    return from_dict({**SPECIFICATION, **fields})


@pytest.mark.parametrize(
    ("parameters", "fixed", "expected"),
    [
        ({"max_num_seqs": 4, "block-size": 16}, {}, {"max-num-seqs": 4, "block_size": 16}),
        ({"max-num-seqs": 4}, {"block-size": 16}, {"max-num-seqs": 4, "block_size": 16}),
        ({"max-num-seqs": 4}, {}, {"max-num-seqs": 4}),
        ({"max-num-seqs": 4, "block-size": 16}, {"served-model-name": "x"}, ...),
        ({"max-num-seqs": 4, "block-size": 16, "dtype": "half"}, {}, None),
        ({"max-num-seqs": 4, "block-size": 16, "env.OMP": "2"}, {}, None),
    ],
)
def test_flags_are_read_as_a_configuration_of_this_space(
    parameters: dict[str, Any], fixed: dict[str, Any], expected: Any
) -> None:
    there = task_file(parameters={"x": [1]}, engine={"arguments": fixed})
    here = task_file(parameters={"max-num-seqs": [4, 8], "block_size": [16, 32]})
    if expected is ...:
        expected = {"max-num-seqs": 4, "block_size": 16}
    assert Translation(here)(asked(there, parameters)) == expected


def test_fixed_flags_and_variables_must_be_the_same() -> None:
    there = task_file(parameters={"x": [1]}, engine={"env": {"A": "1"}, "arguments": {"y": 1.0}})
    flags = asked(there, {"x": 1})
    same = task_file(parameters={"x": [1, 2]}, engine={"env": {"A": "1"}, "arguments": {"y": 1}})
    assert Translation(same)(flags) == {"x": 1}
    for engine in ({"arguments": {"y": 1}}, {"env": {"A": "2"}, "arguments": {"y": 1}}, {}):
        assert Translation(task_file(parameters={"x": [1, 2]}, engine=engine))(flags) is None


def test_a_workload_is_what_is_sent_and_not_what_it_is_judged_by() -> None:
    one = task_file()
    assert workload(one) == workload(task_file(slo={"ttft": {"threshold": 1.0}}))
    assert workload(one) != workload(task_file(benchmark={"num_concurrency": [2]}))
    seeded = {**SPECIFICATION["optimization"], "seed": 7}
    assert workload(one) != workload(task_file(optimization=seeded))


@pytest.mark.django_db
def test_only_the_same_fingerprint_is_asked() -> None:
    tasks = []
    for number, fingerprint in enumerate(("a", "b", "a")):
        task = TuningTask()
        task.describe(task_file(task_name=f"task {number}"))
        task.save()
        Experiment.objects.create(
            task=task,
            number=1,
            parameters={},
            status=Status.FAILED,
            error_kind=FailureKind.OUT_OF_MEMORY,
            error_message="too little",
            reached=0.0,
            fingerprint=fingerprint,
            environment={"flags": {"max-num-seqs": number, "enable-prefix-caching": True}},
        )
        tasks.append(task)
    (said,) = outcomes(tasks[2])
    assert said.name == "task task 0 #1" and said.is_elsewhere
    assert said.configuration["max-num-seqs"] == 0
    Experiment.objects.filter(task=tasks[2]).delete()
    # Before its first experiment runs: where its engine and model ran last
    assert [one.name for one in outcomes(tasks[2])] == ["task task 1 #1"]
