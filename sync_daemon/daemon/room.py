"""How full the store is, told once a minute.

A server that says how large it is and not how full (`store.capacity` of the YAML, a quota)
has its objects counted by a listing, a few times a day; in between what is stored here is
added.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import BlobStored, Event, StoreMeasured
from sync_daemon.ports import Emit, ObjectStore

COUNT_EVERY = 6 * 3600.0
"""Seconds from one listing of the store to the next: a request for each 1000 objects."""


class Room:
    """A listener that adds what is stored to what was counted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counted: int | None = None
        self._since = 0
        self._again = monotonic()

    def __call__(self, event: Event) -> None:
        """Take note of a stored blob."""
        if isinstance(event, BlobStored):
            with self._lock:
                self._since += event.size

    def forget(self) -> None:
        """Count anew: it is another store now."""
        self._counted, self._again = None, self._monotonic()

    def tell(self, store: ObjectStore, emit: Emit) -> None:
        """Tell how full the store is, if that is known; three requests, and a listing now and
        then. Never raises SyncError."""
        try:
            found = store.capacity()
            if found is not None and found.used is None:
                found = found.counting(self._stored(store))
        except SyncError:
            return
        if found is not None:
            emit(StoreMeasured(found.used, found.free, found.total))

    def _stored(self, store: ObjectStore) -> int:
        if self._counted is None or self._monotonic() >= self._again:
            with self._lock:
                self._since = 0
            self._counted = sum(info.size for info in store.list(""))
            self._again = self._monotonic() + COUNT_EVERY
        return self._counted + self._since
