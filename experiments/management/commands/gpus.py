"""Show the pool, and do what an operator does to it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from experiments import audit, operations
from experiments.figures import span
from experiments.pool import gpu_pool
from experiments.shell import ShellCommand, say_errors_in_one_line
from gpupool import Snapshot

GPU = "a UUID, a unique beginning of one, or NODE/INDEX"
Row = tuple[str, ...]
WHY = "a few words for the others, and for the audit"


class Command(ShellCommand):
    help = (
        "Show the pool: its nodes and GPUs, who holds what, and who waits. With a verb: "
        "quarantine or return a GPU, drain or undrain a node, release a lease. "
        "docs/operators.md says what each does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        # Not required: without a verb the pool is shown
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")

        quarantine = verbs.add_parser("quarantine", help="grant a GPU to nobody")
        quarantine.add_argument("gpu", metavar="GPU", help=GPU)
        quarantine.add_argument("--why", required=True, metavar="TEXT", help=WHY)
        quarantine.add_argument(
            "--for",
            default="",
            metavar="TIME",
            help="90s, 10m, 2h or 1d; without it until `gpus return`",
        )
        restore = verbs.add_parser("return", help="end a GPU's quarantine")
        restore.add_argument("gpu", metavar="GPU", help=GPU)
        drain = verbs.add_parser("drain", help="let a node finish, and take nothing new")
        drain.add_argument("node", metavar="NODE", help="its name in the pool")
        drain.add_argument("--why", required=True, metavar="TEXT", help=WHY)
        undrain = verbs.add_parser("undrain", help="let a drained node take experiments again")
        undrain.add_argument("node", metavar="NODE", help="its name in the pool")
        release = verbs.add_parser(
            "release", help="take a lease away: its holder is told, and its engine stopped"
        )
        release.add_argument("lease", metavar="LEASE", help="a lease's id, or its unique beginning")
        for one in verbs.choices.values():
            say_errors_in_one_line(one)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"]:
            act = operations.VERBS[options["verb"]]
            return self.stdout.write(act(audit.shell_actor(), options))
        pool = gpu_pool().snapshot()
        return self.print_json(document(pool)) if options["json"] else self.show(pool)

    def show(self, pool: Snapshot) -> None:
        """The pool for people."""
        if pool.opens_in:
            self.stdout.write(
                f"the pool opens in {pool.opens_in:.0f} s: until then holders say again what they "
                "hold, and nothing is granted"
            )
        if not pool.gpus:
            self.stdout.write("no GPUs in the pool; `manage.py worker` puts a host's GPUs in")
        for rows in (nodes(pool), gpus(pool), leases(pool), waiting(pool)):
            self.stdout.write(aligned(*rows), ending="")


# ── the tables ──────────────────────────────────────────────────────────────────────────────


def document(pool: Snapshot) -> dict[str, Any]:
    """The pool for programs. Times are seconds of Redis's clock, which says `now`."""
    return {
        "now": pool.now,
        "opens_in": pool.opens_in,
        "nodes": [asdict(node) for node in pool.nodes],
        "gpus": [asdict(gpu) for gpu in pool.gpus],
        "leases": [asdict(lease) for lease in pool.leases],
        "waiting": [asdict(request) for request in pool.waiting],
    }


def aligned(*rows: Row) -> str:
    """Rows below their titles; nothing at all when there are only titles."""
    if len(rows) == 1:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([*lines, "", ""])


def nodes(pool: Snapshot) -> Iterator[Row]:
    yield "NODE", "STATE", "HEARD", "LEASED", "HOST MiB RESERVED", "WHY"
    for node in pool.nodes:
        memory = f"{node.host_memory_reserved_mb} / {node.host_memory_mb or '?'}"
        heard = f"{span(pool.now - node.heard_at)} ago"
        yield node.name, node.state, heard, f"{node.leased} / {node.gpus}", memory, node.why


def gpus(pool: Snapshot) -> Iterator[Row]:
    yield "GPU", "UUID", "NAME", "MiB FREE", "USE", "STATE", "HOLDER, OR WHY"
    for gpu in pool.gpus:
        until = "" if gpu.until is None else f", {span(gpu.until - pool.now)} left"
        after = operations.next_state(pool, gpu)
        yield (
            f"{gpu.node}/{gpu.index}",
            operations.shortened(gpu.uuid),
            gpu.name,
            f"{gpu.memory_free_mb} / {gpu.memory_total_mb}",
            f"{gpu.utilization:.0%}",
            f"{gpu.state}, then {after}" if after else gpu.state,
            "; ".join(text for text in (gpu.holder or "", f"{gpu.why}{until}") if text),
        )


def leases(pool: Snapshot) -> Iterator[Row]:
    yield "LEASE", "HOLDER", "GPUS", "HELD", "LEFT", "TAKEN AWAY BY"
    names = {gpu.uuid: f"{gpu.node}/{gpu.index}" for gpu in pool.gpus}
    for lease in pool.leases:
        yield (
            operations.shortened(lease.id),
            lease.holder,
            ", ".join(names.get(uuid, uuid) for uuid in lease.gpus),
            span(pool.now - lease.granted_at),
            span(lease.ends_at - pool.now),
            lease.revoked,
        )


def waiting(pool: Snapshot) -> Iterator[Row]:
    yield "TURN", "WAITS", "GPUS", "MiB OF EACH", "HOST MiB", "PRIORITY", "FOR"
    for turn, one in enumerate(pool.waiting, start=1):
        yield (
            str(turn),
            one.holder,
            str(one.gpus),
            str(one.min_memory_mb or "any"),
            str(one.min_host_memory_mb or "any"),
            str(one.priority),
            span(pool.now - one.since),
        )
