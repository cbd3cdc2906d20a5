"""What can be said of a plan before a byte moves: what cannot work, and what will hardly.

The store drops an unfinished upload some time after it began, however busy it is. Whether a
large file makes it depends on the bandwidth limit or, without one, on what this run has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sync_daemon.domain.events import BytesMoved, Event
from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.parts import find_outlasting, find_too_large
from sync_daemon.domain.plan import Plan
from sync_daemon.engine.limits import Limits
from sync_daemon.ports import Clock, Emit

SHORTEST_LIFE = timedelta(hours=1)
"""What outlasts no hour is not worth asking the store about."""

_ENOUGH = 10.0
"""Seconds of moving bytes without which their speed says nothing."""

_RESUMED = 2 * 1024**2
"""Bytes of one event that did not come over the line but out of a journal."""


@dataclass(frozen=True, slots=True)
class Life:
    """How long the store keeps an unfinished upload; `assumed`: it does not say."""

    length: timedelta
    assumed: bool = False


class Speed:
    """Measures the bytes of a run on their way to `emit`."""

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self._lock = threading.Lock()
        self._bytes = 0
        self._first: float | None = None
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event, and pass it on."""
        if isinstance(event, BytesMoved) and event.bytes < _RESUMED:
            with self._lock:
                self._last = self._clock.monotonic()
                if self._first is None:
                    self._first = self._last
                self._bytes += event.bytes
        self._emit(event)

    def rate(self) -> float | None:
        """Return bytes per second since the first; None: too few to tell."""
        with self._lock:
            seconds = self._last - (self._last if self._first is None else self._first)
            return self._bytes / seconds if seconds >= _ENOUGH else None


class Outlook:
    """Judges plans. `rate` is what may be hoped for, in bytes per second; `ask_life` costs
    requests, and is called once at most."""

    def __init__(
        self,
        limits: Limits,
        rate: Callable[[], float | None] = lambda: None,
        ask_life: Callable[[], Life | None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._rate = rate
        self._ask_life = ask_life
        self._lock = threading.Lock()
        self._asked = False
        self._life: Life | None = None

    def reasons(self, plan: Plan) -> tuple[str, ...]:
        """Return why a plan cannot be carried out."""
        return find_too_large(_sizes(plan), self._limits.part_size, self._limits.memory)

    def warnings(self, plan: Plan) -> tuple[str, ...]:
        """Return what may go wrong with a plan."""
        rate, files, least = self._rate(), _sizes(plan), self._limits.part_size
        if not rate or not find_outlasting(files, least, rate, SHORTEST_LIFE):
            return ()
        life = self._find_life()
        if life is None:
            return ()
        hours = life.length.total_seconds() / 3600
        what = f"{hours:,.0f} h after it began"
        if life.assumed:
            what += " (MinIO's default; this key may not ask)"
        return tuple(
            f"{path} takes {files[path] / rate / 3600:,.0f} h at {rate / 1024:,.0f} KiB/s, and the"
            f" store drops an unfinished upload {what}: raise its stale_uploads_expiry with"
            " `sync-daemon store init`"
            for path in find_outlasting(files, least, rate, life.length)
        )

    def _find_life(self) -> Life | None:
        with self._lock:
            if not self._asked:
                self._asked, self._life = True, self._ask_life()
            return self._life


def _sizes(plan: Plan) -> dict[RepoPath, int]:
    return {file.path: file.size for file in plan.fetches}
