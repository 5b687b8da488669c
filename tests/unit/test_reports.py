"""Results as documents."""

import csv
import io
import json
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from experiments import exports, reports, watching
from experiments.models import Experiment, TuningTask
from experiments.states import FailureKind, Status

MakeTask = Callable[..., TuningTask]
Make = Callable[..., Experiment]


@pytest.fixture
def finished(make_task: MakeTask, make_experiment: Make) -> TuningTask:
    """A baseline of 100, a winner of 118, one that is infeasible, and one that failed."""
    task = make_task()
    done = {"status": Status.SUCCESS, "feasible": True}
    make_experiment(task, parameters={}, is_baseline=True, objective_score=100.0, **done)
    make_experiment(task, parameters={"max-num-seqs": 4}, objective_score=118.0, **done)
    make_experiment(task, objective_score=500.0, status=Status.SUCCESS, feasible=False)
    make_experiment(
        task,
        parameters={"max-num-seqs": "=1+1"},
        status=Status.FAILED,
        error_kind=FailureKind.BAD_FLAG,
        error_message="=cmd|' /C calc'!A0",
        feasible=False,
    )
    return task


def test_the_document_names_winner_command_and_gain(finished: TuningTask) -> None:
    document = reports.document(finished)
    assert document["best"]["number"] == 2
    assert document["best"]["command"] == "vllm serve /models/m --host 127.0.0.1 --port 8000 " + (
        "--max-num-seqs 4"
    )
    assert document["gain"] == pytest.approx(0.18)
    assert document["baseline"]["number"] == 1
    failed = document["experiments"][3]
    assert failed["error"] == {
        "kind": "bad_flag",
        "message": "=cmd|' /C calc'!A0",
        "lines": [],
        "where": "",
        "may_pass": False,
    }


def test_there_is_no_gain_over_a_baseline_that_failed(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    make_experiment(task, parameters={}, is_baseline=True, status=Status.FAILED, feasible=False)
    make_experiment(task, status=Status.SUCCESS, objective_score=5.0, feasible=True)
    document = reports.document(task)
    assert document["best"]["number"] == 2 and document["gain"] is None


def test_the_document_of_several_objectives_has_their_front(task_with_a_front: TuningTask) -> None:
    document = reports.document(task_with_a_front)
    assert document["objective"] == "maximize_throughput, minimize_ttft_p90"
    assert document["objectives"] == [
        {"metric": "output_throughput", "unit": "tok/s", "maximize": True, "weight": 0.5},
        {"metric": "ttft_p90", "unit": "s", "maximize": False, "weight": 0.5},
    ]
    assert document["pareto_front"] == [4, 5]
    assert document["best"]["number"] == 5
    assert document["best"]["objective_values"] == [150.0, 0.5]
    assert document["gain"] == pytest.approx((1.5 * 2) ** 0.5 - 1)


def test_the_document_of_one_objective_has_no_front(finished: TuningTask) -> None:
    document = reports.document(finished)
    assert (document["pareto_front"], len(document["objectives"])) == ([], 1)


def test_the_markdown_report_has_the_front_and_names_the_winner_of_it(
    task_with_a_front: TuningTask,
) -> None:
    text = exports.as_markdown(task_with_a_front)
    assert "**Winner: #5**, score 17.32: all objectives together: +73.2% over" in text
    assert "## Pareto front: 2 of them" in text
    assert "| 4 | 1 × | 300 (+200.0%) | 1.5 (-50.0%) | max-num-seqs=4 |" in text


def test_a_spreadsheet_runs_nothing_from_a_csv(finished: TuningTask) -> None:
    rows = list(csv.DictReader(io.StringIO(exports.as_csv(finished))))
    assert rows[3]["error"].startswith("'=") and rows[3]["max-num-seqs"] == "'=1+1"
    assert rows[1]["objective_score"] == "118.0"


def test_a_csv_of_several_objectives_has_each_and_the_front(task_with_a_front: TuningTask) -> None:
    rows = list(csv.DictReader(io.StringIO(exports.as_csv(task_with_a_front))))
    assert [row["number"] for row in rows if row["on_front"] == "True"] == ["4", "5"]
    assert rows[4]["objective output_throughput"] == "150.0"
    assert rows[4]["objective ttft_p90"] == "0.5" and rows[4]["max-num-seqs"] == "5"


@pytest.mark.parametrize("form", exports.EXPORTS)
def test_every_export_works_before_anything_ran(make_task: MakeTask, form: str) -> None:
    text = exports.EXPORTS[form](make_task())
    assert (text == "") == (form == "command")


def test_the_yaml_export_holds_what_the_json_one_does(finished: TuningTask) -> None:
    from experiments.documents import read_document

    assert read_document(exports.as_yaml(finished)) == read_document(exports.as_json(finished))


def test_a_pruned_experiment_is_said_to_be_so_in_every_export(
    make_task: MakeTask, make_experiment: Make
) -> None:
    task = make_task()
    why = "at c4: 60 tok/s, 40% below #1"
    pruned = {"status": Status.SUCCESS, "feasible": True, "pruned": True, "pruned_why": why}
    make_experiment(task, objective_score=500.0, **pruned)
    document = reports.document(task)
    assert document["best"] is None
    assert document["experiments"][0]["pruned_why"] == why
    assert f"| ≈ 500 | True | max-num-seqs=1 | pruned {why} |" in exports.as_markdown(task)
    assert next(csv.DictReader(io.StringIO(exports.as_csv(task))))["pruned"] == "True"
    assert why in watching.one_line(task.experiments.get())


def test_samples_are_exported_on_demand_and_as_json_only(finished: TuningTask) -> None:
    finished.experiments.get(number=2).samples.create(level="c4", data={"ttft": [0.5, 0.25]})

    def export(*words: str) -> str:
        said = io.StringIO()
        call_command("export", str(finished.pk), *words, stdout=said)
        return said.getvalue()

    assert '"samples"' not in export()
    experiments = json.loads(export("--samples"))["experiments"]
    assert experiments[1]["samples"] == [{"level": "c4", "superseded": False, "ttft": [0.5, 0.25]}]
    with pytest.raises(CommandError, match="--format json only"):
        export("--samples", "--format", "csv")
