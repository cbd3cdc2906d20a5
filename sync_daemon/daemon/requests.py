"""What was asked of the daemon from outside and has not begun: bounded, and each job once.

The HTTP server's threads add to it, the main loop takes what is due. A job stays here until
its work begins, so that the same one is not taken twice, and one that comes while it runs
leads to one more run after it. Nothing of it outlives the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sync_daemon.daemon.asked import AskedRuns
from sync_daemon.daemon.jobs import Job
from sync_daemon.domain.report import Failure, RunReport

MOST = 16
"""Runs by hand that wait at once. Webhooks are one a model, and so bounded by the YAML."""


class Requests:
    """Jobs that wait, for several threads; `asked` knows what became of runs by hand."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._due: dict[Job, float] = {}
        self._taken: set[Job] = set()
        self._closed = False
        self.asked = AskedRuns()

    def add(self, job: Job, after: float = 0.0) -> Job | None:
        """Ask for a job, `after` seconds from now at the earliest.

        Returns the job that waits: another one that is equal, if it was asked for before. None:
        too many wait.
        """
        with self._lock:
            for other in (*self._due, *self._taken):
                if other == job:
                    return other
            if job.asked is not None and self._count_asked() >= MOST:
                return None
            self._due[job] = self._monotonic() + after
            if job.asked is not None:
                self.asked.queue(job.asked)
            return job

    def due(self) -> tuple[Job, ...]:
        """Return what is to be done now, each job once."""
        with self._lock:
            now = self._monotonic()
            found = tuple(job for job, at in self._due.items() if at <= now)
            for job in found:
                del self._due[job]
                self._taken.add(job)
            return found

    def begin(self, job: Job) -> None:
        """Note that a job begins: whoever asks for it from now on gets another one."""
        with self._lock:
            self._taken.discard(job)
        if job.asked is not None:
            self.asked.begin(job.asked)

    def end(self, job: Job, result: RunReport | Failure | None) -> None:
        """Note that a job has ended, and what it brought."""
        if job.asked is not None:
            self.asked.finish(job.asked, result)

    @property
    def closed(self) -> bool:
        """Whether the daemon ends."""
        return self._closed

    def close(self) -> None:
        """Take nothing more: the daemon ends."""
        self._closed = True

    def _count_asked(self) -> int:
        return sum(job.asked is not None for job in (*self._due, *self._taken))
