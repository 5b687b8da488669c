"""Show who holds which GPU, and who waits."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.table import Table

from experiments.pool import gpu_pool
from experiments.shell import ShellCommand


class Command(ShellCommand):
    help = "Show the GPUs of the pool: who holds what, and who waits."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        pool = gpu_pool()
        gpus, leases, waiting = pool.gpus(), pool.leases(), pool.waiting()
        if options["json"]:
            rows = {"gpus": gpus, "leases": leases, "waiting": waiting}
            return self.print_json(
                {name: [asdict(row) for row in found] for name, found in rows.items()}
            )
        if not gpus:
            self.stdout.write("no GPUs in the pool; `manage.py worker` puts a host's GPUs in")
        table = Table("node", "index", "name", "memory free / total, MiB", "state", "holder")
        for gpu in gpus:
            memory = f"{gpu.memory_free_mb} / {gpu.memory_total_mb}"
            table.add_row(gpu.node, str(gpu.index), gpu.name, memory, gpu.state, gpu.holder or "")
        if gpus:
            Console(file=self.stdout._out).print(table)
        for request in waiting:
            self.stdout.write(f"waiting: {request.holder} for {request.gpus} GPUs")
        return None
