"""The proof before a launch: nobody else uses the leased GPUs, and their memory is back."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from gpupool.inventory import Gpu, GpuProcess, Inventory, NoDriver

# Of a GPU's memory, what has to be free even where the request named no minimum. vLLM reserves
# this share of the total unless told otherwise and dies when less is free; a GPU that nobody
# uses has 97 % and more. So less means a user whom we may not be shown, as in a container.
FREE_SHARE = 0.92

DISPLAY_MB = 64  # A display server without a screen is on many servers: 4 to 40 MiB, no load
LOOK_EVERY = 0.3  # seconds


@dataclass(frozen=True)
class _Doubt:
    reason: str
    may_pass: bool


def doubts(
    inventory: Inventory,
    gpus: Collection[str],
    min_memory_mb: int,
    is_ours: Callable[[int], bool],
    patience: float,
    *,
    keep_waiting: Callable[[], None] = lambda: None,
    free_share: float = FREE_SHARE,
) -> dict[str, str]:
    """Why each of the leased GPUs must not be used now, in words; empty when all are free.

    A process for whose pid `is_ours` is true (an engine that is still on its way out), and
    memory that is not back while nobody holds it, get `patience` seconds to go. All else is
    answered at the first look. `keep_waiting` is called before each look, and may raise to end
    the wait. Memory counts where it is the GPU's own; `free_share` of the total and
    `min_memory_mb` MiB have to be free. A driver that does not answer is a doubt of each GPU.
    """
    deadline = time.monotonic() + patience
    while True:
        keep_waiting()
        try:
            found = _look(inventory, gpus, min_memory_mb, is_ours, free_share)
        except NoDriver as error:
            return dict.fromkeys(gpus, str(error))
        lasting = {uuid: doubt for uuid, doubt in found.items() if not doubt.may_pass}
        left = deadline - time.monotonic()
        if lasting or not found or left <= 0:
            return {uuid: doubt.reason for uuid, doubt in (lasting or found).items()}
        time.sleep(min(LOOK_EVERY, left))


def _look(
    inventory: Inventory,
    uuids: Collection[str],
    min_memory_mb: int,
    is_ours: Callable[[int], bool],
    free_share: float,
) -> dict[str, _Doubt]:
    users = inventory.processes()
    here = {gpu.uuid: gpu for gpu in inventory.gpus()}
    share = free_share if inventory.exclusive_memory else None
    found = {
        uuid: _health(here.get(uuid))
        or _use(users.get(uuid, ()), is_ours)
        or _memory(here[uuid], min_memory_mb, share)
        for uuid in uuids
    }
    return {uuid: doubt for uuid, doubt in found.items() if doubt}


def _health(gpu: Gpu | None) -> _Doubt | None:
    if gpu is None:
        return _Doubt("it is no longer on this node", may_pass=False)
    return _Doubt(gpu.fault, may_pass=False) if gpu.fault else None


def _use(users: Collection[GpuProcess], is_ours: Callable[[int], bool]) -> _Doubt | None:
    users = [user for user in users if not _is_idle_display(user)]
    # One that cannot be looked up has just ended, or is outside our container and stays
    foreign = [user for user in users if not is_ours(user.pid) and _name(user.pid)]
    if not users:
        return None
    named = (foreign or users)[0]
    memory = "" if named.memory_mb is None else f", {named.memory_mb} MiB"
    more = len(foreign or users) - 1
    others = f" and {more} more" if more else ""
    return _Doubt(f"{_words(named, is_ours)} uses it{memory}{others}", may_pass=not foreign)


def _is_idle_display(user: GpuProcess) -> bool:
    return user.draws_only and user.memory_mb is not None and user.memory_mb <= DISPLAY_MB


def _words(user: GpuProcess, is_ours: Callable[[int], bool]) -> str:
    ours = "our own process" if is_ours(user.pid) else "process"
    name = _name(user.pid)
    return f"{ours} {user.pid} ({name})" if name else f"{ours} {user.pid}"


def _name(pid: int) -> str:
    """The name of a process; empty when there is none with this pid here."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def _memory(gpu: Gpu, min_memory_mb: int, share: float | None) -> _Doubt | None:
    if share is None:
        return None  # The memory is the machine's: what others use says nothing of this slot
    needed = max(min_memory_mb, math.ceil(share * gpu.memory_total_mb))
    if gpu.memory_free_mb >= needed:
        return None
    return _Doubt(f"{gpu.memory_free_mb} MiB are free, {needed} needed", may_pass=True)
