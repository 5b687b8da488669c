"""Several people do the same at the same moment: it is done once, and written down once."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.redis_server import running_redis

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 4
Start = Callable[[str], Any]
ROUNDS = [
    ("start", {}),
    ("pause", {}),
    ("resume", {}),
    ("parallel", {"number": "2"}),
    ("priority", {"number": "5"}),
    ("extend", {"number": "30"}),
    ("retry", {}),
    ("cancel", {"experiment": "1"}),
    ("clone", {"name": "twin"}),
    ("cancel", {}),
    ("retry", {"experiment": "1"}),
]
SETUP = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from experiments import planning, pool
from experiments.models import Experiment
from experiments.taskfile import from_dict
from gpupool import open_inventory
pool.gpu_pool().initialise()
pool.gpu_pool().publish("alpha", open_inventory("simulated:4", "alpha").gpus(), 64_000)
task = planning.create(from_dict({
    "task_name": "t", "base_runtime": "job", "command": ["true"],
    "parameters": {"x": [1, 2, 3]}, "optimization": {"objective": "maximize_speed"},
}))
for number in (1, 2):
    Experiment.objects.create(task=task, number=number, parameters={"x": number}, status="FAILED")
"""
PERSON = """
import json, sys
import django
django.setup()
from experiments import steering
from experiments.errors import BadInput
from experiments.models import TuningTask
task = TuningTask.objects.get(name="t")
print("ready", flush=True)
for line in sys.stdin:
    verb, said = json.loads(line)
    try:
        print(steering.act(verb, "ann", task, said).says, flush=True)
    except BadInput as refused:
        print("refused:", refused, flush=True)
"""
MANY = 90
STARTER = f"""
import sys
import django
django.setup()
from experiments import dispatch
from experiments.errors import MovedElsewhere
from experiments.models import Experiment
from gpupool import Lease
print("ready", flush=True)
mine = int(sys.stdin.readline())
for experiment in Experiment.objects.select_related("task").filter(number__gt=2):
    if experiment.number % {PEOPLE} == mine:
        lease = Lease(f"l{{experiment.pk}}", 1, experiment.holder, "g", "n", ("gpu",), 0.0, 0.0)
        try:
            if dispatch.place(experiment, lease):
                experiment.start(["true"])
        except MovedElsewhere:
            pass
"""
PAUSER = """
import sys
import django
django.setup()
from experiments import steering
from experiments.models import Experiment, TuningTask
task = TuningTask.objects.get(name="t")
print("ready", flush=True)
sys.stdin.readline()
started = Experiment.objects.filter(status="DEPLOYING").order_by("number")
while started.count() < 10:
    pass
steering.act("pause", "ann", task, {})
print(list(started.values_list("number", flat=True)))
"""
SLOW_PAUSER = """
import sys
import django
django.setup()
from django.db import transaction
from experiments import steering
from experiments.models import TuningTask
task = TuningTask.objects.get(name="t")
with transaction.atomic():
    steering.act("pause", "ann", task, {})
    print("not committed", flush=True)
    sys.stdin.readline()
"""
PLACER = """
import sys
import django
django.setup()
from experiments import dispatch
from experiments.models import Experiment
from gpupool import Lease
experiment = Experiment.objects.select_related("task").get(number=3)
lease = Lease("l3", 1, experiment.holder, "g", "n", ("gpu",), 0.0, 0.0)
print("ready", flush=True)
sys.stdin.readline()
print(dispatch.place(experiment, lease), flush=True)
"""
START_MANY = f"""
import django
django.setup()
from experiments import steering
from experiments.models import Experiment, TuningTask
task = TuningTask.objects.get(name="t")
steering.act("start", "ann", task, {{}})
for number in range(3, 3 + {MANY}):
    Experiment.objects.create(task=task, number=number, parameters={{"x": number}})
"""
AUDIT = """
import json
import django
django.setup()
from experiments.models import AuditEntry, Experiment, Move, TuningTask
print(json.dumps({
    "audit": list(AuditEntry.objects.order_by("id").values_list("action", "target", "detail")),
    "tasks": sorted(TuningTask.objects.values_list("name", "status")),
    "experiments": sorted(Experiment.objects.values_list("number", "status", "attempt")),
    "moves": Move.objects.count(),
}))
"""


@pytest.fixture
def start(database: dict[str, str]) -> Iterator[Start]:
    """Starts a program on a database with one task, and a pool of four GPUs."""
    with (
        tempfile.TemporaryDirectory(prefix="at-") as folder,
        running_redis(Path(folder)) as redis,
    ):
        environment = {
            **os.environ,
            **database,
            "AUTOTUNER_DATA_DIR": folder,
            "REDIS_URL": redis.url,
            "DJANGO_SETTINGS_MODULE": "autotuner_site.settings",
        }

        def start(program: str) -> "subprocess.Popen[str]":
            return subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

        start(SETUP).communicate()
        yield start


def test_what_many_do_at_once_is_done_once_and_written_down_once(start: Start) -> None:
    people = [start(PERSON) for _ in range(PEOPLE)]
    said = [hear(people)]
    for one in ROUNDS:
        for person in people:
            person.stdin.write(json.dumps(one) + "\n")
            person.stdin.flush()
        said.append(hear(people))
    for person in people:
        person.communicate()
    found = json.loads(start(AUDIT).communicate()[0])
    audit = [" ".join(words).strip() for words in found["audit"]]
    assert audit == [
        *("start t", "pause t", "resume t", "limit t 1 → 2 experiments at once"),
        *("priority t 0 → 5", "extend t 10 → 30 experiments", "retry t #1, #2", "cancel t #1"),
        *("clone twin of t", "cancel t", "retry t #1"),
    ], said
    assert found["tasks"] == [["t", "RUNNING"], ["twin", "PENDING"]]
    assert found["experiments"] == [[1, "PENDING", 3], [2, "CANCELLED", 2]]
    assert found["moves"] == 5


def test_nothing_starts_after_a_pause_whoever_is_faster(start: Start) -> None:
    start(START_MANY).communicate()
    workers = [start(STARTER) for _ in range(PEOPLE)]
    person = start(PAUSER)
    hear([*workers, person])
    for number, one in enumerate([*workers, person]):
        one.stdin.write(f"{number}\n")
        one.stdin.flush()
    started = json.loads(person.communicate()[0])
    for worker in workers:
        worker.communicate()
    assert {one.returncode for one in (*workers, person)} == {0}
    found = json.loads(start(AUDIT).communicate()[0])["experiments"]
    assert [number for number, status, _ in found if status == "DEPLOYING"] == started
    assert {status for _, status, _ in found} == {"DEPLOYING", "PENDING", "FAILED"}
    assert 10 <= len(started) < MANY


def test_who_places_waits_for_a_pause_that_is_not_committed_yet(start: Start) -> None:
    start(START_MANY).communicate()
    worker = start(PLACER)  # It has seen a task that runs
    hear([worker])
    person = start(SLOW_PAUSER)
    assert hear([person]) == ["not committed"]
    worker.stdin.write("\n")
    worker.stdin.flush()
    time.sleep(1)  # Who does not wait has placed it by now
    person.communicate("\n")
    assert worker.communicate()[0] == "False\n"
    found = json.loads(start(AUDIT).communicate()[0])["experiments"]
    assert {status for _, status, _ in found} == {"PENDING", "FAILED"}


def hear(people: Any) -> list[str]:
    """What each said after the round, in one line."""
    return [person.stdout.readline().strip() for person in people]
