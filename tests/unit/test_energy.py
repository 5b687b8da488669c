"""Power, energy and cost of a load level; the readings are a function's."""

import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.benchmarks.base import Measurement
from experiments.energy import PowerMeter, costed, energy, with_cost, with_energy

METRICS = {"duration": 10.0, "output_tokens": 5000.0, "output_throughput": 500.0}
RAMP = [(at / 2, 100.0 + 10 * at) for at in range(41)]  # 20 s, from 100 W up by 20 W a second


def test_the_energy_is_the_area_below_the_readings():
    assert energy(RAMP, 0.0, 20.0) == pytest.approx(20 * 300)
    assert energy(RAMP, 5.25, 5.75) == pytest.approx(0.5 * 210)  # Between two readings, too


@given(st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(0, 20)))
def test_the_energies_of_two_parts_are_that_of_the_whole(moments):
    begin, middle, end = sorted(moments)
    parts = [energy(RAMP, begin, middle) or 0.0, energy(RAMP, middle, end) or 0.0]
    assert sum(parts) == pytest.approx(energy(RAMP, begin, end) or 0.0, abs=1e-6)


def test_at_the_ends_the_nearest_reading_counts_and_longer_nothing_is_known():
    readings = [(10.0, 100.0), (11.0, 100.0)]
    assert energy(readings, 9.5, 11.5) == pytest.approx(200.0)
    assert energy(readings, 5.0, 11.0) is None
    assert energy(readings, 1.0, 2.0) is None
    assert energy([(0.0, 100.0), (9.0, 100.0)], 0.0, 9.0) is None
    assert energy([], 0.0, 1.0) is None and energy(readings, 10.0, 10.0) is None


def test_a_level_has_the_energy_of_the_time_that_was_measured():
    found = with_energy(METRICS, RAMP, measured_until=15.0)  # Not of the warm-up before 5 s
    assert found["power_w"] == pytest.approx(300.0)
    assert found["energy_j"] == pytest.approx(3000.0)
    assert found["tokens_per_joule"] == pytest.approx(5000 / 3000)


@pytest.mark.parametrize("readings", [[], [(100.0, 70.0)]])
def test_without_readings_there_is_no_energy_and_never_a_made_up_one(readings):
    assert with_energy(METRICS, readings, measured_until=15.0) == METRICS


def test_a_million_tokens_cost_the_hours_of_all_gpus():
    found = with_cost(METRICS, gpus=2, price_per_gpu_hour=3.6)
    assert found["cost_per_million_tokens"] == pytest.approx(3.6 * 2 / 3600 / 500 * 1e6)
    assert with_cost(METRICS, gpus=2, price_per_gpu_hour=None) == METRICS
    nothing = {**METRICS, "output_throughput": 0.0}
    assert with_cost(nothing, gpus=2, price_per_gpu_hour=3.6) == nothing


def test_a_level_ended_when_its_report_was_written(tmp_path: Path):
    report = tmp_path / "level.json"
    report.touch()
    os.utime(report, (time.time() - 100, time.time() - 100))
    now = time.monotonic()
    readings = [(now - 200 + at, 50.0 if at < 105 else 9000.0) for at in range(200)]
    done = costed(Measurement(METRICS), readings, report, gpus=1, price_per_gpu_hour=1.0)
    assert done.metrics["power_w"] == pytest.approx(50.0)
    assert "cost_per_million_tokens" in done.metrics


def test_a_meter_reads_until_it_is_closed():
    watts = itertools.count(1)
    with PowerMeter(lambda: float(next(watts)), every=0.001) as meter:
        while len(meter.readings) < 5:
            time.sleep(0.001)
    read = list(meter.readings)
    assert [power for _, power in read] == [float(n + 1) for n in range(len(read))]
    assert read == sorted(read)
    time.sleep(0.01)
    assert meter.readings == read


def test_where_no_power_is_told_nobody_asks_again():
    asked: list[None] = []
    with PowerMeter(lambda: asked.append(None), every=0.001) as meter:
        meter._thread.join(10)
        assert not meter._thread.is_alive()
    assert meter.readings == [] and len(asked) == 1
