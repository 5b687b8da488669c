"""The load levels of an experiment as a table."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

from experiments.level_table import level_table
from experiments.models import Experiment

Make = Callable[..., Experiment]
QUIET = {"steady": 2, "starting": 0}
BUSY = {"steady": 0, "starting": 1}


def level(label: str = "D(1,1) · concurrency 4", **fields: Any) -> dict[str, Any]:
    metrics = {"output_throughput": 412.0, "ttft_mean": 0.05}
    found = {"metrics": metrics, "seconds": 12.3, "neighbours": QUIET, "disturbed": False}
    return {"label": label, "feasible": True, "violations": [], **found, **fields}


def cells(experiment: Experiment) -> list[list[str]]:
    """The texts of the table, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", level_table(experiment), re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]
        for row in rows[1:]
        if (found := re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL))
    ]


def test_a_level_shows_its_figures_how_sure_they_are_and_who_was_there(
    make_experiment: Make,
) -> None:
    one = level(standard_errors={"output_throughput": 0.0123})
    (row,) = cells(make_experiment(levels=[one]))
    assert row == [
        *("D(1,1) · concurrency 4", "412", "50", "", "± 1.2%", "12 s", "2 steady", ""),
    ]


def test_a_level_that_was_measured_twice_shows_both_and_which_one_does_not_count(
    make_experiment: Make,
) -> None:
    before = level(neighbours=BUSY, disturbed=True)
    counts, superseded = cells(make_experiment(levels=[level(superseded=before)]))
    assert counts[-2:] == ["2 steady", ""]
    assert superseded[0].endswith("not counted")
    assert superseded[-2:] == ["1 starting", "disturbed: a neighbour started meanwhile"]


def test_a_level_that_was_stopped_says_why_and_what_it_missed(make_experiment: Make) -> None:
    missed = level(feasible=False, violations=["error rate 2.0% is above 1.0%"])
    (row,) = cells(make_experiment(levels=[missed | {"stopped_early": "2 requests failed"}]))
    assert row[0].endswith("misses the objectives")
    assert row[-1] == "error rate 2.0% is above 1.0%; stopped early: 2 requests failed"


def test_an_older_level_has_no_marks(make_experiment: Make) -> None:
    old = {"label": "c1", "metrics": {}, "feasible": True, "violations": []}
    assert cells(make_experiment(levels=[old])) == [["c1", "", "", "", "", "0 s", "none", ""]]


def test_a_job_has_no_table(make_experiment: Make) -> None:
    assert level_table(make_experiment()) == ""


def test_a_label_is_text_and_no_html(make_experiment: Make) -> None:
    assert "<b>" not in level_table(make_experiment(levels=[level("<b>")]))
