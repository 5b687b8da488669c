"""Child processes: started clearly, ended whole, and never left behind, whoever dies."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from experiments.log_files import part_before, rotate, tail
from experiments.processes import (
    CannotStart,
    Process,
    listens,
    reserve_port,
    run,
)

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
PATIENCE = 20.0  # seconds; nothing here takes long, but the machine may be busy


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def any_alive(pids: set[int]) -> bool:
    return any(map(is_alive, pids))


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def stubborn(*words: object) -> list[str]:
    return [sys.executable, "-I", "-S", str(PROGRAMS / "stubborn_server.py"), *map(str, words)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "program.log"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test, whatever it does, leaves no child and no zombie."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def start_stubborn(log: Path, children: int, manner: str = "stubborn") -> Process:
    process = Process.start(stubborn(0, children, manner), log=log)
    assert eventually(lambda: "ready" in tail(log)), tail(log)
    assert len(process.descendants()) == children + 1
    return process


# Starting ----------------------------------------------------------------------------------


def test_a_program_runs_with_its_environment_folder_and_log(log: Path, tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ, os.getcwd()); print('bad', file=sys.stderr)"
    log.write_text("before\n")
    with Process.start(python(code), log=log, env={"COLOUR": "red"}, cwd=tmp_path) as process:
        assert process.wait(PATIENCE) == 0
    said = tail(log)
    assert said.startswith("before\n")
    assert "'COLOUR': 'red'" in said and "PATH" not in said
    assert str(tmp_path) in said
    assert "bad" in said


def test_a_program_has_a_session_of_its_own_and_an_empty_input(log: Path) -> None:
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
    with Process.start(python(code), log=log) as process:
        process.wait(PATIENCE)
    assert tail(log) == "True ''\n"


def test_a_program_meets_no_signal_ignored_or_blocked() -> None:
    found = run(["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"], PATIENCE)
    c_library = 0b11 << 31  # Signals 32 and 33 are its own: nobody else can set them
    masks = [int(line.split()[1], 16) & ~c_library for line in found.output.splitlines()]
    assert masks == [0, 0]


def test_a_program_is_pinned_to_its_cores(log: Path) -> None:
    core = max(os.sched_getaffinity(0))
    code = "import os; print(os.sched_getaffinity(0))"
    with Process.start(python(code), log=log, cores={core}) as process:
        process.wait(PATIENCE)
    assert tail(log) == f"{{{core}}}\n"


def test_a_program_that_cannot_start_is_one_clear_line(log: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("not a program")
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    for argv, message in (
        (["no-such-engine"], "executable not found: no-such-engine (it is not in PATH)"),
        (["/no/such/engine"], "executable not found: /no/such/engine"),
        ([str(plain)], f"not executable: {plain}"),
        ([str(tmp_path)], f"not executable: {tmp_path}"),
        ([str(script)], f"cannot execute {script}: the interpreter in its first line is missing"),
        ([], "the command is empty"),
        (["true", "\0"], "cannot start 'true': embedded null byte"),
    ):
        with pytest.raises(CannotStart) as caught:
            Process.start(argv, log=log)
        assert str(caught.value) == message
    with pytest.raises(CannotStart, match="cannot work in the folder /no/such: No such file"):
        Process.start(["true"], log=log, cwd=Path("/no/such"))
    with pytest.raises(CannotStart, match="cannot run on the cores 4095"):
        Process.start(["true"], log=log, cores={4095})
    with pytest.raises(FileNotFoundError):
        Process.start(["true"], log=tmp_path / "no" / "such.log")


# Ending ------------------------------------------------------------------------------------


def test_exit_codes_and_signals_are_reported(log: Path) -> None:
    for code, expected in (
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
    ):
        process = Process.start(python(code), log=log)
        assert process.wait(PATIENCE) == expected
        assert process.poll() == process.wait() == process.stop() == expected
        assert not psutil.pid_exists(process.pid)


def test_waiting_gives_up_when_its_time_is_up(log: Path) -> None:
    with Process.start(["sleep", "600"], log=log) as process:
        assert process.poll() is None
        assert process.wait(0.01) is None
        assert process.fileno() >= 0
        assert psutil.Process(process.pid).name() == "sleep"
    assert process.poll() == -signal.SIGTERM


def test_stop_asks_politely_first(log: Path) -> None:
    trap = "trap 'echo goodbye; exit 7' TERM; echo ready; while true; do sleep 0.01; done"
    process = Process.start(["/bin/sh", "-c", trap], log=log)
    assert eventually(lambda: "ready" in tail(log))
    assert process.stop() == 7
    assert "goodbye" in tail(log)


def test_stop_for_the_main_program_lets_it_end_its_own_children(log: Path) -> None:
    """The child would end at once by a SIGTERM of its own, with another exit code."""
    trap = (
        "sh -c 'while true; do sleep 0.01; done' & child=$!;"
        "trap 'kill -0 $child && kill -9 $child; wait $child; exit $?' TERM;"
        "echo ready; while true; do sleep 0.01; done"
    )
    process = Process.start(["/bin/sh", "-c", trap], log=log)
    assert eventually(lambda: "ready" in tail(log))
    assert process.stop(PATIENCE, only_main=True) == 128 + signal.SIGKILL


def test_stop_ends_what_ignores_it_and_what_has_left_the_session(log: Path) -> None:
    process = start_stubborn(log, children=3)
    family = process.descendants()
    assert process.stop(grace=0.1) == -signal.SIGKILL
    assert not any_alive(family)
    assert process.descendants() == set()


def test_a_program_that_ends_takes_its_orphans_along(log: Path) -> None:
    process = start_stubborn(log, children=2, manner="polite")
    family = process.descendants()
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not any_alive(family)


def test_a_context_ends_its_program_also_after_an_error(log: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Process.start(["sleep", "600"], log=log) as process,
    ):
        raise ZeroDivisionError
    assert not psutil.pid_exists(process.pid)


# Deaths ------------------------------------------------------------------------------------


def test_the_program_dies_with_its_owner(log: Path) -> None:
    argv = [sys.executable, str(PROGRAMS / "process_owner.py"), str(log), *stubborn(0, 2)]
    environment = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        family = {int(pid) for pid in owner.stdout.readline().split()}
        alive = set(filter(is_alive, family))
        owner.kill()
    assert len(family) == 3 and alive == family
    assert eventually(lambda: not any_alive(family))


def test_the_program_dies_with_its_owner_though_a_sibling_holds_the_line(log: Path) -> None:
    """A process forked by the owner inherits its end of the socket, and lives on."""
    reader, writer = os.pipe()
    owner = os.fork()
    if owner == 0:
        process = Process.start(["sleep", "600"], log=log)
        sibling = os.fork()
        if sibling == 0:
            time.sleep(600)
        os.write(writer, f"{process.pid} {sibling}\n".encode())
        time.sleep(600)
    os.close(writer)
    with open(reader) as pipe:
        program, sibling = map(int, pipe.readline().split())
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    assert eventually(lambda: not is_alive(program))
    assert is_alive(sibling)
    os.kill(sibling, signal.SIGKILL)
    assert eventually(lambda: not is_alive(sibling))


def test_a_dead_program_s_own_programs_still_end_their_children_in_order(log: Path) -> None:
    """As the engines of a worker: one that is stopped before its worker would seem to crash."""
    story = log.with_name("story")
    trap = (
        f"sh -c 'trap \"echo child >> {story}; exit\" TERM; while true; do sleep 0.01; done' &"
        f"trap 'sleep 0.2; echo main >> {story}; exit' TERM;"
        "echo ready; while true; do sleep 0.01; done"
    )
    inner = log.with_name("inner.log")
    owner = [sys.executable, str(PROGRAMS / "process_owner.py"), str(inner), "sh", "-c", trap]
    process = Process.start(owner, log=log, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert eventually(lambda: log.read_text().strip())  # It is complete
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert story.read_text().split() == ["main", "child"]


def test_a_killed_keeper_takes_the_program_along(log: Path) -> None:
    process = Process.start(["sleep", "600"], log=log)
    os.kill(psutil.Process(process.pid).ppid(), signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert eventually(lambda: not is_alive(process.pid))


def test_a_keeper_asked_to_end_ends_its_program_first(log: Path) -> None:
    process = start_stubborn(log, children=1, manner="polite")
    family = process.descendants()
    os.kill(psutil.Process(process.pid).ppid(), signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert not any_alive(family)


# Ports and small things --------------------------------------------------------------------


def test_reserved_ports_are_distinct_and_can_be_bound() -> None:
    with ThreadPoolExecutor(8) as threads:
        ports = list(threads.map(lambda _: reserve_port(), range(200)))
    assert len(set(ports)) == len(ports)
    with socket.socket() as somebody, socket.socket() as server:
        somebody.bind(("127.0.0.1", 0))
        assert somebody.getsockname()[1] not in ports
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", ports[0]))


def test_only_the_process_that_listens_listens(log: Path) -> None:
    port = reserve_port()
    with (
        Process.start(stubborn(port, 0, "polite"), log=log) as server,
        Process.start(["sleep", "600"], log=log) as other,
    ):
        assert eventually(lambda: listens(port, server.descendants()))
        assert not listens(port, other.descendants())
        assert not listens(reserve_port(), server.descendants())
    assert not listens(port, {server.pid})


def test_run_returns_the_exit_code_and_all_output() -> None:
    completed = run(["/bin/sh", "-c", "echo out; echo err >&2; exit 4"], PATIENCE)
    assert (completed.exit_code, completed.output) == (4, "out\nerr\n")


def test_run_ends_a_program_whose_time_is_up() -> None:
    completed = run(["/bin/sh", "-c", "echo begun; sleep 600"], timeout=1.0)
    assert (completed.exit_code, completed.output) == (None, "begun\n")


def test_a_tail_is_the_end_of_the_log_in_readable_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_bytes(b"0123456789\xff")
    assert tail(log, max_bytes=3) == "89\N{REPLACEMENT CHARACTER}"


def test_a_log_that_grows_is_kept_below_its_cap_while_it_is_written(log: Path) -> None:
    flood = "i=0; while true; do i=$((i+1)); echo line $i; done"
    cap, highest = 200_000, 0
    with Process.start(["sh", "-c", flood], log=log) as process:
        for _ in range(30):
            process.wait(0.05)
            before = log.stat().st_size
            rotate(log, cap)
            highest = max(highest, log.stat().st_size)
            if before > cap:
                assert cap // 2 <= part_before(log).stat().st_size <= cap
        assert highest <= cap and part_before(log).exists()
    lines = tail(log).split("\n")[1:-1]  # The first and the last one may not be whole
    numbers = [int(line.removeprefix("line ")) for line in lines if re.fullmatch(r"line \d+", line)]
    assert numbers == sorted(numbers)
    # Where the log was emptied, half a line may be lost with what came faster than it was read
    assert numbers and len(lines) - len(numbers) <= 1


def test_a_tail_goes_on_in_the_part_that_was_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x\ny\na\nb\nc\n")
    rotate(log, 8)
    assert (log.read_text(), part_before(log).read_text()) == ("", "b\nc\n")
    log.write_text("d\n")
    assert tail(log) == "b\nc\nd\n" and tail(log, 4) == "c\nd\n" and tail(log, 2) == "d\n"
