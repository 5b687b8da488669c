"""What the tests of faults share: who is who in a product, a diary, and what the right end is."""

import re
from collections import Counter
from typing import Any

import psutil

from tests.integration.product import Product, job, until

WITHIN = 120.0  # seconds: for what takes some on an idle machine


# Who is who --------------------------------------------------------------------------------


def is_keeper(process: psutil.Process) -> bool:
    return any("keeper.run()" in word for word in process.cmdline())


def all_of(product: Product, *words: str) -> list[psutil.Process]:
    """The processes, keepers left out, that have all these words in their command line."""
    found = []
    for process in product.processes():
        try:
            line = process.cmdline()
            if not is_keeper(process) and all(any(w in word for word in line) for w in words):
                found.append(process)
        except psutil.Error:
            continue  # It has just ended
    return sorted(found, key=lambda process: process.create_time())


def main_of(product: Product, *words: str) -> psutil.Process:
    """Of those the one that its keeper has started: the main process of a service."""
    return next(process for process in all_of(product, *words) if is_keeper(process.parent()))


def worker_of(process: psutil.Process) -> psutil.Process:
    """The Celery child that runs the experiment to which a process belongs."""
    return next(
        parent
        for parent in process.parents()
        if not is_keeper(parent) and "celery" in " ".join(parent.cmdline())
    )


def asleep(product: Product) -> list[psutil.Process]:
    """The experiments' own programs: the shells of the diary's script."""
    return [process for process in all_of(product, "note begin") if process.name() == "sh"]


# The diary ---------------------------------------------------------------------------------


def diary_job(product: Product, name: str, values: list[int], seconds: str, **options: Any) -> Any:
    """A task whose programs write down each time they begin and end; `seconds` for the shell."""
    script = (
        'note() { echo "$AUTOTUNER_X ${AUTOTUNER_MARK##*:} $1" >> DIARY; }; '
        "note begin; sleep SECONDS; note end; "
        """echo '{"speed": '$AUTOTUNER_X'}'"""
    )
    script = script.replace("DIARY", str(product.folder / name)).replace("SECONDS", seconds)
    return job(name, script, values, **options)


def entries(product: Product, name: str) -> list[tuple[int, int, str]]:
    """What the programs of a task have written: x, attempt, begin or end."""
    diary = product.folder / name
    lines = diary.read_text().splitlines() if diary.exists() else []
    words = [re.fullmatch(r"(\d+) (\d+) (begin|end)", line) for line in lines]
    return [(int(word[1]), int(word[2]), word[3]) for word in words if word]


def begun(product: Product, name: str, experiments: int) -> None:
    """Wait until so many have begun."""
    until(lambda: len(entries(product, name)) >= experiments, WITHIN, product.said)


def completed(product: Product, name: str, within: float = WITHIN) -> Any:
    """The document of a task, as soon as it is COMPLETED."""

    def is_completed() -> Any:
        shown = product.manage("show", name, "--json", check=False)
        return shown.returncode == 0 and '"status": "COMPLETED"' in shown.stdout

    until(is_completed, within, lambda: product.manage("show", name).stdout + product.said())
    return product.json("show", name)


def ended_right(product: Product, name: str, values: list[int], within: float = WITHIN) -> Any:
    """The task, which has each planned experiment once, with one result of one attempt."""
    task = completed(product, name, within)
    assert sorted(one["parameters"]["x"] for one in task["experiments"]) == sorted(values)
    assert [one["number"] for one in task["experiments"]] == list(range(1, len(values) + 1))
    written = Counter(entries(product, name))
    assert all(times == 1 for times in written.values()), written  # No attempt ran twice
    for one in task["experiments"]:
        ends = [move["to"] for move in one["moves"]]
        assert ends.count("SUCCESS") == 1 and ends[-1] == one["status"] == "SUCCESS", one
        x = one["parameters"]["x"]
        assert one["objective_score"] == x
        assert written[(x, one["attempt"], "begin")] == written[(x, one["attempt"], "end")] == 1
    until(lambda: not product.json("gpus")["leases"], 20)
    return task


def attempts(task: Any) -> dict[int, int]:
    """The attempt that counted, by x."""
    return {one["parameters"]["x"]: one["attempt"] for one in task["experiments"]}
