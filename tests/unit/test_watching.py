"""Who waits for a task is told what it waits for."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from experiments import watching
from experiments.models import Experiment, TuningTask
from experiments.states import Status, TaskStatus


def test_who_waits_for_a_paused_task_is_told_so_and_goes_on_waiting(
    make_task: Callable[..., TuningTask],
    make_experiment: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.0)
    task = make_task(TaskStatus.PAUSED)
    done: dict[str, Any] = {"status": Status.SUCCESS, "objective_score": 1.0, "feasible": True}
    make_experiment(task, **done)
    looks = iter([lambda: None, task.resume, task.pause, task.resume, task.finish])
    text = StringIO()
    ended = watching.watch(
        TuningTask.objects.get(), Console(file=text, width=200), lambda: next(looks)()
    )
    assert ended.status == TaskStatus.COMPLETED
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("#1")
    said = f"task is paused: `manage.py resume {task.pk}` lets it go on"
    assert [line for line in lines if "paused" in line] == [said, said]


def test_the_winner_of_several_objectives_is_told_with_its_front(
    task_with_a_front: TuningTask,
) -> None:
    last = task_with_a_front.experiments.get(number=5)
    words = "output_throughput 150 tok/s, ttft_p90 0.5 s"
    assert watching.one_line(last) == f"#5   success    {words}  max-num-seqs=5"
    lines = watching.outcome(task_with_a_front)
    assert lines[0].startswith("winner          #5")
    assert lines[1] == f"objectives      {words}"
    assert lines[2] == (
        "Pareto front    #4   output_throughput 300 tok/s (+200.0%), ttft_p90 1.5 s (-50.0%), "
        "measured 1 ×"
    )
    assert lines[3].startswith("                #5   ")
    assert lines[-2] == (
        "gain            all objectives together: +73.2% over the engine's defaults; nothing was "
        "measured twice, so the noise is not known (output_throughput 100 tok/s, ttft_p90 1 s)"
    )
    assert lines[-1].startswith("launch command  vllm serve")
