"""What can go wrong, in the words that the user reads."""

from collections.abc import Sequence

from experiments.states import FailureKind


class BadInput(ValueError):
    """The user's input cannot be used. The message names the field and the fix."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class IllegalMove(RuntimeError):
    """No such move from this status."""


class MovedElsewhere(RuntimeError):
    """Another process moved the row first."""


class ExperimentFailed(Exception):
    """The configuration did not give a measurement, for this reason."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        lines: Sequence[str] = (),
        may_pass: bool = False,
    ) -> None:
        """`lines` of its log say more; what `may_pass` is not the configuration's fault."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.lines = lines
        self.may_pass = may_pass


class Interrupted(Exception):
    """The experiment must stop now, through no fault of its configuration."""


class CancelRequested(Interrupted):
    """A person cancelled it."""


class LeaseGone(Interrupted):
    """The lease has ended: the GPUs may belong to somebody else."""
