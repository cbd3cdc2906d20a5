"""What the status page tells besides the shelf: runs, alerts, next runs, and what sharing saves.

It is read from the store by threads, at most every `FRESH` seconds however many people look.
What cannot be read is left out, and the page says so.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sync_daemon.domain import keys
from sync_daemon.domain.alerts import Alert, parse_book
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreUnavailable, SyncError
from sync_daemon.domain.record import RunRecord
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.records import Filter, find_runs
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.shelf import Edition
from sync_daemon.ports import Clock

FRESH = timedelta(seconds=15)
_UNREAD = "the figures are still being read: look again in a moment"
RUNS = 10
"""Runs that the page shows, the newest."""

_DIGITS = 16
"""Hex digits of a digest that tell two contents apart here: 64 bits."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A job of the schedule; `model` is empty where it is for all."""

    job: str
    model: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What was found at `read_at`. Sizes in bytes: of all versions, and each content once."""

    read_at: datetime
    runs: tuple[RunRecord, ...] = ()
    alerts: tuple[Alert, ...] = ()
    coming: tuple[Coming, ...] = ()
    size: int = 0
    distinct: int = 0
    troubles: tuple[str, ...] = ()

    @property
    def saved(self) -> int:
        """Bytes that sharing content saves."""
        return self.size - self.distinct


@dataclass(frozen=True, slots=True)
class _Content:
    """Which contents an edition has: the beginning of each digest, and its size."""

    digests: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))


class Collector:
    """Reads an overview when the last one is too old. `coming` tells the schedule's next runs."""

    def __init__(
        self,
        library: Library,
        browser: Browser,
        clock: Clock,
        coming: Callable[[datetime], tuple[Coming, ...]],
    ) -> None:
        self._library, self._browser, self._clock, self._coming = library, browser, clock, coming
        self._lock = threading.Lock()
        self._last = Overview(datetime.min.replace(tzinfo=UTC), troubles=(_UNREAD,))
        self._contents: dict[Digest, _Content] = {}

    def collect(self) -> Overview:
        """Return how things stand. Of all who ask one waits for the store if nothing fresh is
        known; the others get what was known before, so that no crowd waits for a store that
        hangs."""
        if not self._lock.acquire(blocking=False):
            return self._last
        try:
            now = self._clock.now()
            if now - self._last.read_at > FRESH:
                self._last = replace(self._read(now), read_at=self._clock.now())
            return self._last
        finally:
            self._lock.release()

    @property
    def last(self) -> Overview:
        """What was found last, however old."""
        return self._last

    def _read(self, now: datetime) -> Overview:
        troubles: list[str] = []
        size, distinct = self._weigh(troubles)
        return Overview(
            read_at=now,
            runs=self._runs(now, troubles),
            alerts=self._alerts(troubles),
            coming=self._coming(now),
            size=size,
            distinct=distinct,
            troubles=tuple(troubles),
        )

    def _runs(self, now: datetime, troubles: list[str]) -> tuple[RunRecord, ...]:
        try:
            return find_runs(self._browser, Filter(), RUNS, now).runs
        except SyncError as error:
            troubles.append(f"run reports cannot be read: {error}")
            return ()

    def _alerts(self, troubles: list[str]) -> tuple[Alert, ...]:
        try:
            book = self._browser.fetch(keys.ALERTS)
            return parse_book(book).alerts if book is not None else ()
        except (SyncError, ValueError) as error:
            troubles.append(f"alerts cannot be read: {error}")
            return ()

    def _weigh(self, troubles: list[str]) -> tuple[int, int]:
        editions = [one for model in self._library.shelf.models.values() for one in model.editions]
        contents: dict[Digest, _Content] = {}
        down = False
        for one in editions:
            if (known := self._contents.get(one.manifest)) is not None:
                contents[one.manifest] = known
            elif not down:
                try:
                    contents[one.manifest] = self._content(one)
                except (SyncError, FileNotFoundError) as error:
                    troubles.append(f"{one} cannot be read: {error}")
                    down = isinstance(error, StoreUnavailable)  # the rest would wait in vain
        self._contents = contents
        distinct: dict[int, int] = {}
        for content in contents.values():
            distinct.update(zip(content.digests, content.sizes, strict=True))
        return sum(one.size for one in editions), sum(distinct.values())

    def _content(self, edition: Edition) -> _Content:
        content = _Content()
        for entry in self._library.snapshot(edition).files.values():
            content.digests.append(int(entry.sha256[:_DIGITS], 16))
            content.sizes.append(entry.size)
        return content


def last_words(runs: tuple[RunRecord, ...]) -> Mapping[str, str]:
    """Return what went wrong with versions when they were last tried, by MODEL@VERSION."""
    found: dict[str, str] = {}
    for run in reversed(runs):
        for one in run.versions:
            name = f"{one.model}@{one.version}"
            found.pop(name, None)
            if one.status in {"failed", "refused"}:
                reasons = [*one.reasons, *([one.error.message] if one.error else [])]
                found[name] = f"{one.status}: {'; '.join(dict.fromkeys(reasons)) or 'see the log'}"
    return found
