"""Show who holds which GPU, and who waits."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
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
            return self.print_json(
                {
                    "gpus": [asdict(gpu) for gpu in gpus],
                    "leases": [asdict(lease) for lease in leases],
                    "waiting": [asdict(request) for request in waiting],
                }
            )
        if not gpus:
            self.stdout.write("no GPUs in the pool; `manage.py worker` puts a host's GPUs in")
        table = Table("node", "index", "name", "memory free / total, MiB", "state", "holder")
        for gpu in gpus:
            memory = f"{gpu.memory_free_mb} / {gpu.memory_total_mb}"
            table.add_row(gpu.node, str(gpu.index), gpu.name, memory, gpu.state, gpu.holder or "")
        if gpus:
            self.print_table(table)
        for request in waiting:
            self.stdout.write(f"waiting: {request.holder} for {request.gpus} GPUs")
        return None
