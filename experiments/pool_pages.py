"""What the page of the GPUs shows, as plain values that its templates lay out."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse

from experiments import operations, roles
from experiments.figures import span
from experiments.models import Experiment
from experiments.operations import shortened
from experiments.pool import gpu_pool
from gpupool import GpuState, NodeState, PoolUnreachable, Snapshot, Waiting

# How a state is coloured. Its word is always there too.
TONES = {
    "free": "good",
    "leased": "busy",
    "quarantined": "soft",
    "draining": "soft",
    "silent": "bad",
    "faulty": "bad",
}
QUESTIONS = ("quarantine", "drain", "release")  # The actions that ask before they are done
HOW_LONG = {
    "": "until it is returned",
    "10m": "10 minutes",
    "1h": "1 hour",
    "8h": "8 hours",
    "1d": "1 day",
    "7d": "7 days",
}


def now(user: Any) -> dict[str, Any]:
    """Everything on the page, for this user; nothing but `is_away` while Redis does not answer."""
    try:
        pool = gpu_pool().snapshot()
    except PoolUnreachable:
        return {"is_away": True, "may_operate": False}
    wanted = [lease.holder for lease in pool.leases] + [one.holder for one in pool.waiting]
    named = holders(wanted, user)
    return {
        "at": datetime.fromtimestamp(pool.now, UTC),
        "opens_in": span(pool.opens_in) if pool.opens_in else "",
        "may_operate": roles.may_operate_pool(user),
        "numbers": numbers(pool),
        "nodes": [node_block(pool, node, named) for node in pool.nodes],
        "leases": lease_rows(pool, named),
        "waiting": [waiting_row(pool, one, named) for one in pool.waiting],
    }


# ── the numbers on top ──────────────────────────────────────────────────────────────────────


def numbers(pool: Snapshot) -> list[dict[str, Any]]:
    """The key figures, each with its note."""
    states = Counter(gpu.state for gpu in pool.gpus)
    out = {state: states[state] for state in TONES if state not in ("free", "leased")}
    because = ", ".join(f"{count} {state}" for state, count in out.items() if count)
    silent = sum(node.state == "silent" for node in pool.nodes)
    oldest = min((one.since for one in pool.waiting), default=pool.now)
    return [
        {
            "label": "Leased",
            "value": f"{states['leased']} / {len(pool.gpus)}",
            "note": f"GPUs, in {len(pool.leases)} lease{'' if len(pool.leases) == 1 else 's'}",
            "part": states["leased"],
            "whole": len(pool.gpus),
        },
        {"label": "Free", "value": str(states["free"]), "note": "can be granted now"},
        {
            "label": "Out of service",
            "value": str(sum(out.values())),
            "note": because or "every GPU can be used",
            "tone": "bad" if out["faulty"] or out["silent"] else "",
        },
        {
            "label": "Waiting",
            "value": str(len(pool.waiting)),
            "note": f"the longest {span(pool.now - oldest)}" if pool.waiting else "nobody waits",
        },
        {
            "label": "Nodes",
            "value": str(len(pool.nodes)),
            "note": f"{silent} not heard from" if silent else "all heard from",
            "tone": "bad" if silent else "",
        },
    ]


# ── nodes and GPUs ──────────────────────────────────────────────────────────────────────────


def node_block(pool: Snapshot, node: NodeState, named: dict[str, Any]) -> dict[str, Any]:
    """A node and its GPUs."""
    return {
        "node": node,
        "state": "in service" if node.state == "free" else node.state,
        "tone": TONES[node.state],
        "heard": span(pool.now - node.heard_at),
        "host": gib(node.host_memory_reserved_mb, node.host_memory_mb),
        "is_drained": bool(node.why),
        "gpus": [gpu_row(pool, gpu, named) for gpu in pool.gpus if gpu.node == node.name],
    }


def gpu_row(pool: Snapshot, gpu: GpuState, named: dict[str, Any]) -> dict[str, Any]:
    """One GPU in the table."""
    after = operations.next_state(pool, gpu)
    used = gpu.memory_total_mb - gpu.memory_free_mb
    return {
        "gpu": gpu,
        "model": gpu.name.removeprefix("NVIDIA "),
        "short": shortened(gpu.uuid),
        "tone": TONES[gpu.state],
        "after": after,
        "is_quarantined": "quarantined" in (gpu.state, after),
        "left": "" if gpu.until is None else span(gpu.until - pool.now),
        "holder": named.get(gpu.holder or ""),
        "used_mb": used,
        "memory": gib(used, gpu.memory_total_mb),
        "use": round(100 * gpu.utilization),
        "power": "–" if gpu.power_w is None else f"{gpu.power_w:.0f}",
        "temperature": "–" if gpu.temperature_c is None else str(gpu.temperature_c),
    }


def gib(part_mb: int, whole_mb: int) -> str:
    """`12.3 / 80 GiB`."""
    return f"{in_gib(part_mb)} / {in_gib(whole_mb) if whole_mb else '?'} GiB"


def in_gib(mib: int) -> str:
    size = mib / 1024
    return f"{size:,.0f}" if size >= 100 else f"{size:.1f}".removesuffix(".0")


# ── leases, and who waits ───────────────────────────────────────────────────────────────────


def lease_rows(pool: Snapshot, named: dict[str, Any]) -> list[dict[str, Any]]:
    """The leases, the oldest first."""
    gpus = {gpu.uuid: gpu for gpu in pool.gpus}
    return [
        {
            "lease": lease,
            "short": shortened(lease.id),
            "holder": named[lease.holder],
            "gpus": [(uuid, str(gpus[uuid].index) if uuid in gpus else "?") for uuid in lease.gpus],
            "held": span(pool.now - lease.granted_at),
            "left": span(lease.ends_at - pool.now),
        }
        for lease in pool.leases
    ]


def waiting_row(pool: Snapshot, request: Waiting, named: dict[str, Any]) -> dict[str, Any]:
    """One request that waits, and what for."""
    wants = ["1 GPU" if request.gpus == 1 else f"{request.gpus} GPUs of one node"]
    if request.min_memory_mb:
        wants.append(f"{in_gib(request.min_memory_mb)} GiB free on each")
    if request.min_host_memory_mb:
        wants.append(f"{in_gib(request.min_host_memory_mb)} GiB of the host's memory")
    return {
        "holder": named[request.holder],
        "wants": ", ".join(wants),
        "priority": request.priority,
        "waits": span(pool.now - request.since),
    }


def holders(wanted: Iterable[str], user: Any) -> dict[str, dict[str, str]]:
    """Each holder's name, with a link to its experiment for those who may see it."""
    keys = {}
    for holder in wanted:
        match = re.fullmatch(r"experiment:(\d{1,18}):(\d+)", holder)
        keys[holder] = (int(match[1]), match[2]) if match else (0, "")
    rows = {}
    if roles.may_view_experiments(user):
        found = Experiment.objects.select_related("task").only("number", "task__name", "task")
        rows = found.in_bulk({key for key, _ in keys.values()})
    return {
        holder: named_holder(holder, rows.get(key), attempt)
        for holder, (key, attempt) in keys.items()
    }


def named_holder(holder: str, experiment: Experiment | None, attempt: str) -> dict[str, str]:
    if experiment is None:
        return {"text": holder, "title": holder, "url": "", "attempt": ""}
    return {
        "text": f"{experiment.task} #{experiment.number}",
        "title": holder,
        "url": reverse("admin:experiments_experiment_change", args=[experiment.pk]),
        "attempt": attempt if attempt != "1" else "",
    }


# ── questions ───────────────────────────────────────────────────────────────────────────────


def question(verb: str, target: str, user: Any) -> dict[str, Any]:
    """What to ask before this is done to that. Raises BadInput when it is not there any more."""
    if verb == "quarantine":
        gpu = operations.find_gpu(target)
        named = holders([gpu.holder] if gpu.holder else [], user)
        return {
            "verb": verb,
            "field": "gpu",
            "value": gpu.uuid,
            "gpu": gpu,
            "holder": named.get(gpu.holder or ""),
            "how_long": HOW_LONG,
        }
    if verb == "drain":
        node = operations.find_node(target)
        return {"verb": verb, "field": "node", "value": node.name, "node": node}
    lease = operations.find_lease(target)
    return {
        "verb": verb,
        "field": "lease",
        "value": lease.id,
        "lease": lease,
        "holder": holders([lease.holder], user)[lease.holder],
    }
