"""Which parameters matter, for pages: worked out beside the page, since a model takes a second."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from experiments import explaining, live
from experiments.lanes import percentage
from experiments.models import Experiment, TuningTask

log = logging.getLogger(__name__)

GROWN = 0.05  # It is worked out again after so many more experiments, or at the task's end
SHARE = 200  # … and takes one part in so many of a core
KEPT = 50  # tasks


@dataclass(frozen=True)
class Known:
    """What was worked out after so many ended experiments: the parameters, in order, each with its
    share as it is drawn and as it is said. It is kept until then, whatever ends meanwhile."""

    ended: int
    bars: list[tuple[str, str, str]]
    until: float = 0.0


class Importances:
    """What is known of the tasks whose pages are open. One thread works, on plain values."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[int, Known] = {}
        self.asked: dict[int, int] = {}
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="importance")

    def of(self, task: TuningTask, experiments: Sequence[Experiment]) -> list[tuple[str, str, str]]:
        """The last that is known, at once; where that is old, the page is told of the next."""
        ended = sum(one.has_ended for one in experiments)
        with self.lock:
            known = self.known.get(task.pk, Known(0, []))
            is_old = ended < known.ended or ended - known.ended > known.ended * GROWN
            is_old = is_old and (not known.bars or time.monotonic() >= known.until)
            is_old = is_old or (task.has_ended and ended != known.ended)
            if is_old and task.pk not in self.asked:
                self.asked[task.pk] = ended
                self.thread.submit(self.work_out, task, list(experiments), ended)
        return known.bars

    def work_out(self, task: TuningTask, experiments: Sequence[Experiment], ended: int) -> None:
        """Keep the new one, and tell the pages where it differs."""
        begun = time.thread_time()
        try:
            bars = [
                (name, percentage(share), f"{share:.0%}")
                for name, share in explaining.importance(task, experiments)
            ]
        except Exception as error:  # A chart that is missing is no reason to lose the page
            log.warning("The importance of task %s cannot be worked out: %s", task.pk, error)
            bars = []
        with self.lock:
            before = self.known.pop(task.pk, None)
            until = time.monotonic() + SHARE * (time.thread_time() - begun)
            self.known[task.pk] = Known(ended, bars, until)
            del self.asked[task.pk]
            while len(self.known) > KEPT:
                del self.known[next(iter(self.known))]
        if bars != (before.bars if before else []):
            live.push(task.pk)


importances = Importances()
