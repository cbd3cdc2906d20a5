"""Which jobs are due: the times of each, jitter added, missed ones made up for by one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_daemon.daemon.jobs import Job, Planned

BACKWARDS = timedelta(minutes=1)
"""A clock that was set back by more than this makes all times new."""


@dataclass(slots=True)
class _Entry:
    planned: Planned
    at: datetime | None


class Schedule:
    """Tells what is due. `chance` gives the part of the jitter to take, from 0 to 1."""

    def __init__(
        self, planned: Iterable[Planned], now: datetime, chance: Callable[[], float]
    ) -> None:
        self._chance = chance
        self._entries: dict[Job, _Entry] = {}
        self._seen = now
        self.replace(planned, now)

    def replace(self, planned: Iterable[Planned], now: datetime) -> None:
        """Take other jobs; those that did not change keep their time."""
        before = self._entries
        self._entries = {}
        for one in planned:
            old = before.get(one.job)
            same = old is not None and old.planned == one
            self._entries[one.job] = old if old and same else self._entry(one, now)

    def due(self, now: datetime) -> tuple[Job, ...]:
        """Return what is due, each job once however often it was missed, and plan it anew."""
        if now < self._seen - BACKWARDS:
            for entry in self._entries.values():
                entry.at = self._next(entry.planned, now)
        self._seen = now
        found = [e for e in self._entries.values() if e.at is not None and e.at <= now]
        for entry in found:
            entry.at = self._next(entry.planned, now)
        return tuple(entry.planned.job for entry in found)

    def jobs(self) -> tuple[Job, ...]:
        """Return all jobs."""
        return tuple(self._entries)

    def times(self) -> dict[Job, datetime]:
        """Return when each job comes next."""
        return {job: entry.at for job, entry in self._entries.items() if entry.at is not None}

    def soonest(self) -> tuple[Job, datetime] | None:
        """Return what comes next, and when."""
        return min(self.times().items(), key=lambda one: one[1], default=None)

    def _entry(self, planned: Planned, now: datetime) -> _Entry:
        return _Entry(planned, self._next(planned, now))

    def _next(self, planned: Planned, now: datetime) -> datetime | None:
        at = planned.next_after(now)
        if at is None or not planned.jitter:
            return at
        following = planned.next_after(at)
        most = min(planned.jitter, (following - at) / 2) if following else planned.jitter
        return at + most * self._chance()
