"""The words for where a task and an experiment are, and the moves between them."""

from enum import StrEnum


class Status(StrEnum):
    """Where an experiment is."""

    PENDING = "PENDING"  # Waits in the database for free GPUs
    PLACED = "PLACED"  # Holds a lease; waits for a worker
    DEPLOYING = "DEPLOYING"  # A worker has it; the engine is loading the model
    BENCHMARKING = "BENCHMARKING"  # The engine answers; the benchmark is running
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskStatus(StrEnum):
    """Where a tuning task is."""

    PENDING = "PENDING"  # Saved, not started
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"  # Ended, with at least one result
    FAILED = "FAILED"  # Ended, with none
    CANCELLED = "CANCELLED"


class Action(StrEnum):
    """What a person did."""

    QUARANTINE = "quarantine"  # A GPU is granted to nobody
    RETURN = "return"  # … and again to everybody
    DRAIN = "drain"  # A node takes nothing new
    UNDRAIN = "undrain"
    RELEASE = "release"  # A lease was taken away
    LIMIT = "limit"  # How many experiments of a task may run at once
    START = "start"
    PAUSE = "pause"  # What runs goes on; nothing new starts
    RESUME = "resume"
    CANCEL = "cancel"  # A task, or one experiment
    RETRY = "retry"  # Experiments that failed or were cancelled wait again
    CLONE = "clone"  # A new task with the same file
    EXTEND = "extend"  # More experiments than the task file says
    PRIORITY = "priority"  # Which task's experiments go first
    OVERRULE = "overrule"  # A configuration is tried although it is known to fail
    ADD = "add"  # A task, a user or a group was written
    EDIT = "edit"
    DELETE = "delete"


# Those that are about a GPU, a node or a lease; others are about tasks and people
OF_THE_POOL = frozenset(
    {Action.QUARANTINE, Action.RETURN, Action.DRAIN, Action.UNDRAIN, Action.RELEASE}
)


class FailureKind(StrEnum):
    """Why an experiment failed."""

    BAD_FLAG = "bad_flag"  # The engine refused its configuration
    OUT_OF_MEMORY = "out_of_memory"
    START_TIMEOUT = "start_timeout"  # Not healthy in time
    ENGINE_CRASHED = "engine_crashed"
    BENCHMARK_ERRORS = "benchmark_errors"  # No usable measurement
    TIMEOUT = "timeout"  # The whole experiment took too long
    LOST = "lost"  # Its worker died, on every attempt
    CANCELLED = "cancelled"


class VetoState(StrEnum):
    """What became of a veto."""

    STANDING = "standing"  # It is not tried
    LIFTED = "lifted"  # What has worked since then speaks against it: the search may try it
    TESTED = "tested"  # It was uncertain, and is tried all the same
    OVERRULED = "overruled"  # A person wants it tried


ENDED = frozenset({Status.SUCCESS, Status.FAILED, Status.CANCELLED})
LEASED = frozenset({Status.PLACED, Status.DEPLOYING, Status.BENCHMARKING})
ON_A_WORKER = frozenset({Status.DEPLOYING, Status.BENCHMARKING})
TASK_ENDED = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

# PENDING again is the next attempt: of an experiment whose worker or lease was lost, of one that
# failed for a passing reason, and of one that a person wants tried again. From PENDING to SUCCESS
# goes what an earlier task has measured.
MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PLACED, Status.CANCELLED, Status.FAILED, Status.SUCCESS}),
    Status.PLACED: frozenset({Status.DEPLOYING, Status.PENDING, Status.CANCELLED, Status.FAILED}),
    Status.DEPLOYING: frozenset(
        {Status.BENCHMARKING, Status.FAILED, Status.CANCELLED, Status.PENDING}
    ),
    Status.BENCHMARKING: frozenset(
        {Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.PENDING}
    ),
    Status.SUCCESS: frozenset(),
    Status.FAILED: frozenset({Status.PENDING}),
    Status.CANCELLED: frozenset({Status.PENDING}),
}

# RUNNING again: its budget was extended, or experiments of it are to be tried again.
TASK_MOVES: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: frozenset(
        {TaskStatus.PAUSED, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
    ),
    TaskStatus.PAUSED: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELLED}),
    TaskStatus.COMPLETED: frozenset({TaskStatus.RUNNING}),
    TaskStatus.FAILED: frozenset({TaskStatus.RUNNING}),
    TaskStatus.CANCELLED: frozenset({TaskStatus.RUNNING}),
}
