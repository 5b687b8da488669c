"""Show one task with all its experiments."""

from typing import Any

from django.core.management.base import CommandParser

from experiments import budget, reports, vetoes, watching
from experiments.shell import ShellCommand, find_task


class Command(ShellCommand):
    help = "Show one task: its experiments, its winner, and why experiments failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the task's id or name")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        task = find_task(options["id"])
        if options["json"]:
            return self.print_json(reports.document(task))
        experiments = list(task.experiments.all())
        of = f"{sum(one.has_ended for one in experiments)} of {budget.most_experiments(task)}"
        how_long = watching.how_long(task, experiments)
        self.stdout.write(f"{task.name} (task {task.pk}): {task.status}, {of} ended{how_long}")
        for experiment in experiments:
            if experiment.has_ended:
                self.stdout.write(watching.one_line(experiment))
            else:
                self.stdout.write(watching.one_that_goes_on(experiment))
        self.stdout.write("\n".join([*vetoes.lines(task), *watching.outcome(task)]))
        return None
