"""Counts the requests and bytes of one unit of work, wherever in the stack they are spent.

Adapters call `count`; whoever wants to know opens a `Meter` around the work. The meter
travels in a context variable, so that no port has to carry it; threads that work for
somebody else enter that somebody's meter with `use`.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Side = Literal["origin", "store"]
Subject = tuple[str, str]
"""A model and a version."""

MOST_FILES = 100
"""Files that a meter remembers by name, whatever their number: a report stays small."""

_active: ContextVar[Meter | None] = ContextVar("meter", default=None)


class Meter:
    """Totals of one unit of work; safe to share between threads.

    `subject` is the version that the work is for, so that whatever is told of it can name it.
    """

    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject
        self._lock = threading.Lock()
        self.origin_requests = 0
        self.store_requests = 0
        self.fetched_bytes = 0
        self.uploaded_bytes = 0
        self._files: list[tuple[bool, int, str, float, str]] = []

    def add(self, *, origin: int = 0, store: int = 0, fetched: int = 0, uploaded: int = 0) -> None:
        """Add to the totals."""
        with self._lock:
            self.origin_requests += origin
            self.store_requests += store
            self.fetched_bytes += fetched
            self.uploaded_bytes += uploaded

    def note(self, path: str, size: int, seconds: float, error: str = "") -> None:
        """Remember a file that was moved, or of what kind the error was that kept it."""
        with self._lock:
            heapq.heappush(self._files, (bool(error), size, path, seconds, error))
            if len(self._files) > MOST_FILES:
                heapq.heappop(self._files)

    def files(self) -> tuple[tuple[str, int, float, str | None], ...]:
        """Return path, size, seconds and error of files: those that failed, then the largest."""
        with self._lock:
            found = sorted(self._files, key=lambda one: (not one[0], -one[1], one[2]))
        return tuple((path, size, took, error or None) for _, size, path, took, error in found)


@contextmanager
def use(meter: Meter) -> Iterator[Meter]:
    """Count into `meter` inside the block."""
    token = _active.set(meter)
    try:
        yield meter
    finally:
        _active.reset(token)


def active() -> Meter:
    """Return the meter of the surrounding block, or one that nobody reads."""
    return _active.get() or Meter()


def subject() -> Subject | None:
    """Return the version that the work of this moment is for, if it is for one."""
    meter = _active.get()
    return meter.subject if meter is not None else None


def count(side: Side) -> None:
    """Count one request that goes out now."""
    meter = _active.get()
    if meter is None:
        return
    if side == "origin":
        meter.add(origin=1)
    else:
        meter.add(store=1)
