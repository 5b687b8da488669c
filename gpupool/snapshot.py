"""Everything in the pool at one moment, for people: GPUs, nodes, leases, and who waits."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpupool.inventory import Gpu
from gpupool.leases import Lease

SILENT_AFTER = 10.0  # seconds without a word from a node; state.lua decides by the same


@dataclass(frozen=True)
class GpuState(Gpu):
    """A GPU, and what becomes of it.

    `state` is `free` or `leased`; or why nobody gets it: `faulty`, `quarantined`, `draining`,
    `silent` (its node is not heard). `why` says more, `until` when a quarantine ends by itself.
    """

    state: str = "free"
    lease_id: str | None = None
    holder: str | None = None
    why: str = ""
    until: float | None = None


@dataclass(frozen=True)
class NodeState:
    """A node: how it is, how many GPUs it has, and its host memory in MiB (0: not known)."""

    name: str
    state: str  # free, draining or silent
    why: str
    heard_at: float
    gpus: int
    leased: int
    host_memory_mb: int
    host_memory_reserved_mb: int


@dataclass(frozen=True)
class Waiting:
    """A request that was not granted yet; `since` in seconds of Redis's clock."""

    holder: str
    group: str
    gpus: int
    since: float
    priority: int = 0
    min_memory_mb: int = 0
    min_host_memory_mb: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The pool at one moment. Times are seconds of Redis's clock."""

    now: float
    opens_at: float  # Before this, nothing is granted: the pool lost data, or is new
    gpus: list[GpuState]
    nodes: list[NodeState]
    leases: list[Lease]  # The oldest first
    waiting: list[Waiting]  # In the order of their turn

    @property
    def opens_in(self) -> float:
        """Seconds until the pool grants again; 0 when it does."""
        return max(0.0, self.opens_at - self.now)


def parse(answer: Sequence[Any]) -> Snapshot:
    """What read.lua returned."""
    now, opens, wall = (int(number) / 1000 for number in answer[:3])
    book: dict[str, dict[str, str]] = defaultdict(dict)
    for entry, text in _pairs(answer[3]).items():
        kind, _, name = entry.partition(" ")
        book[kind][name] = text
    due = _pairs(answer[4])
    heard, draining = book["heard"], book["draining"]
    # People want Redis's clock, the pool has its own: see state.lua
    ahead = wall - now
    leases = [
        _on_the_wall(Lease.from_json(text, ends_at=float(due[f"lease {id_}"]) / 1000), ahead)
        for id_, text in book["lease"].items()
    ]
    leases.sort(key=lambda lease: lease.token)
    described = {name: json.loads(text) for name, text in book["node"].items()}
    reader = _Reader(
        silent={name for name, at in heard.items() if float(at) / 1000 <= now - SILENT_AFTER},
        draining=draining,
        quarantine={uuid: json.loads(text) for uuid, text in book["quarantine"].items()},
        lease_of={uuid: lease for lease in leases for uuid in lease.gpus},
        ahead=ahead,
    )
    gpus = [
        reader.gpu(fields)
        for _, node in sorted(described.items())
        for fields in sorted(node["gpus"], key=lambda gpu: gpu["index"])
    ]
    return Snapshot(
        now=wall,
        opens_at=opens + ahead,
        gpus=gpus,
        nodes=[
            NodeState(
                name=name,
                state=reader.state_of(name),
                why=draining.get(name, ""),
                heard_at=float(heard[name]) / 1000 + ahead,
                gpus=len(node["gpus"]),
                leased=sum(gpu.node == name and gpu.lease_id is not None for gpu in gpus),
                host_memory_mb=node["host_memory_mb"],
                host_memory_reserved_mb=int(book["host"].get(name, 0)),
            )
            for name, node in sorted(described.items())
        ],
        leases=leases,
        waiting=_waiting(book["request"].values(), ahead),
    )


@dataclass(frozen=True)
class _Reader:
    silent: set[str]
    draining: dict[str, str]
    quarantine: dict[str, Any]
    lease_of: dict[str, Lease]
    ahead: float

    def state_of(self, node: str) -> str:
        return "silent" if node in self.silent else "draining" if node in self.draining else "free"

    def gpu(self, fields: dict[str, Any]) -> GpuState:
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        gpu = GpuState(**known)
        lease, ill = self.lease_of.get(gpu.uuid), self.quarantine.get(gpu.uuid)
        state, why, until = self.state_of(gpu.node), "", None
        if state == "draining":
            why = self.draining[gpu.node]
        if ill:
            state, why = "quarantined", ill["why"]
            until = ill["until"] / 1000 + self.ahead if ill["until"] >= 0 else None
        if gpu.fault:
            state, why, until = "faulty", gpu.fault, None
        if lease:
            state = "leased"
        return replace(
            gpu,
            state=state,
            why=why,
            until=until,
            lease_id=lease.id if lease else None,
            holder=lease.holder if lease else None,
        )


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _on_the_wall(lease: Lease, ahead: float) -> Lease:
    if not ahead:
        return lease
    return replace(
        lease,
        granted_at=lease.granted_at + ahead,
        ends_at=lease.ends_at + ahead,
        since=lease.since + ahead,
    )


def _waiting(texts: Iterable[str], ahead: float) -> list[Waiting]:
    requests = sorted((json.loads(text) for text in texts), key=lambda one: str(one["order"]))
    return [
        Waiting(
            holder=one["holder"],
            group=one["group"],
            gpus=one["gpus"],
            since=one["since"] / 1000 + ahead,
            priority=one["priority"],
            min_memory_mb=one["min_memory_mb"],
            min_host_memory_mb=one["min_host_memory_mb"],
        )
        for one in requests
    ]
