"""The best configuration on a task's page, beside the engine's defaults."""

from collections.abc import Callable
from typing import Any

from experiments import picture, roles, tuning, winner
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
    found = winner.winner(task, tuning.found_by(task, made), [])
    assert found is not None
    one, two = found["levels"]
    speed, wait, _ = one["cells"]
    assert speed == {"before": "100", "now": "150", "change": "+50.0%", "tone": "good"}
    assert wait == {"before": "100", "now": "200", "change": "+100%", "tone": "bad"}
    assert two["label"] == "two" and two["cells"][0]["before"] == ""
    html = picture.draw(task.pk, roles.Rights()).fragments["winner"]
    assert "+50.0%" in html and 'data-copy="#command"' in html
