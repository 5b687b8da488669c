"""An experiment's log, for people."""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from experiments import masking
from experiments.log_files import pieces, tail
from experiments.models import Experiment


def path_of(experiment: Experiment) -> Path | None:
    """The engine's log; None for one that is not within the folder of the logs."""
    log = experiment.folder / "engine.log"
    return log if log.resolve().is_relative_to(settings.LOG_DIR.resolve()) else None


def mark(experiment: Experiment) -> str:
    """What of the log there is: another word when it was written to."""
    log = path_of(experiment)
    try:
        size = log.stat().st_size if log else 0
    except OSError:
        size = 0
    return f"{experiment.attempt}-{experiment.status}-{size}"


def end_of(experiment: Experiment) -> str:
    """The last 64 KiB of the engine's log, or why they cannot be shown."""
    if experiment.started_at is None:
        return "The engine has not been started yet."
    log = path_of(experiment)
    if log is None:
        return "The log is not in the folder of the logs."
    text = ""
    try:
        text = tail(log)
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
    if not text and experiment.node != settings.NODE:
        return f"The log is on node {experiment.node}, in {log}"
    return masking.hide(text, secrets(experiment)) or f"{log} is empty, or was deleted."


def whole(experiment: Experiment, log: Path) -> Iterator[bytes]:
    """All of the engine's log that is kept, in parts."""
    return masking.stream(pieces(log), secrets(experiment))


def secrets(experiment: Experiment) -> masking.Known:
    """What its engine was told, and nobody is to read."""
    return masking.known_of(experiment.task.specification)
