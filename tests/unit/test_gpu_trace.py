"""Readings of GPUs stay few however long it takes, and lose neither means nor peaks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.gpu_trace import FEWEST_POINTS, MOST_POINTS, QUANTITIES, Trace
from gpupool import GpuReading


def reading(utilization: float | None = 0.5, power_w: float | None = 300.0) -> GpuReading:
    return GpuReading(utilization, 40_000, 81_920, power_w, 60)


@given(st.integers(0, 1300), st.integers(1, 12))
@settings(max_examples=20)
def test_a_long_time_has_no_more_points_than_a_short_one(samples: int, gpus: int) -> None:
    names = [f"GPU-{number}" for number in range(gpus)]
    trace = Trace(names)
    for at in range(samples):
        trace.add(float(at), dict.fromkeys(names, reading()))
    document = trace.document()
    assert len(document["at"]) <= min(MOST_POINTS, max(FEWEST_POINTS, 600 // gpus))
    assert len(document["at"]) >= min(samples, FEWEST_POINTS // 2)
    assert document["at"] == sorted(document["at"])
    for quantities in document["gpus"].values():
        assert {len(line) for line in quantities.values()} == {len(document["at"])}


def test_the_mean_and_the_peak_are_those_of_all_samples() -> None:
    trace = Trace(["GPU-a"])
    for at in range(1000):
        trace.add(float(at), {"GPU-a": reading(1.0 if at == 777 else 0.0, 100.0 + at % 2)})
    found = trace.summary()["GPU-a"]
    assert found["utilization"] == {"mean": 0.001, "max": 1.0}
    assert found["power_w"] == {"mean": 100.5, "max": 101.0}
    assert found["memory_total_mb"] == 81_920
    line = trace.document()["gpus"]["GPU-a"]["utilization"]
    assert sum(line) * trace.stride == pytest.approx(1.0)  # Smeared, and not left out


def test_what_a_gpu_does_not_tell_is_not_made_up() -> None:
    trace = Trace(["GPU-a", "GPU-b"])
    trace.add(0.0, {"GPU-a": GpuReading(None, 1000, 2000, None, None)})
    trace.add(1.0, {})
    assert trace.document()["gpus"]["GPU-a"] == {
        "utilization": [None, None],
        "memory_used_mb": [1000.0, None],
        "power_w": [None, None],
        "temperature_c": [None, None],
    }
    assert set(trace.summary()["GPU-a"]) == {"memory_total_mb", "memory_used_mb"}
    assert trace.summary()["GPU-b"] == {"memory_total_mb": None}
    assert set(trace.document()["gpus"]["GPU-b"]) == set(QUANTITIES)


def test_each_phase_is_noted_where_it_begins() -> None:
    trace = Trace(["GPU-a"])
    for at, phase in enumerate(["start", "start", "level 1", "level 1", "", "level 2"]):
        trace.add(float(at), {}, phase)
    assert trace.document()["phases"] == [[0.0, "start"], [2.0, "level 1"], [5.0, "level 2"]]
