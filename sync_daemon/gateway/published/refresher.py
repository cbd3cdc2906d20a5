"""Looks again and again at what is published, and at whatever else may change.

A store that is down changes nothing: what was read last goes on being served, and it is said
once, and once more when the store is back. A look that takes long, because the store is large
or slow, is made seldom: at most a tenth of the time goes into it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sync_daemon.domain.errors import Interrupted
from sync_daemon.domain.events import GatewayFresh, GatewayStale, VersionUnreadable
from sync_daemon.gateway.keeper import Keeper, Look
from sync_daemon.gateway.published.library import Library
from sync_daemon.ports import Clock, Emit

SHARE = 10
"""The part of the time that looking may take: one in so many."""

LATE = 60.0
"""Seconds, at least, for which what was read last is new enough to be ready."""

_LATE_LOOKS = 5
"""Or so many looks that should have been made."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Since when looking fails (monotonic seconds), and why."""

    since: float
    error: str


class Refresher:
    """Looks at a library, and at `more`, in a thread of its own."""

    def __init__(
        self,
        library: Library,
        every: timedelta,
        clock: Clock,
        emit: Emit,
        *,
        more: Sequence[Look] = (),
    ) -> None:
        """`clock.wait` returning True ends it."""
        self._library = library
        self._every = every.total_seconds()
        self._clock = clock
        self._emit = emit
        self._more = more
        self._tried = threading.Event()
        self._read_at: float | None = None
        self._took = 0.0
        self._trouble: Trouble | None = None
        self._told: frozenset[str] = frozenset()
        self._keeper = Keeper("refresher", [self._try], self.pause, clock)

    def start(self) -> None:
        """Begin, with a look at once unless there was one."""
        self._keeper.start(0.0 if self._read_at is None else self.pause())

    def every(self, pause: timedelta) -> None:
        """Look so often, from the next look on."""
        self._every = pause.total_seconds()

    def wait(self, seconds: float) -> None:
        """Wait until the store was looked at once, whether it answered or not."""
        if self._read_at is None:
            self._tried.wait(seconds)

    def join(self, seconds: float) -> bool:
        """Wait for its end, which the clock's stop event brings; return whether it came."""
        return self._keeper.join(seconds)

    def look(self) -> None:
        """Look once, now. Raises StoreUnavailable, StoreRefused."""
        began = self._clock.monotonic()
        self._library.refresh()
        for look in self._more:
            look()
        self._took = self._clock.monotonic() - began
        self._read_at = began
        self._tell_problems()

    def reasons(self) -> tuple[str, ...]:
        """Return why what is served may be too old; empty: it is not."""
        if self._read_at is None:
            return ("what is published has not been read yet",)
        age = self._clock.monotonic() - self._read_at
        if age <= max(LATE, _LATE_LOOKS * self.pause()):
            return ()
        return (f"the store could not be read for {age:.0f} s",)

    def pause(self) -> float:
        """Return the seconds from one look to the next."""
        return max(self._every, (SHARE - 1) * self._took)

    def _try(self) -> None:
        try:
            self.look()
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the next look may go well
            self._tell_trouble(error)
        else:
            self._tell_relief()
        finally:
            self._tried.set()

    def _tell_trouble(self, error: Exception) -> None:
        if self._trouble is None:
            self._trouble = Trouble(self._clock.monotonic(), str(error))
            self._emit(GatewayStale(error=str(error), hint=getattr(error, "hint", None)))

    def _tell_relief(self) -> None:
        if self._trouble is not None:
            seconds = self._clock.monotonic() - self._trouble.since
            self._emit(GatewayFresh(seconds=round(seconds, 1)))
            self._trouble = None

    def _tell_problems(self) -> None:
        problems = self._library.shelf.problems
        for version in sorted(problems.keys() - self._told):
            self._emit(VersionUnreadable(version=version, problem=problems[version]))
        self._told = frozenset(problems)
