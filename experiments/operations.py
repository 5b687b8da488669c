"""What an operator does to the pool: each one action, and one audit entry.

The entry is written first and undone when the action fails: nothing is done without one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from experiments import audit
from experiments.errors import BadInput
from experiments.figures import span
from experiments.pool import gpu_pool
from experiments.states import Action
from gpupool import GpuState, Lease, NodeState, Snapshot

LONGEST_WHY = 500
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 365 * 86400  # seconds of a quarantine that ends by itself
SAME = 5.0  # seconds between two ends of a quarantine that are one click


def quarantine(actor: str, uuid: str, why: str, seconds: float | None = None) -> GpuState:
    """Keep a GPU from being granted, for so many seconds or (None) until it is returned.

    What runs on it goes on. Said again in the same words it changes nothing. Raises BadInput for
    a GPU that is not in the pool.
    """
    gpu = find_gpu(uuid)
    why = reason(why)
    if seconds is not None and seconds <= 0:
        raise BadInput("for", f"{seconds:g} s is not above 0")
    if is_quarantined_so(gpu, f"{why} ({actor})", seconds):
        return gpu
    with transaction.atomic():
        audit.record(actor, Action.QUARANTINE, gpu.uuid, f"{why}; {for_how_long(seconds)}")
        gpu_pool().quarantine(gpu.uuid, f"{why} ({actor})", seconds)
    return gpu


def for_how_long(seconds: float | None) -> str:
    return "until it is returned" if seconds is None else f"for {span(seconds)}"


def is_quarantined_so(gpu: GpuState, why: str, seconds: float | None) -> bool:
    """Whether somebody clicked twice."""
    # A GPU of a drained node says why too, and is not quarantined by that
    if gpu.why != why or find_node(gpu.node).why == why:
        return False
    if gpu.until is None or seconds is None:
        return gpu.until is seconds
    return abs(gpu.until - gpu_pool().time() - seconds) < SAME


def restore(actor: str, uuid: str) -> GpuState:
    """End a GPU's quarantine. Raises BadInput for a GPU that has none."""
    gpu = find_gpu(uuid)
    with transaction.atomic():
        audit.record(actor, Action.RETURN, gpu.uuid)
        if not gpu_pool().restore(gpu.uuid):
            raise BadInput("GPU", f"{gpu.uuid} is not quarantined")
    return gpu


def drain(actor: str, name: str, why: str) -> NodeState:
    """Let a node finish what it has and take nothing new. Raises BadInput for an unknown node.

    Said again in the same words it changes nothing.
    """
    node = find_node(name)
    why = reason(why)
    if node.why == f"{why} ({actor})":
        return node
    with transaction.atomic():
        audit.record(actor, Action.DRAIN, node.name, why)
        gpu_pool().drain(node.name, f"{why} ({actor})")
    return node


def undrain(actor: str, name: str) -> NodeState:
    """Let a drained node take experiments again. Raises BadInput for one that is not drained."""
    node = find_node(name)
    if not node.why:
        raise BadInput("NODE", f"{name} is not drained")
    with transaction.atomic():
        audit.record(actor, Action.UNDRAIN, node.name)
        gpu_pool().undrain(node.name)
    return node


def release(actor: str, lease_id: str) -> Lease:
    """Take a lease away: its holder is told, stops, and gives the GPUs back.

    Raises BadInput when there is no such lease, or it was taken away already.
    """
    lease = find_lease(lease_id)
    if lease.revoked:
        raise BadInput("LEASE", f"{lease.id} was already taken away by {lease.revoked}")
    with transaction.atomic():
        detail = f"{lease.holder} on {', '.join(lease.gpus)}"
        audit.record(actor, Action.RELEASE, lease.id, detail)
        if not gpu_pool().revoke(lease.id, actor):
            raise BadInput("LEASE", f"{lease.id} has just ended by itself")
    return lease


def next_state(pool: Snapshot, gpu: GpuState) -> str:
    """What a leased GPU is when its lease ends, if nobody gets it then; else nothing."""
    if gpu.state != "leased" or not gpu.why:
        return ""
    if gpu.fault:
        return "faulty"
    # Both a quarantine and its node's drain say why; the quarantine's word counts
    drained = any(node.name == gpu.node and node.why == gpu.why for node in pool.nodes)
    return "draining" if drained else "quarantined"


# ── the verbs of every door: what was written, by field, becomes what is said ───────────────


def do_quarantine(actor: str, said: Mapping[str, Any]) -> str:
    seconds = duration(said["for"])
    gpu = quarantine(actor, said["gpu"], said["why"], seconds)
    goes_on = f"; {gpu.holder} goes on there" if gpu.holder else ""
    return f"{gpu.node}/{gpu.index} ({gpu.uuid}) is quarantined {for_how_long(seconds)}{goes_on}"


def do_return(actor: str, said: Mapping[str, Any]) -> str:
    gpu = restore(actor, said["gpu"])
    return f"{gpu.node}/{gpu.index} ({gpu.uuid}) is returned"


def do_drain(actor: str, said: Mapping[str, Any]) -> str:
    node = drain(actor, said["node"], said["why"])
    return f"{node.name} takes nothing new; {node.leased} of its GPUs are leased, and go on"


def do_undrain(actor: str, said: Mapping[str, Any]) -> str:
    return f"{undrain(actor, said['node']).name} takes experiments again"


def do_release(actor: str, said: Mapping[str, Any]) -> str:
    lease = release(actor, said["lease"])
    return f"{lease.holder} is told to stop; its GPUs on {lease.node} are free then"


VERBS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "quarantine": do_quarantine,
    "return": do_return,
    "drain": do_drain,
    "undrain": do_undrain,
    "release": do_release,
}


# ── what people write ───────────────────────────────────────────────────────────────────────


def find_gpu(text: str) -> GpuState:
    """The GPU with this UUID, or the only one whose UUID begins so, or `node/index`."""
    gpus = gpu_pool().gpus()
    exact = [gpu for gpu in gpus if text in (gpu.uuid, f"{gpu.node}/{gpu.index}")]
    found = exact or [gpu for gpu in gpus if text and gpu.uuid.startswith(text)]
    if len(found) == 1:
        return found[0]
    problem = "there is no GPU" if not found else f"{len(found)} GPUs begin with"
    raise BadInput("GPU", f"{problem} {text!r}; `manage.py gpus` lists them")


def find_node(name: str) -> NodeState:
    """The node of this name."""
    for node in gpu_pool().nodes():
        if node.name == name:
            return node
    raise BadInput("NODE", f"there is no node {name!r}; `manage.py gpus` lists them")


def find_lease(text: str) -> Lease:
    """The lease with this id, or the only one whose id begins so."""
    leases = gpu_pool().leases()
    found = [lease for lease in leases if lease.id == text]
    found = found or [lease for lease in leases if text and lease.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    problem = "there is no lease" if not found else f"{len(found)} leases begin with"
    raise BadInput("LEASE", f"{problem} {text!r}; `manage.py gpus` lists them")


def reason(text: str) -> str:
    """Why, in the words of a person. Raises BadInput for none, and for a whole story."""
    text = " ".join(text.split())
    if not text:
        raise BadInput("why", "say why, in a few words: others will wonder")
    if len(text) > LONGEST_WHY:
        raise BadInput("why", f"{len(text)} characters are more than {LONGEST_WHY}")
    return text


def duration(text: str, field: str = "for", longest: int = LONGEST) -> float | None:
    """`90s`, `10m`, `2h`, `1d` or a number of seconds, in seconds; None for nothing said."""
    text = text.strip()
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", text, re.ASCII)
    if not match:
        raise BadInput(field, f"{text!r} is not a time such as 90s, 10m, 2h or 1d")
    seconds = int(match[1]) * UNITS[match[2] or "s"]
    if not 0 < seconds <= longest:
        raise BadInput(field, f"{text} is not above 0 and at most {longest // 86400}d")
    return float(seconds)


def whole_number(field: str, text: str) -> int:
    """Raises BadInput for anything else."""
    if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", text, re.ASCII):
        raise BadInput(field, f"{text!r} is not a whole number")
    return int(text)


def whole_numbers(field: str, text: object) -> list[int]:
    """Of `3`, of `3,5`, or of a list of these: each once. Raises BadInput for anything else."""
    texts = text if isinstance(text, list | tuple) else [text]
    parts = [part for one in texts for part in str(one).split(",")]
    return list(dict.fromkeys(whole_number(field, part) for part in parts))


def shortened(text: str) -> str:
    """The beginning of a UUID or a lease's id, by which commands find it too.

    What is not random, such as the name of a CPU slot, stays as it is.
    """
    is_random = text.startswith(("GPU-", "MIG-")) or re.fullmatch("[0-9a-f]{40}", text)
    return text[:12] if is_random else text
