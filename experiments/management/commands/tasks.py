"""List the tuning tasks."""

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Prefetch
from rich.table import Table

from experiments import findings, reports, summaries
from experiments.models import TuningTask
from experiments.shell import ShellCommand


class Command(ShellCommand):
    help = "List the tuning tasks, the newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted: Prefetch[Any] = Prefetch("experiments", summaries.narrow())
        tasks = [
            reports.summary(task, rows, findings.found_by(task, rows))
            for task in TuningTask.objects.prefetch_related(wanted)
            for rows in [list(task.experiments.all())]
        ]
        if options["json"]:
            return self.print_json({"tasks": tasks})
        if not tasks:
            self.stdout.write("no tasks yet; `manage.py tune FILE` starts one")
            return None
        table = Table("id", "name", "status", "experiments", "engine", "objective", "best", "gain")
        for task in tasks:
            best, gain = task["best_score"], task["gain"]
            table.add_row(
                str(task["id"]),
                task["name"],
                task["status"],
                f"{task['ended_experiments']}/{task['max_iterations']}",
                task["engine"],
                task["objective"],
                "" if best is None else f"{best:.4g}",
                "" if gain is None else f"{gain:+.1%}",
            )
        self.print_table(table)
        return None
