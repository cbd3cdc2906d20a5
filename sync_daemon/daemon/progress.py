"""Whether work moves: behind the watchdog and the STATUS line of systemd.

A listener to the events of runs, and what a verification tells how far it is. Requests
that are tried again are no progress: a run that does nothing else is stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sync_daemon.domain.events import (
    BytesMoved,
    Event,
    RequestRetried,
    RunStarted,
    VersionFailed,
    VersionPassed,
    VersionPublished,
    VersionRefused,
    VersionUnchanged,
)

_ENDS = (VersionPublished, VersionFailed, VersionPassed, VersionRefused, VersionUnchanged)
_GIGABYTE = 1e9


class Progress:
    """Knows when something last went on, and how far the run is."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last = monotonic()
        self._versions = self._done = self._bytes = 0
        self._read = self._to_read = 0

    def __call__(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, RequestRetried):
            return
        with self._lock:
            self._last = self._monotonic()
            if isinstance(event, RunStarted):
                self._versions, self._done, self._bytes = event.versions, 0, 0
            elif isinstance(event, BytesMoved):
                self._bytes += event.bytes
            elif isinstance(event, _ENDS):
                self._done += 1

    def begin(self, objects: int, size: int) -> None:
        """A verification begins to read so many bytes."""
        del objects
        with self._lock:
            self._read, self._to_read, self._last = 0, size, self._monotonic()

    def advance(self, count: int) -> None:
        """A verification has read so many bytes more."""
        with self._lock:
            self._read += count
            self._last = self._monotonic()

    def touch(self) -> None:
        """Note that something begins."""
        with self._lock:
            self._last = self._monotonic()

    def silence(self) -> float:
        """Return the seconds since something last went on."""
        with self._lock:
            return self._monotonic() - self._last

    def run_words(self) -> str:
        """Say how far the run is."""
        moved = f"{self._bytes / _GIGABYTE:.1f} GB fetched"
        return f"{self._done} of {self._versions} versions done, {moved}"

    def verify_words(self) -> str:
        """Say how far the verification is."""
        return f"{self._read / _GIGABYTE:.1f} of {self._to_read / _GIGABYTE:.1f} GB read"
