"""What `doctor` looks at."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import Error, connection

from experiments.engines import VERSION_COMMANDS, version_command
from experiments.marks import clean_environment
from experiments.pool import gpu_pool
from experiments.processes import run
from gpupool import NoDriver, PoolUnreachable, open_inventory

SPACE_NEEDED_MB = 500
SYNCHRONOUS = {0: "off", 1: "normal", 2: "full", 3: "extra"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    needed: bool
    says: str


def examine() -> list[Finding]:
    """Look at everything. A failure is a finding, not an exception."""
    needed: dict[str, Callable[[], str]] = {
        "database": database,
        "redis": redis,
        "data": data_folder,
        "inventory": inventory,
    }
    findings = [finding(name, look, needed=True) for name, look in needed.items()]
    findings.append(finding("nvml", nvml, needed=False))
    findings.append(finding("pool", pool, needed=False))
    return findings + [
        finding(engine, partial(version, engine), needed=False) for engine in VERSION_COMMANDS
    ]


def finding(name: str, look: Callable[[], str], needed: bool) -> Finding:
    try:
        return Finding(name, True, needed, look())
    except (OSError, ValueError, Error, PoolUnreachable, NoDriver) as error:
        return Finding(name, False, needed, " ".join(str(error).split()) or repr(error))


def database() -> str:
    """The kind of database and, for SQLite, how it is set up."""
    with connection.cursor() as cursor:
        if connection.vendor != "sqlite":
            cursor.execute("SELECT version()")
            return str(cursor.fetchone()[0]).split(",")[0]
        modes = []
        for pragma in ("journal_mode", "busy_timeout", "synchronous"):
            cursor.execute(f"PRAGMA {pragma}")
            modes.append(cursor.fetchone()[0])
    journal, timeout, synchronous = modes
    begins = settings.DATABASES["default"].get("OPTIONS", {}).get("transaction_mode", "DEFERRED")
    return (
        f"SQLite, journal_mode={journal}, busy_timeout={timeout / 1000:g} s, "
        f"synchronous={SYNCHRONOUS[synchronous]}, transactions {begins.lower()}"
    )


def redis() -> str:
    started = gpu_pool().time()
    where = "embedded" if settings.EMBEDDED_REDIS else "REDIS_URL"
    return f"answers ({where}), its clock says {started:.0f}"


def data_folder() -> str:
    free = shutil.disk_usage(settings.DATA_DIR).free // 2**20
    if free < SPACE_NEEDED_MB:
        raise OSError(f"{settings.DATA_DIR} has {free} MiB free; {SPACE_NEEDED_MB} are needed")
    return f"{settings.DATA_DIR}, {free} MiB free"


def inventory() -> str:
    gpus = open_inventory(settings.GPUPOOL_INVENTORY, settings.NODE).gpus()
    names = ", ".join(sorted({gpu.name for gpu in gpus})) or "no GPUs"
    return f"{settings.GPUPOOL_INVENTORY} on this host: {len(gpus)} × {names}"


def nvml() -> str:
    """What the driver tells, whatever the inventory is."""
    gpus = open_inventory("nvml", settings.NODE).gpus()
    return f"{len(gpus)} GPUs"


def pool() -> str:
    found = gpu_pool().snapshot()
    gpus = found.gpus
    if found.opens_in > 0:
        raise ValueError(f"it is new or has lost data, and grants again in {found.opens_in:.0f} s")
    if not gpus:
        raise ValueError("no node has put its GPUs into the pool: start `manage.py worker`")
    leased = sum(gpu.state == "leased" for gpu in gpus)
    return f"{len(gpus)} GPUs on {len({gpu.node for gpu in gpus})} nodes, {leased} leased"


def version(engine: str) -> str:
    """What the engine says of its version."""
    argv = version_command(engine, settings.ENGINE_EXECUTABLES[engine])
    done = run(argv, timeout=60, env=clean_environment(settings.ENVIRONMENT))
    lines = done.output.strip().splitlines()
    if done.exit_code != 0 or not lines:
        raise ValueError(f"not found ({lines[-1] if lines else done.exit_code})")
    return f"{lines[-1]} ({argv[0]})"
