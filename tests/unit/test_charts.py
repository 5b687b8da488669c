"""What the charts of a task's page draw."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import charts, picture, roles
from experiments.models import Experiment, TuningTask
from experiments.states import Status

Made = list[Experiment]


@pytest.fixture
def made(make_experiment: Callable[..., Experiment], make_task: Callable[..., TuningTask]) -> Made:
    """Scores of 10, 30, a failure, 90 that misses the objectives, 20, and 50: the best."""
    task = make_task(max_iterations=11)
    done = {"status": Status.SUCCESS, "feasible": True}

    def one(batch: int, cache: bool, **fields: Any) -> Experiment:
        values = {"max-num-seqs": batch, "enable-prefix-caching": cache}
        return make_experiment(task, parameters=values, **fields)

    return [
        one(1, True, objective_score=10.0, **done),
        one(2, True, objective_score=30.0, **done),
        one(4, True, status=Status.FAILED, error_kind="out_of_memory"),
        one(4, False, objective_score=90.0, **{**done, "feasible": False}),
        one(1, False, objective_score=20.0, **done),
        one(2, False, objective_score=50.0, **done),
    ]


def search(made: Made) -> dict[str, Any]:
    found = charts.search(made[0].task, made, made[-1])
    assert found is not None
    return found


def parallel(made: Made) -> dict[str, Any]:
    found = charts.parallel(made[0].task, made, made[-1])
    assert found is not None
    return found


def test_each_outcome_has_a_mark_of_its_own(made: Made) -> None:
    kinds = [one["kind"] for one in search(made)["marks"]]
    assert kinds == ["met", "met", "failed", "missed", "met", "best"]


def test_numbers_run_over_the_whole_budget_and_higher_scores_are_higher(made: Made) -> None:
    marks = search(made)["marks"]
    assert [one["x"] for one in marks] == ["0%", "10%", "20%", "30%", "40%", "50%"]
    assert (marks[0]["y"], marks[3]["y"], marks[2]["y"]) == ("94%", "6%", "100%")


def test_the_line_rises_only_with_what_meets_the_objectives(made: Made) -> None:
    assert charts.improvements(made[0].task, made) == [(1, 10.0), (2, 30.0), (6, 50.0)]
    line = search(made)["line"]
    assert line[0] == ("0%", "94%", "10%", "94%") and len(line) == 5
    assert line[-1][0] == line[-1][2] == "50%"


def test_a_mark_says_its_experiment(made: Made) -> None:
    titles = [one["title"] for one in search(made)["marks"]]
    assert titles[1:3] == ["#2: SUCCESS, 30 tok/s", "#3: FAILED, out_of_memory"]
    best = parallel(made)["lines"][-1]
    assert best["title"] == "#6: SUCCESS, 50 tok/s\nmax-num-seqs=2, enable-prefix-caching=false"


def test_nothing_is_drawn_before_the_first_score(made: Made) -> None:
    nothing = {"search": None, "parallel": None}
    assert charts.charts(made[2].task, [made[2]], None) == nothing
    assert charts.charts(made[2].task, [], None) == nothing


def test_a_line_goes_through_its_values_to_its_score(made: Made) -> None:
    found = parallel(made)
    titles = [axis.title for _, axis in found["axes"]]
    assert titles == ["max-num-seqs", "enable-prefix-caching", "tok/s"]
    lines = {one["number"]: one for one in found["lines"]}
    assert lines[1]["points"] == "0,1000 500,0 1000,1000"
    assert lines[4]["points"] == "0,0 500,1000 1000,0"
    assert 3 not in lines and found["lines"][-1]["kind"] == "best"
    assert (lines[1]["band"], lines[4]["band"], lines[4]["kind"]) == (0, 4, "missed")


def test_less_is_on_top_where_less_is_better(make_task: Callable[..., TuningTask]) -> None:
    task = make_task(objective="minimize_ttft_p90")
    scored = [Experiment(objective_score=score) for score in (0.1, 0.3, 0.2)]
    score = charts.Score(task, scored)
    assert [score.at(one) for one in scored] == pytest.approx([1.0, 0.0, 0.5])
    assert score.labels == [("100%", "300"), ("50%", "200"), ("0%", "100")]


def test_too_little_is_not_drawn_as_parallel_coordinates(made: Made) -> None:
    task = made[0].task
    assert charts.parallel(task, made[:3], None) is None  # Two scores
    assert charts.parallel(task, [made[0], made[1], made[1]], None) is None  # One varies


def test_a_parameter_that_is_not_set_is_at_the_bottom(made: Made) -> None:
    made[0].parameters = {}
    axis = charts.Axis("max-num-seqs", made)
    assert axis.labels == [
        ("100%", "not set"),
        *(("66.67%", "1"), ("33.33%", "2"), ("0%", "4")),
    ]
    assert axis.at(None) == 0.0


@pytest.mark.parametrize(("factor", "middle"), [(1, 4 / 8), (3, 1 / 2)])
def test_many_numbers_are_on_a_scale_and_a_wide_one_is_logarithmic(
    factor: int, middle: float
) -> None:
    values = [factor**i if factor > 1 else i + 1 for i in range(9)]
    axis = charts.Axis("x", [Experiment(parameters={"x": value}) for value in values])
    assert axis.is_scale and axis.at(values[4]) == pytest.approx(middle)
    assert [place for place, _ in axis.labels] == ["100%", "0%"]


def test_of_a_long_task_the_newest_and_the_best_are_drawn(made: Made, monkeypatch: Any) -> None:
    monkeypatch.setattr(charts, "MOST_MARKS", 3)
    monkeypatch.setattr(charts, "MOST_LINES", 4)
    assert [one["number"] for one in search(made)["marks"]] == [1, 2, 4, 5, 6]
    assert {one["number"] for one in parallel(made)["lines"]} == {2, 4, 5, 6}
    assert parallel(made)["left_out"] == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (3207, 13096, [4000, 6000, 8000, 10000, 12000]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (5, 5, [5]),
    ],
)
def test_values_beside_an_axis_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_a_number_is_never_written_twice_below() -> None:
    assert charts.whole_ticks(2) == [1, 2]
    assert charts.whole_ticks(12) == [1, 2, 4, 6, 8, 10, 12]


def test_the_page_marks_an_experiment_in_every_part(made: Made) -> None:
    html = picture.draw(made[0].task_id, roles.Rights()).fragments
    for part, marks in {"strip": 1, "charts": 2, "rows": 1}.items():
        assert html[part].count('data-n="6"') == marks, part
    assert html["strip"].count("at-planned") == 5  # Of eleven


def test_markup_in_a_value_is_only_text(made: Made) -> None:
    made[0].parameters = {"max-num-seqs": "<script>", "enable-prefix-caching": True}
    made[0].save()
    assert "<script>" not in picture.draw(made[0].task_id, roles.Rights()).fragments["charts"]
