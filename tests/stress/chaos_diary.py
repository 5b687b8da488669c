"""What the jobs of a chaos run have written down, and what must be true of it and of the rows."""

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.states import ENDED, MOVES, Status

ATTEMPTS = 3  # As README.md promises

# Two locks of the kernel, which end with the last process of a job, however that dies: whoever
# begins while another attempt of its experiment, or another user of its GPU, lives, says so.
JOB = """
exec 8>>{folder}/experiment-$AUTOTUNER_X 9>>{folder}/$AUTOTUNER_GPUS
say() {
    printf '%s %s %s %s %s %s\\n' $1 $AUTOTUNER_X ${AUTOTUNER_MARK##* } $$ $AUTOTUNER_GPUS \\
        $(date +%s.%N) >> {folder}/diary
}
flock -n 8 || say overlaps
flock -n 9 || say shares
say begin
sleep {seconds}
say end
echo '{"speed": '$AUTOTUNER_X'}'
"""


def script(folder: Path, seconds: float) -> str:
    """The job's shell script, writing into this folder."""
    return JOB.replace("{folder}", str(folder)).replace("{seconds}", f"{seconds:g}")


@dataclass
class Run:
    """One process of one experiment."""

    number: int
    holder: str
    pid: int
    gpu: str
    begin: float
    end: float | None = None  # None: it did not live to say so

    def __str__(self) -> str:
        return f"#{self.number} {self.holder} {self.pid} {self.gpu} {self.begin:.3f} to {self.end}"


@dataclass
class Diary:
    """Every run, and what the locks have shown."""

    runs: list[Run]
    cries: list[str]

    @classmethod
    def read(cls, path: Path) -> "Diary":
        found: dict[tuple[str, int], Run] = {}
        cries = []
        for line in path.read_text().splitlines():
            what, number, holder, pid, gpu, at = line.split()
            if what == "begin":
                found[holder, int(pid)] = Run(int(number), holder, int(pid), gpu, float(at))
            elif what == "end":
                found[holder, int(pid)].end = float(at)
            else:
                cries.append(line)
        return cls(sorted(found.values(), key=lambda run: run.begin), cries)

    def of(self, number: int) -> list[Run]:
        return [run for run in self.runs if run.number == number]

    @property
    def done_again(self) -> int:
        """Runs that came to their end and whose result was lost with its worker."""
        last = {run.number: run for run in self.runs}
        return sum(run.end is not None and last[run.number] is not run for run in self.runs)


def violations(
    task: dict[str, Any], count: int, diary: Diary, killed: Container[tuple[int, int]]
) -> list[str]:
    """What was promised and not kept, in one task that has ended.

    `killed` holds the x and the attempt of each job that was killed; some die before they can
    write into the diary.
    """
    found = [f"the kernel's locks: {cry}" for cry in diary.cries]
    if task["status"] != "COMPLETED":
        found.append(f"the task is {task['status']}: {task['message']}")
    numbers = [one["number"] for one in task["experiments"]]
    if numbers != list(range(1, count + 1)):
        found.append(f"{len(numbers)} experiments instead of {count}: {numbers}")
    for one in task["experiments"]:
        runs = diary.of(one["parameters"]["x"])
        wrong = wrong_moves(one) + wrong_runs(one, runs, killed)
        found += [f"#{one['number']}: {what}" for what in wrong]
        if wrong:
            print(f"#{one['number']}", *one["moves"], *runs, sep="\n   ")
    return found + shared_gpus(diary.runs)


def wrong_moves(one: dict[str, Any]) -> list[str]:
    """The moves are a chain of legal ones from PENDING to the status, with one end."""
    moves = [(Status(move["from"]), Status(move["to"])) for move in one["moves"]]
    found = [f"illegal move {old} to {new}" for old, new in moves if new not in MOVES[old]]
    found += [f"a gap between {a} and {b}" for a, b in pairwise(moves) if a[1] != b[0]]
    if not moves or moves[0][0] != Status.PENDING or moves[-1][1] != one["status"]:
        found.append(f"its moves do not lead to {one['status']}: {moves}")
    if one["status"] not in ENDED:
        found.append(f"has no result: {one['status']}")
    if sum(new in ENDED for _, new in moves) != 1:
        found.append(f"ended not once: {moves}")
    return found


def wrong_runs(
    one: dict[str, Any], runs: list[Run], killed: Container[tuple[int, int]]
) -> list[str]:
    """The end of the row is the end of its last run, and of the last only."""
    found = []
    kind = one["error"] and one["error"]["kind"]
    was_killed = (one["parameters"]["x"], one["attempt"]) in killed
    for older, newer in pairwise(runs):
        if older.end is not None and newer.begin < older.end:
            found.append(f"two attempts at once: {older}; {newer}")
    if not runs and not was_killed:
        return [*found, f"{one['status']} and never begun: {one['error']}"]
    finished = datetime.fromisoformat(one["finished_at"]).timestamp()
    found += [f"begun after its end: {run}" for run in runs if run.begin > finished]
    if one["status"] == Status.SUCCESS:
        if not runs or runs[-1].end is None:
            found.append(f"a result of a run without an end: {runs[-1:]}")
    elif kind in ("engine_crashed", "out_of_memory"):  # SIGKILL is read as the kernel's, mostly
        if not was_killed:
            found.append(f"failed and nobody killed it: {one['error']} {runs[-1]}")
    elif kind == "lost":
        if one["attempt"] < ATTEMPTS:
            found.append(f"given up at attempt {one['attempt']}: {one['error']}")
    else:
        found.append(f"{one['status']}: {one['error']}")
    return found


def shared_gpus(runs: Iterable[Run]) -> list[str]:
    """GPUs on which one began before another had ended, as far as the diary knows."""
    by_gpu: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_gpu[run.gpu].append(run)
    return [
        f"two on one GPU: {older}; {newer}"
        for users in by_gpu.values()
        for older, newer in pairwise(users)
        if older.end is not None and newer.begin < older.end
    ]
