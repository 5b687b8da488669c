"""The end of an experiment's log, for people."""

from django.conf import settings

from experiments.log_files import tail
from experiments.models import Experiment


def end_of(experiment: Experiment) -> str:
    """The last 64 KiB of the engine's log, or why they cannot be shown."""
    if experiment.started_at is None:
        return "The engine has not been started yet."
    log = experiment.folder / "engine.log"
    if not log.resolve().is_relative_to(settings.LOG_DIR.resolve()):
        return "The log is not in the folder of the logs."
    text = ""
    try:
        text = tail(log)
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
    if not text and experiment.node != settings.NODE:
        return f"The log is on node {experiment.node}, in {log}"
    return text or f"{log} is empty, or was deleted."
