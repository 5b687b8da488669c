"""The best configuration on a task's page, beside the engine's defaults."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import explaining, exports, findings, picture, reports, roles, watching, winner
from experiments.models import Experiment, TuningTask
from tests.unit.conftest import succeeded


def level(label: str, speed: float, wait: float) -> dict[str, Any]:
    return {"label": label, "metrics": {"output_throughput": speed, "ttft_mean": wait}}


def test_the_winner_is_compared_with_the_defaults_at_each_load_level(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()
    base = succeeded(objective_score=100.0, levels=[level("one", 100.0, 0.1)])
    best = succeeded(
        objective_score=200.0, levels=[level("one", 150.0, 0.2), level("two", 250.0, 0.3)]
    )
    made = [make_experiment(task, is_baseline=True, **base), make_experiment(task, **best)]
    found = winner.winner(task, findings.found_by(task, made), [])
    assert found is not None
    one, two = found["levels"]
    speed, wait, _ = one["cells"]
    assert speed == {"before": "100", "now": "150", "change": "+50.0%", "tone": "good"}
    assert wait == {"before": "100", "now": "200", "change": "+100%", "tone": "bad"}
    assert two["label"] == "two" and two["cells"][0]["before"] == ""
    html = picture.draw(task.pk, roles.Rights()).fragments["winner"]
    assert "+50.0%" in html and 'data-copy="#command"' in html


def test_what_was_measured_again_is_shown_by_the_measurement_nearest_to_all_that_count(
    make_task: Callable[..., TuningTask], make_experiment: Callable[..., Experiment]
) -> None:
    task = make_task()

    def made(speed: float, **columns: Any) -> Experiment:
        metrics, levels = {"output_throughput": speed}, [level("one", speed, 0.1)]
        measured = succeeded(objective_score=speed, metrics=metrics, levels=levels)
        return make_experiment(task, **measured, **columns)

    made(100.0, is_baseline=True)
    made(400.0, parameters={"max-num-seqs": 2}, pruned=True)  # An estimate, and a lucky one
    for speed in (120.0, 108.0):
        made(speed, repeat_of=1)
    for speed in (190.0, 400.0, 210.0):
        made(speed, repeat_of=2, parameters={"max-num-seqs": 2})
    found = findings.found_by(task, list(task.experiments.all()))
    shown = winner.winner(task, found, [])
    assert shown is not None and shown["number"] == 2
    assert shown["figures"].startswith("Single figures are those of #4 (defaults) and #7 (best), ")
    assert shown["figures"] in exports.as_markdown(task)
    cell = shown["levels"][0]["cells"][0]
    assert (cell["before"], cell["now"], cell["change"]) == ("108", "210", "+94.4%")
    (line,) = explaining.levels(task, found)
    assert (line["baseline"], line["winner"]) == (108.0, 210.0)
    document = reports.document(task)
    assert document["best"]["number"] == 2 and document["best"]["measured_by"] == 7
    assert document["best"]["metrics"] == {"output_throughput": 210.0}
    assert document["certainty"]["baseline_score"] == pytest.approx((100 * 120 * 108) ** (1 / 3))
    gain = next(one for one in watching.outcome(task) if one.startswith("gain"))
    assert gain.endswith("real (109)")
