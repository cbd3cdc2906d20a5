"""How many parts of large files move at once: few from a fast origin, all from a slow one.

A connection that brings bytes faster than a core can hash, copy and send them needs no
company: more of them only fight for the cores and push each other's bytes out of the
processor's cache (a third of the throughput on two cores). An origin that is far away, or
that limits each connection, needs all that are allowed. Which of the two it is shows in
what one connection brings while somebody waits on it.

One connection of many may be slow alone: its server is busy, or its way is bad. What it brings
is the next to be hashed sooner or later, and then everybody waits for it. So a range that is
three times slower than the others usually are is asked for anew, once, on another connection.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from statistics import median

FAST = 32 * 1024**2
"""Bytes per second of one connection above which more connections do not help."""

_WINDOW = 0.5
"""Seconds of waiting, all connections together, after which the pace is judged."""


LAP = 5.0
"""Seconds of waiting on one range after which its speed is compared with that of others."""

LAGGING = 3
"""How many times slower than the median a range must be, to be asked for anew."""

_LEAST_LAPS = 8
"""Speeds below which a median says little."""


class Pace:
    """`limit` is the number of large ranges to be moved at once, at most `most`; `raised` is
    called when it has grown. `fast` is false until one connection has shown that it is."""

    def __init__(self, most: int, raised: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._raised = raised
        self._few = min(most, max(4, 2 * (os.cpu_count() or 1)))
        self._lock = threading.Lock()
        self._bytes = 0
        self._waited = 0.0
        self.limit = self._few
        self.fast = False
        self._laps: dict[str, deque[float]] = {}

    def record(self, count: int, waited: float) -> None:
        """Note `count` bytes that one connection brought in `waited` seconds."""
        with self._lock:
            self._bytes += count
            self._waited += waited
            if self._waited < _WINDOW:
                return
            slow = self._bytes / self._waited < FAST
            before, self.limit = self.limit, self._most if slow else self._few
            self.fast = not slow
            self._bytes, self._waited = 0, 0.0
        if self.limit > before:
            self._raised()

    def compare(self, origin: str, speed: float) -> bool:
        """Note the speed of a range over one lap; return whether it lags behind the others of
        its origin."""
        with self._lock:
            laps = self._laps.setdefault(origin, deque(maxlen=64))
            laps.append(speed)
            usual = median(laps) if len(laps) >= _LEAST_LAPS else 0.0
        return speed * LAGGING < usual


class Lap:
    """Watches the speed of one range."""

    def __init__(self, pace: Pace, origin: str) -> None:
        self._pace = pace
        self._origin = origin
        self._bytes = 0
        self._waited = 0.0
        self._told = False

    def lags(self, count: int, waited: float) -> bool:
        """Note `count` more bytes after `waited` seconds; true once, when it is too slow."""
        self._bytes += count
        self._waited += waited
        if self._told or self._waited < LAP:
            return False
        self._told = self._pace.compare(self._origin, self._bytes / self._waited)
        self._bytes, self._waited = 0, 0.0
        return self._told
