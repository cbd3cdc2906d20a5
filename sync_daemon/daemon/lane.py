"""A thread that does jobs one after the other, each at most once at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from sync_daemon.daemon.jobs import Job

_LEAST = 0.1
"""Seconds that a thread with nothing to do takes to end, at most."""


class Lane:
    """Does jobs in the order of their arrival. `do` must not raise; `end` is called at last."""

    def __init__(
        self, name: str, do: Callable[[Job], None], end: Callable[[], None] = lambda: None
    ) -> None:
        self._do, self._end = do, end
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def offer(self, job: Job, *, again: bool = False) -> bool:
        """Ask for a job; False if the same one still waits or, but for `again`, runs."""
        with self._changed:
            if job in self._waiting or (job == self._running and not again):
                return False
            self._waiting.append(job)
            self._changed.notify()
            return True

    @property
    def running(self) -> Job | None:
        """What is done now."""
        return self._running

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Begin nothing more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()

    def join(self, seconds: float) -> bool:
        """Wait for the end of what runs, at most so long; return whether it has ended."""
        self._thread.join(max(_LEAST, seconds))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)
            with self._changed:
                self._running = None
        self._end()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            self._running = self._waiting.popleft()
            return self._running
