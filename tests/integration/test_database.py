"""Many processes write statuses at once, and nothing is lost."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.postgres_server import running_postgres
from tests.integration.product import job, running_product

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 6
EXPERIMENTS_EACH = 12
WRITER = f"""
import sys, django
django.setup()
from experiments.models import Experiment, TuningTask
from experiments.errors import MovedElsewhere
from gpupool import Lease
mine = int(sys.argv[1])
won = 0
for experiment in Experiment.objects.filter(number__gt=mine * {EXPERIMENTS_EACH},
                                            number__lte=(mine + 1) * {EXPERIMENTS_EACH}):
    lease = Lease(f"l{{experiment.pk}}", experiment.pk, "h", "g", "n", ("gpu",), 0.0, 0.0)
    experiment.place(lease)
    experiment.start(["true"])
    experiment.begin_benchmark()
    experiment.succeed(objective_score=1.0, feasible=True)
for experiment in Experiment.objects.filter(number__gt={WRITERS * EXPERIMENTS_EACH}):
    try:
        experiment.place(lease) if experiment.number % 2 else experiment.cancel()
        won += 1
    except MovedElsewhere:
        pass
    except Exception as error:
        if "IllegalMove" not in type(error).__name__:
            raise
print(won)
"""
SETUP = f"""
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from experiments.models import Experiment, TuningTask
task = TuningTask.objects.create(name="t", engine="job", objective="maximize_x", specification={{}})
for number in range(1, {WRITERS * EXPERIMENTS_EACH + 100 + 1}):
    Experiment.objects.create(task=task, number=number, parameters={{}})
"""
COUNT = """
import django
django.setup()
from experiments.models import Experiment, Move
from django.db.models import Count
print(dict(Experiment.objects.values_list("status").annotate(n=Count("id"))), Move.objects.count())
"""


def test_statuses_written_by_many_processes_at_once_are_all_kept(database: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        environment = {
            **os.environ,
            **database,
            "AUTOTUNER_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "autotuner_site.settings",
        }

        def start(program: str, *words: str) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-c", program, *words]
            return subprocess.Popen(
                argv,
                env=environment,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # There is no Redis, so no page is told
                text=True,
            )

        start(SETUP).communicate()
        writers = [start(WRITER, str(number)) for number in range(WRITERS)]
        wins = [int(writer.communicate()[0]) for writer in writers]
        assert all(writer.returncode == 0 for writer in writers)
        counted = start(COUNT).communicate()[0].strip()
    # Each contested row was moved by exactly one of the writers, and every move left its row
    assert sum(wins) == 100
    total = WRITERS * EXPERIMENTS_EACH
    assert f"'SUCCESS': {total}" in counted
    assert "'CANCELLED': 50" in counted and "'PLACED': 50" in counted
    assert counted.endswith(f" {total * 4 + 100}")


def test_a_search_runs_on_postgresql() -> None:
    with (
        running_postgres() as url,
        running_product("simulated:2", DATABASE_URL=url) as product,
    ):
        script = """echo '{"speed": '$AUTOTUNER_X'}'"""
        task = product.finished(job("pg", script, [1, 2, 3, 4], max_parallel_experiments=2))
        assert task["status"] == "COMPLETED" and task["best"]["parameters"] == {"x": 4}
        assert not (product.folder / "autotuner.sqlite3").exists()
        database = product.json("doctor")["checks"][0]
        assert database["ok"] and database["says"].startswith("PostgreSQL")


STUCK = """
import sys, time, django
django.setup()
from django.db import connection, transaction
from experiments.models import TuningTask
with transaction.atomic():
    connection.cursor().execute("SET LOCAL idle_in_transaction_session_timeout = '1s'")
    TuningTask.objects.select_for_update().get(name="t")
    print("locked", flush=True)
    time.sleep(600)
"""
ALLOWED = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT name, setting FROM pg_settings")
    found = dict(cursor.fetchall())
print(found["idle_in_transaction_session_timeout"])
"""
TAKE = """
import django
django.setup()
from experiments.models import TuningTask
from django.db import transaction
with transaction.atomic():
    print(TuningTask.objects.select_for_update().get(name="t").pk)
"""


def test_a_client_that_vanished_in_a_transaction_holds_up_nobody_for_long() -> None:
    with running_postgres() as url, tempfile.TemporaryDirectory(prefix="at-") as folder:
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "AUTOTUNER_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "autotuner_site.settings",
        }

        def run(program: str) -> str:
            argv = [sys.executable, "-c", program]
            return subprocess.run(
                argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()

        run(SETUP)
        assert run(ALLOWED) == "60000"  # Milliseconds
        with subprocess.Popen(
            [sys.executable, "-c", STUCK], env=environment, cwd=ROOT, stdout=subprocess.PIPE
        ) as stuck:
            assert stuck.stdout is not None and stuck.stdout.readline() == b"locked\n"
            assert run(TAKE)  # It has waited a second, and not for ever
            stuck.kill()
