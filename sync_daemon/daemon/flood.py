"""What keeps a flood of requests cheap: a bucket of tokens, and few log lines."""

from __future__ import annotations

import threading
from collections.abc import Callable

PER_MINUTE = 30
"""Requests of one kind that are let through in a minute, and at once."""

BETWEEN_LINES = 10.0
"""Seconds from one log line about refused requests to the next."""


class Bucket:
    """Lets `per_minute` through at once, and so many a minute in the long run."""

    def __init__(self, monotonic: Callable[[], float], per_minute: int = PER_MINUTE) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rate = per_minute / 60
        self._most = self._tokens = float(per_minute)
        self._at = monotonic()

    def take(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0


class Tally:
    """Counts what is refused, and says when it is time for a line about it."""

    def __init__(self, monotonic: Callable[[], float], seconds: float = BETWEEN_LINES) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seconds = seconds
        self._count = 0
        self._next = monotonic()

    def count(self) -> int:
        """Count one more; return how many there were since the last line, or 0: no line yet."""
        with self._lock:
            self._count += 1
            now = self._monotonic()
            if now < self._next:
                return 0
            self._next = now + self._seconds
            found, self._count = self._count, 0
            return found
