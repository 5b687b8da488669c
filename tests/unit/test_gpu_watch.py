"""An attempt's GPUs are watched, without harm to the attempt; and drawn on its page."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client

from experiments import gpu_readings, gpu_watch, reports
from experiments.gpu_watch import GpuWatch
from experiments.models import Experiment, GpuReadings
from experiments.sampling import Sampling
from experiments.states import FailureKind
from gpupool import GpuReading, Lease, open_inventory
from tests.unit.conftest import url

pytestmark = pytest.mark.usefixtures("site")
MakeExperiment = Callable[..., Experiment]
Read = Callable[[], Mapping[str, GpuReading] | None]
NOW = GpuReading(0.876, 40_000, 81_920, 412.4, 61)


@pytest.fixture
def running(make_experiment: MakeExperiment, lease: Lease) -> Experiment:
    experiment = make_experiment()
    experiment.place(lease)
    experiment.start(["serve"], environment={"hardware": "Simulated GPU, 81920 MiB"})
    return experiment


def watched(
    experiment: Experiment, lease: Lease, read: Read, samples: int = 3, may_write: bool = True
) -> GpuWatch:
    """One watch that has looked so many times, or has ended by itself."""
    seen = 0
    looked = threading.Event()

    def look() -> Mapping[str, GpuReading] | None:
        nonlocal seen
        seen += 1
        if seen > samples:
            looked.set()
        return read()

    watch = GpuWatch(
        *(experiment, lease, look),
        phase=lambda: "start" if seen < 2 else "level 1 of 1: D(1,1) · 4",
        may_write=lambda: may_write,
        every=0.001,
    )
    with watch:
        while watch._thread.is_alive() and not looked.is_set():
            time.sleep(0.001)
    return watch


def test_the_readings_are_kept_and_the_thread_ends(running: Experiment, lease: Lease) -> None:
    watch = watched(running, lease, lambda: {"GPU-1": NOW})
    assert not watch._thread.is_alive()
    row = running.gpu_readings.get()
    assert row.attempt == 1 and row.seconds > 0
    assert row.summary["GPU-1"]["power_w"] == {"mean": 412.4, "max": 412.4}
    assert [name for _, name in row.data["phases"]] == ["start", "level 1 of 1: D(1,1) · 4"]


def test_they_are_written_while_it_runs(
    running: Experiment, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "KEEP_EVERY", 0.0)
    watch = GpuWatch(
        *(running, lease, lambda: {"GPU-1": NOW}), phase=lambda: "", may_write=lambda: True
    )
    watch.keep()  # Before it is open, and the GPUs are proved free
    with watch:
        while not running.gpu_readings.exists():
            watch.keep()


@pytest.mark.parametrize("inventory", ["simulated:1", "cpu:1"])
def test_nothing_is_made_up_for_what_is_no_gpu(
    inventory: str, running: Experiment, lease: Lease, admin_client: Client
) -> None:
    read = open_inventory(inventory, "n1").readings
    watched(running, lease, lambda: read(["x"]))
    assert not GpuReadings.objects.exists()
    running.fail(FailureKind.TIMEOUT, "too slow")
    page = admin_client.get(url("experiment_gpus", running.pk)).content.decode()
    assert "No readings: Simulated GPU, 81920 MiB told none" in page and "<svg" not in page


def failing() -> Mapping[str, GpuReading]:
    raise OSError("the driver is broken")


def test_a_driver_that_fails_ends_the_watch_and_nothing_else(
    running: Experiment, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watched(running, lease, failing)
    assert not watch._thread.is_alive() and "the driver is broken" in caplog.text
    assert not GpuReadings.objects.exists()


def test_a_database_that_is_away_costs_the_picture_only(
    running: Experiment, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(gpu_readings, "keep", away)
    monkeypatch.setattr(gpu_watch.connection, "close", lambda: None)
    watched(running, lease, lambda: {"GPU-1": NOW})


def test_who_has_lost_the_lease_writes_nothing(running: Experiment, lease: Lease) -> None:
    watched(running, lease, lambda: {"GPU-1": NOW}, may_write=False)
    assert not GpuReadings.objects.exists()


def test_each_attempt_has_its_own(running: Experiment, lease: Lease, admin_client: Client) -> None:
    watched(running, lease, lambda: {"GPU-1": NOW})
    running.fail(FailureKind.TIMEOUT, "too slow")
    running.retry("again")
    running.place(lease)
    running.start(["serve"])
    watched(running, lease, lambda: {"GPU-1": GpuReading(None, 20_000, 81_920, 99.0, 40)})
    first, second = reports.document(running.task)["experiments"][0]["gpu_readings"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["gpus"]["GPU-1"]["utilization"]["max"] == 0.876
    assert second["gpus"]["GPU-1"]["power_w"]["max"] == 99.0
    page = admin_client.get(url("experiment_change", running.pk)).content.decode()
    assert "Attempt 1," in page
    for text in ("87.6 %", "412 W", "39.1 GiB", "61 °C", "99 W", "Not told by this GPU"):
        assert text in page, text
    assert "level 1 of 1: D(1,1) · 4" in page


def test_the_page_asks_again_while_it_runs_and_is_sent_only_what_is_new(
    running: Experiment, lease: Lease, admin_client: Client
) -> None:
    watched(running, lease, lambda: {"GPU-1": NOW})
    part = admin_client.get(url("experiment_gpus", running.pk)).content.decode()
    assert 'hx-trigger="every 2s"' in part and 'role="slider"' in part
    seen = {"seen": part.split("?seen=")[1].split('"')[0]}
    assert admin_client.get(url("experiment_gpus", running.pk), seen).status_code == 204
    running.fail(FailureKind.TIMEOUT, "too slow")
    ended = admin_client.get(url("experiment_gpus", running.pk), seen).content.decode()
    assert "412 W" in ended and "hx-get" not in ended


def test_readings_are_for_those_who_may_view_experiments(running: Experiment) -> None:
    client = Client()
    address = url("experiment_gpus", running.pk)
    assert client.get(address).status_code == 302
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(address).status_code == 403


def test_a_sampling_ends_when_it_is_closed() -> None:
    taken: list[None] = []
    with Sampling(lambda: taken.append(None) is None, 0.001, "test") as sampling:
        while len(taken) < 3:
            time.sleep(0.001)
    assert not sampling._thread.is_alive()
