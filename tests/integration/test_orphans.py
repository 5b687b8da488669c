"""A process whose worker is dead is known by its mark, and by nothing else, and is ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from experiments import demo_models
from experiments.marks import MARK, Mark, ProcessId, clean_environment, mark_of, marked
from experiments.orphans import KEEPER_HAS, Orphans
from experiments.pool import is_ours, site
from experiments.processes import reserve_port
from tests.integration.product import until

PATIENCE = 20.0

# What vLLM does: it writes a title over its command line, and over what lies behind it
TITLED = """
import os, time
title = b"VLLM::EngineCore " * 400
with open("/proc/self/stat") as stat:
    words = stat.read().split()
start, end = int(words[49]), int(words[50])
import ctypes
if not os.environ.get("SPT_NOENV"):
    ctypes.memmove(start, title, min(len(title), end - start))
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def child(mark: Mark | None, argv: list[str] | None = None) -> Iterator[ProcessId]:
    """A program with this mark, in a session of its own."""
    environment = clean_environment(os.environ, mark)
    program = argv or ["sleep", "600"]
    process = subprocess.Popen(program, env=environment, start_new_session=True)
    try:
        until(lambda: mark is None or mark_of(process.pid) == mark, PATIENCE)
        identity = ProcessId.of(process.pid)
        assert identity is not None
        yield identity
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def dead() -> ProcessId:
    """A process that has ended, and was collected."""
    process = subprocess.Popen(["sleep", "600"])
    identity = ProcessId.of(process.pid)
    process.kill()
    process.wait()
    assert identity is not None and identity.is_dead()
    return identity


def lives(process: ProcessId) -> bool:
    return ProcessId.of(process.pid) == process


def carriers(mark: Mark) -> list[ProcessId]:
    return [process for process, found in marked() if found == mark]


def looked_at(orphans: Orphans) -> set[str]:
    """The holders that were found at two looks, with the keepers' time in between."""
    found = orphans.end()
    time.sleep(KEEPER_HAS)
    return found | orphans.end()


def test_only_what_is_ours_and_has_lost_its_owner_is_ended(dead: ProcessId) -> None:
    me = ProcessId.own()
    another = ProcessId(me.pid, me.start + 1, me.machine)  # It had our pid before us
    elsewhere = ProcessId(dead.pid, dead.start, "00000000")
    with (
        child(Mark(site(), me, "experiment:1:1")) as owned,
        child(Mark("another-site", dead, "experiment:2:1")) as foreign,
        child(Mark(site(), elsewhere, "experiment:3:1")) as unknown,
        child(None) as unmarked,
        child(Mark(site(), dead, "experiment:4:1")) as orphan,
        child(Mark(site(), another, "experiment:5:1")) as second,
    ):
        orphans = Orphans()
        assert orphans.end() == {"experiment:4:1", "experiment:5:1"}
        assert lives(orphan) and lives(second)  # Their keepers have the first word
        assert looked_at(orphans) == {"experiment:4:1", "experiment:5:1"}
        until(lambda: not lives(orphan) and not lives(second), PATIENCE)
        assert orphans.end() == set()
        assert all(map(lives, (owned, foreign, unknown, unmarked)))
        assert is_ours(owned.pid) and is_ours(unknown.pid)
        assert not is_ours(foreign.pid) and not is_ours(unmarked.pid)


def test_children_in_sessions_of_their_own_are_ended_too(dead: ProcessId) -> None:
    mark = Mark(site(), dead, "experiment:6:1")
    script = "setsid sh -c 'sleep 600; true' & setsid sleep 600 & wait"
    with child(mark, ["sh", "-c", script]):
        until(lambda: len(carriers(mark)) == 4, PATIENCE)
        Orphans().end_all()
        assert carriers(mark) == []


def test_a_mark_outlives_a_title(dead: ProcessId) -> None:
    mark = Mark(site(), dead, "experiment:7:1")
    with child(mark, [sys.executable, "-c", TITLED]) as titled:
        time.sleep(0.5)
        assert mark_of(titled.pid) == mark
    # Without our variable the title is all that is there
    environment = {**os.environ, MARK: str(mark)}
    with subprocess.Popen(
        [sys.executable, "-c", TITLED], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert mark_of(process.pid) is None
        process.kill()


def test_a_reused_pid_is_never_hit() -> None:
    with child(None) as process:
        before = ProcessId(process.pid, process.start - 1, process.machine)
        assert before.is_dead()
        before.kill()
        time.sleep(0.1)
        assert lives(process)
        process.kill()
        until(lambda: not lives(process), PATIENCE)


def test_a_zombie_is_dead_and_a_stopped_process_lives() -> None:
    process = subprocess.Popen(["sleep", "600"])
    identity = ProcessId.of(process.pid)
    assert identity is not None
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    assert not identity.is_dead()
    process.kill()
    until(identity.is_dead, PATIENCE)  # Nobody has waited for it yet
    process.wait()


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("vllm"), reason="vllm is not on the PATH")
def test_a_real_vllm_is_found_by_its_mark_and_ended_whole(dead: ProcessId, tmp_path: Path) -> None:
    """Its engine has a process of its own, which writes a title over its environment."""
    model = str(demo_models.write_folder(tmp_path / "model"))
    flags = ["--load-format", "dummy", "--enforce-eager", "--max-model-len", "1024"]
    flags += ["--dtype", "float32", "--port", str(reserve_port())]
    mark = Mark(site(), dead, "experiment:8:1")
    environment = {**clean_environment(os.environ, mark), "VLLM_CPU_KVCACHE_SPACE": "1"}
    argv = ["vllm", "serve", model, *flags]
    with subprocess.Popen(argv, env=environment, start_new_session=True) as server:
        whole = psutil.Process(server.pid)

        def titles() -> list[str]:
            return [" ".join(one.cmdline()) for one in whole.children(recursive=True)]

        until(lambda: any("EngineCore" in title for title in titles()), 200)
        family = {server.pid, *(one.pid for one in whole.children(recursive=True))}
        assert family <= {process.pid for process in carriers(mark)}, titles()
        Orphans().end_all()
        server.wait(20)
    assert carriers(mark) == []
