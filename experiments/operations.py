"""What an operator does to the pool and to a running task: each one action, and one audit entry."""

from experiments import audit, planning
from experiments.errors import BadInput, IllegalMove
from experiments.models import TuningTask
from experiments.pool import gpu_pool
from experiments.states import Action
from gpupool import GpuState, Lease, NodeState

LONGEST_WHY = 500


def quarantine(actor: str, uuid: str, why: str, seconds: float | None = None) -> GpuState:
    """Keep a GPU from being granted, for so many seconds or (None) until it is returned.

    What runs on it goes on. Raises BadInput for a GPU that is not in the pool.
    """
    gpu = find_gpu(uuid)
    why = reason(why)
    if seconds is not None and seconds <= 0:
        raise BadInput("for", f"{seconds:g} s is not above 0")
    gpu_pool().quarantine(gpu.uuid, f"{why} ({actor})", seconds)
    limit = "until it is returned" if seconds is None else f"for {seconds:g} s"
    audit.record(actor, Action.QUARANTINE, gpu.uuid, f"{why}; {limit}")
    return gpu


def restore(actor: str, uuid: str) -> GpuState:
    """End a GPU's quarantine. Raises BadInput for a GPU that has none."""
    gpu = find_gpu(uuid)
    if not gpu_pool().restore(gpu.uuid):
        raise BadInput("GPU", f"{gpu.uuid} is not quarantined")
    audit.record(actor, Action.RETURN, gpu.uuid)
    return gpu


def drain(actor: str, name: str, why: str) -> NodeState:
    """Let a node finish what it has and take nothing new. Raises BadInput for an unknown node."""
    node = find_node(name)
    why = reason(why)
    gpu_pool().drain(node.name, f"{why} ({actor})")
    audit.record(actor, Action.DRAIN, node.name, why)
    return node


def undrain(actor: str, name: str) -> NodeState:
    """Let a drained node take experiments again. Raises BadInput for one that is not drained."""
    node = find_node(name)
    if not node.why:
        raise BadInput("NODE", f"{name} is not drained")
    gpu_pool().undrain(node.name)
    audit.record(actor, Action.UNDRAIN, node.name)
    return node


def release(actor: str, lease_id: str) -> Lease:
    """Take a lease away: its holder is told, stops, and gives the GPUs back.

    Raises BadInput when there is no such lease.
    """
    lease = next((one for one in gpu_pool().leases() if one.id == lease_id), None)
    if lease is None or not gpu_pool().revoke(lease_id, actor):
        raise BadInput("LEASE", f"there is no lease {lease_id!r}; `manage.py gpus` lists them")
    audit.record(actor, Action.RELEASE, lease_id, f"{lease.holder} on {', '.join(lease.gpus)}")
    return lease


def set_max_parallel(actor: str, task: TuningTask, most: int) -> None:
    """Change how many experiments of a task may run at once, also while they do.

    The caller rings `jobs.advance_task`. Raises BadInput for a number that is not allowed here, or
    a task that has ended.
    """
    limit = planning.parallel_limit(planning.pool_now())
    if not 1 <= most <= limit:
        raise BadInput("max_parallel_experiments", f"{most} is not within 1 and {limit}")
    before = task.max_parallel_experiments
    try:
        task.set_max_parallel(most)
    except IllegalMove as error:
        raise BadInput("ID", str(error)) from error
    gpu_pool().set_limit(task.group, most)
    audit.record(actor, Action.LIMIT, task.name, f"{before} → {most} experiments at once")


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


def reason(text: str) -> str:
    """Why, in the words of a person. Raises BadInput for none, and for a whole story."""
    text = " ".join(text.split())
    if not text:
        raise BadInput("why", "say why, in a few words: others will wonder")
    if len(text) > LONGEST_WHY:
        raise BadInput("why", f"{len(text)} characters are more than {LONGEST_WHY}")
    return text
