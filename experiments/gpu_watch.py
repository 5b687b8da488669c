"""Watches the GPUs of an attempt while it runs, for its page."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from experiments import gpu_readings
from experiments.experiment import Experiment
from experiments.gpu_trace import Trace
from experiments.sampling import Sampling
from gpupool import GpuReading, Lease

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two samples
KEEP_EVERY = 3.0  # seconds between two writes; the page asks as often


class GpuWatch(Sampling):
    """Samples the leased GPUs in a thread, and keeps what it has seen in the attempt's row.

    `read` tells of the GPUs now, and None where none ever tells: then there is no row. `phase` is
    what the attempt does now, `may_write` whether the lease is still its own.
    """

    def __init__(
        self,
        experiment: Experiment,
        lease: Lease,
        read: Callable[[], Mapping[str, GpuReading] | None],
        *,
        phase: Callable[[], str],
        may_write: Callable[[], bool],
        every: float = EVERY,
    ) -> None:
        self._experiment, self._read, self._phase = experiment, read, phase
        self._may_write = may_write
        self._lock = threading.Lock()  # One thread adds what the other one writes
        self._trace = Trace(lease.gpus)
        self._seconds = self._written = 0.0
        self._write_at = 0.0
        super().__init__(self._sample, every, "GPU watch")

    def __enter__(self) -> "GpuWatch":
        self._began_at, self._began = timezone.now(), time.monotonic()
        self._write_at = self._began + KEEP_EVERY
        return super().__enter__()

    def __exit__(self, *ended: Any) -> None:
        super().__exit__(*ended)
        self._write()

    def _sample(self) -> bool:
        found = self._read()
        if found is None:
            return False
        with self._lock:
            self._seconds = time.monotonic() - self._began
            self._trace.add(self._seconds, found, self._phase())
        return True

    def keep(self) -> None:
        """Write, if it is time: called by the thread that has the database, many times a second."""
        if self._write_at and time.monotonic() >= self._write_at:
            self._write_at = time.monotonic() + KEEP_EVERY
            self._write()

    def _write(self) -> None:
        """A picture for people: without the database, or the lease, the attempt does without."""
        with self._lock:
            seconds, summary = self._seconds, self._trace.summary()
            data = self._trace.document()
        is_told = any(len(quantities) > 1 for quantities in summary.values())
        if seconds == self._written or not is_told or not self._may_write():
            return
        row = {"began_at": self._began_at, "seconds": seconds, "summary": summary, "data": data}
        try:
            gpu_readings.keep(self._experiment, **row)
            self._written = seconds
        except Error as error:
            log.warning("%s: its GPU readings are not written: %s", self._experiment, error)
            connection.close()  # The next write connects anew
