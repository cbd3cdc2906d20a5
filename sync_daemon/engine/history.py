"""What former runs counted of the origins' endpoints, read back from their reports.

The reports are the only memory that survives restarts and hosts. Reading them costs a listing
for each day and a request for each report, which is why it is done only when somebody asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from sync_daemon.domain import keys
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.past import PastRun, parse_past
from sync_daemon.domain.report import PastTally
from sync_daemon.ports import Clock, ObjectStore

MOST_REPORTS = 48
"""Reports that are read at most, the newest: two days of hourly runs."""

MOST_DAYS = 32
"""Days that are looked through at most, however few runs there were."""

_AT_ONCE = 8


class PastRuns:
    """Reads the reports once, for all origins of a run; what cannot be read is left out."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._found: tuple[PastRun, ...] | None = None

    def __call__(self, since: datetime) -> tuple[PastTally, ...]:
        """Return what was counted by runs that ended after `since`."""
        return tuple(
            PastTally(run.ended, tally) for run in self.runs(since) for tally in run.tallies
        )

    def runs(self, since: datetime) -> tuple[PastRun, ...]:
        """Return the runs that ended after `since`, the newest day first."""
        with self._lock:
            if self._found is None:
                with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="history") as pool:
                    read = pool.map(self._read, self._newest(since))
                    self._found = tuple(run for run in read if run is not None)
            return tuple(run for run in self._found if run.ended > since)

    def _newest(self, since: datetime) -> list[str]:
        found: list[str] = []
        try:
            for prefix in self._days(since):
                found += sorted((info.key for info in self._store.list(prefix)), reverse=True)
                if len(found) >= MOST_REPORTS:
                    break
        except SyncError:
            pass  # what was found so far is still true
        return found[:MOST_REPORTS]

    def _days(self, since: datetime) -> Iterator[str]:
        day = self._clock.now()
        for _ in range(MOST_DAYS):
            if day.date() < since.date():
                return
            yield keys.runs_of_day(day)
            day -= timedelta(days=1)

    def _read(self, key: str) -> PastRun | None:
        try:
            return parse_past(self._store.get(key).data)
        except (SyncError, ValueError, FileNotFoundError):
            return None
