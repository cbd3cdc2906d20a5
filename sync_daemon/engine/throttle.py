"""The bandwidth limit: one for the whole process, in bytes per second.

A reader asks before it reads how many bytes it may take. The rate is looked up each time,
so that a change of the timetable's slot takes effect in transfers that are running.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sync_daemon.ports import Clock

CHUNK = 512 * 1024
"""Bytes read at once: small enough to notice a stop, large enough not to cost anything."""

_SLICE = 0.05
"""Seconds of the rate that are handed out at once when it is limited."""


class Throttle:
    """`rate()` returns the bytes per second that are allowed now, or None for no limit."""

    def __init__(self, rate: Callable[[], int | None], clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._waited = 0.0

    @property
    def waited(self) -> float:
        """Seconds that all readers together have waited so far."""
        return self._waited

    def allow(self, wanted: int) -> int:
        """Wait until bytes may be read; return how many, at most `wanted` and `CHUNK`."""
        rate = self._rate()
        if rate is None:
            return min(wanted, CHUNK)
        amount = min(wanted, CHUNK, max(1024, int(rate * _SLICE)))
        with self._lock:
            now = self._clock.monotonic()
            start = max(self._free_at, now - _SLICE)
            self._free_at = start + amount / rate
            delay = start - now
            self._waited += max(0.0, delay)
        if delay > 0:
            self._clock.wait(delay)
        return amount
