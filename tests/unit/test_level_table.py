"""The load levels of an experiment on its page."""

from experiments.level_table import level_table
from experiments.models import Experiment


def level(**metrics: float) -> dict[str, object]:
    return {"label": "1", "metrics": {"output_throughput": 50.0, **metrics}}


def test_power_and_cost_have_a_column_where_a_level_has_them() -> None:
    bare = level_table(Experiment(levels=[level()]))
    assert "tok/J" not in bare and ">50<" in bare
    html = level_table(Experiment(levels=[level(), level(power_w=301.5, tokens_per_joule=0.17)]))
    assert ">301.5<" in html and ">tok/J<" in html and "Cost of" not in html


def test_a_job_has_no_levels_to_show() -> None:
    assert level_table(Experiment(levels=[])) == ""
