"""A machine with GPUs that does not exist: a true NVML library whose answers a test chooses.

As a program: opens the inventory and answers questions, one line of JSON each. It is a process
of its own because a library, once loaded, stays, and other tests need a process without one.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.environment import FOLDER

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "tests" / "programs" / "nvml_stub.c"
LIBRARY = "libnvidia-ml.so.1"


@cache
def folder_of_library() -> Path:
    """Where the library is, made at the first call. A C compiler is needed by the project."""
    folder = FOLDER / "nvml"
    folder.mkdir()
    library = [f"-Wl,-soname,{LIBRARY}", "-o", str(folder / LIBRARY), str(STUB)]
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", *library], check=True)
    return folder


@dataclass
class Board:
    """A GPU of the machine. Memory in MiB; `mig` is 0, 1, or -1 for a GPU that cannot."""

    uuid: str
    total: int = 81920
    used: int = 600
    utilization: int = 0
    temperature: int = 30
    milliwatts: int = 70_000
    lost: int = 0
    ecc: int = 0
    remap_waits: int = 0
    remap_failed: int = 0
    recovery: int = 0
    mig: int = 0
    node: int = 0
    cores: str = "-"
    name: str = "NVIDIA Stub 80GB"


@dataclass
class Machine:
    """What NVML tells on this machine, until the test changes it, and a program that asks."""

    folder: Path
    boards: list[Board] = field(default_factory=lambda: [Board(f"GPU-{n}") for n in range(8)])
    instances: list[tuple[Any, ...]] = field(default_factory=list)
    processes: list[tuple[Any, ...]] = field(default_factory=list)  # UUID, pid, MiB, c | g | m
    links: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    driver: int = 0
    generation: int = 1
    enumerates: str = "now"
    logged: list[str] = field(default_factory=list)
    program: "subprocess.Popen[str] | None" = None

    @property
    def state(self) -> Path:
        return self.folder / "machine.txt"

    @property
    def kernel_list(self) -> Path:
        return self.folder / "kernel"

    def environment(self) -> dict[str, str]:
        """That of a process which runs on this machine."""
        library = {"LD_LIBRARY_PATH": str(folder_of_library())}
        return {**os.environ, **library, "NVML_STUB_STATE": str(self.state)}

    def write(self) -> None:
        """Let the machine be as it is described here, from one moment to the next."""
        lines: list[tuple[Any, ...]] = [
            ("driver", self.driver),
            ("generation", self.generation),
            ("enumerates", self.enumerates),
            *(("gpu", *asdict(board).values()) for board in self.boards),
            *(("instance", *instance) for instance in self.instances),
            *(("process", *process) for process in self.processes),
            *(("link", *link) for link in self.links),
            *(("answer", *answer) for answer in self.answers),
        ]
        new = self.folder / "machine.new"
        new.write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))
        new.replace(self.state)

    def ask(self, question: str, **details: Any) -> Any:
        """The answer of the program on the machine as it is now."""
        self.begin(question, **details)
        return self.answer()

    def begin(self, question: str, **details: Any) -> None:
        self.write()
        assert self.program and self.program.stdin
        self.program.stdin.write(json.dumps({"question": question, **details}) + "\n")
        self.program.stdin.flush()

    def answer(self) -> Any:
        assert self.program and self.program.stdout
        answer = json.loads(self.program.stdout.readline())
        self.logged += answer["logged"]
        return answer["answer"]


@contextmanager
def machine(look_again: float = 60.0) -> Iterator[Machine]:
    """A machine of eight GPUs, with a program on it."""
    with tempfile.TemporaryDirectory() as folder:
        here = Machine(Path(folder))
        here.kernel_list.mkdir()
        here.write()
        here.program = subprocess.Popen(
            [sys.executable, "-m", "tests.programs.nvml_machine", folder, str(look_again)],
            env=here.environment(),
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with here.program:
            yield here
            assert here.program.stdin
            here.program.stdin.close()  # It ends when nobody asks any more


class Told(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def answer_questions(folder: Path, look_again: float) -> None:
    import pynvml

    from gpupool.inventory import NoDriver
    from gpupool.nvml import Nvml
    from gpupool.proof import doubts

    told = Told()
    logging.basicConfig(level=logging.INFO, handlers=[told])
    inventory: Nvml | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        question = asked.pop("question")
        answer: Any
        try:
            inventory = inventory or Nvml("n1", folder / "kernel", look_again)
            if question == "gpus":
                answer = [asdict(gpu) for gpu in inventory.gpus()]
            elif question == "processes":
                users = inventory.processes()
                answer = {uuid: [asdict(user) for user in of_it] for uuid, of_it in users.items()}
            elif question == "power":
                answer = inventory.power_w(asked.pop("gpus"))
            elif question == "readings":
                read = inventory.readings(asked.pop("gpus"))
                answer = {uuid: asdict(reading) for uuid, reading in read.items()}
            elif question == "time of a reading":
                began = time.perf_counter()
                for _ in range(100):
                    inventory.readings(asked["gpus"])
                answer = (time.perf_counter() - began) / 100
            elif question == "doubts":
                ours = asked.pop("ours")
                answer = doubts(inventory, is_ours=ours.__contains__, **asked)
            else:  # How often NVLink was asked for
                answer = pynvml.c_int.in_dll(pynvml.nvmlLib, "nvml_stub_pairs_asked").value
        except NoDriver as error:
            answer = f"NoDriver: {error}"
        print(json.dumps({"answer": answer, "logged": told.lines}), flush=True)
        told.lines.clear()


if __name__ == "__main__":
    answer_questions(Path(sys.argv[1]), float(sys.argv[2]))
