"""Jobs: the command is the measurement."""

import math

import pytest

from experiments.engines.job import Job, job_environment, read_metrics
from experiments.states import FailureKind


def test_parameters_are_variables_of_a_job() -> None:
    assert job_environment({"max-num-seqs": 4, "share": 0.7 + 0.15, "on": True, "a.b": "x"}) == {
        "AUTOTUNER_MAX_NUM_SEQS": "4",
        "AUTOTUNER_SHARE": "0.85",
        "AUTOTUNER_ON": "true",
        "AUTOTUNER_A_B": "x",
    }


@pytest.mark.parametrize(
    ("log", "metrics"),
    [
        ('{"loss": 0.5, "steps": 10}\n', {"loss": 0.5, "steps": 10.0}),
        ('{"a": 1}\nnoise\n{"a": 2}\nbye\n', {"a": 2.0}),
        ('{"a": 1}\n{"name": "x"}\n', {"a": 1.0}),
        ('{"a": 1}\n{"ok": true}\n', {"a": 1.0}),
        ('{"a": 1}\n{"b": null}\n{"c": {}}\n{}\n', {"a": 1.0}),
        ('{"a": 1}\n[1, 2]\n3\n{broken\n', {"a": 1.0}),
        ('  {"a": 1}  \r\n', {"a": 1.0}),
        ("{" + '"a":{' * 5000, {}),
        ('{"a": 1' + "0" * 400 + "}", {}),
        ('{"a": 1' + "0" * 5000 + "}", {}),
        ("", {}),
    ],
)
def test_the_last_object_of_numbers_is_the_metrics(log: str, metrics: dict[str, float]) -> None:
    assert read_metrics(log) == metrics


def test_numbers_that_are_not_finite_are_left_for_the_scorer() -> None:
    metrics = read_metrics('{"a": NaN, "b": -Infinity, "c": 1e999}')
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"]) == (-math.inf, math.inf)


def test_a_failed_jobs_last_words_are_the_reason() -> None:
    log = "ValueError: this one was handled\nstep 3\nno data left\n\n"
    explanation = Job().explain(3, log)
    assert explanation.kind == FailureKind.ENGINE_CRASHED
    assert explanation.message == "ended with exit code 3: no data left"


def test_a_job_without_words_says_how_it_ended() -> None:
    assert Job().explain(-11, "").message == "ended by SIGSEGV: it said nothing"
    assert Job().explain(-9, "step 3").kind == FailureKind.OUT_OF_MEMORY
    assert Job().explain(1, "torch.OutOfMemoryError: CUDA").kind == FailureKind.OUT_OF_MEMORY
