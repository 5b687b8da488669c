"""A service that is killed is started for ever; one that ends by itself again and again is not."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from experiments import services
from experiments.log_files import LOG_CAP
from experiments.services import Service, ServiceFailed


@pytest.fixture
def service(settings: LazySettings, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    settings.LOG_DIR = tmp_path
    made = []

    def make(code: str) -> Service:
        made.append(Service("service", [sys.executable, "-I", "-S", "-c", code]))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.grace = 0.1
        one.stop()


def watch(service: Service, until: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not until():
        assert time.monotonic() < give_up
        service.keep_running()
        time.sleep(0.01)


def kill(service: Service) -> None:
    assert service.process is not None
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()


def test_a_killed_service_is_started_again_however_often(
    service: Callable[[str], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "LONGEST_PAUSE", 0.2)
    sleeper = service("import time; time.sleep(600)")
    pids = set()
    for _ in range(services.FAULTS_ALLOWED + 3):
        assert sleeper.process is not None
        pids.add(sleeper.process.pid)
        kill(sleeper)
        watch(sleeper, sleeper.is_up)
    assert len(pids) == services.FAULTS_ALLOWED + 3


def test_its_pause_grows_and_has_an_end(service: Callable[[str], Service]) -> None:
    sleeper = service("import time; time.sleep(600)")
    pauses = []
    for _ in range(6):
        kill(sleeper)
        before = time.monotonic()
        sleeper.keep_running()
        pauses.append(sleeper.start_at - before)
        sleeper.start()
    assert [round(pause, 1) for pause in pauses] == [0.5, 1, 2, 4, 5, 5]


def test_one_that_ends_by_itself_at_once_does_not_stay_up(
    service: Callable[[str], Service],
) -> None:
    broken = service("print('no such module'); raise SystemExit(3)")
    with pytest.raises(ServiceFailed, match="no such module"):
        watch(broken, lambda: False)
    assert broken.faults == services.FAULTS_ALLOWED


def test_one_that_has_worked_before_is_never_given_up(
    service: Callable[[str], Service], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(services, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(services, "QUICK_DEATH", 0.5)
    away = tmp_path / "away"
    flaky = service(f"import os, time; time.sleep(0 if os.path.exists({str(away)!r}) else 600)")
    time.sleep(1)
    kill(flaky)
    away.touch()
    watch(flaky, lambda: flaky.faults > services.FAULTS_ALLOWED)
    away.unlink()
    watch(flaky, flaky.is_up)


def test_the_log_of_a_service_has_a_cap(service: Callable[[str], Service]) -> None:
    sleeper = service("import time; time.sleep(600)")
    with open(sleeper.log, "ab") as log:
        log.write(bytes(LOG_CAP + 1))
    sleeper.keep_running()
    assert sleeper.log.stat().st_size == 0
    assert sleeper.log.with_name("service.log.1").stat().st_size == LOG_CAP // 2
