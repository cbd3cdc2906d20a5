"""Finds the reports of former runs in the store, the newest first, within bounds.

One request tells the oldest report there is. Then days are listed, back from tomorrow (the
host that wrote may be ahead of this one), and after a week of them whole months. It ends as
soon as enough was found, so that the years before are never listed. Reports are read several
at a time, and only those that a filter may let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.record import RunRecord, parse_record
from sync_daemon.engine.browse import Browser

Ended = Literal["oldest", "limit", "reports", "listings"]

DAYS = 8
"""Days that are listed one by one, before whole months are."""

MOST_LISTINGS = 60
"""Prefixes that are listed at most: days, then almost five years."""

MOST_REPORTS = 1000
"""Reports that are read at most when a small number is asked for, else fifty for each."""

_ENDING = re.compile(r"[0-9a-f]{4,32}", re.ASCII)
_FOR_EACH = 50
_FIRST = 1000
_AT_ONCE = 8
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are meant; nothing of a kind lets all through.

    A run has a status, and so has each version in it. With `models`, only versions of these
    count.
    """

    models: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    since: datetime | None = None

    def lets_through(self, record: RunRecord) -> bool:
        """Tell whether a run is meant."""
        named = [one for one in record.versions if not self.models or one.model in self.models]
        if self.models and not named:
            return False
        found = {record.status, *(one.status for one in named)}
        return not self.statuses or bool(found & self.statuses)


@dataclass(frozen=True, slots=True)
class Findings:
    """Runs, newest first, and what could not be read, each with its key and why.

    `ended` says what ended the search: the oldest report that was meant, the limit, or the
    bound on reports or listings; `reached` is the last run that was looked at.
    """

    runs: tuple[RunRecord, ...]
    unreadable: tuple[str, ...]
    ended: Ended
    reached: datetime | None = None


def find_runs(browser: Browser, wanted: Filter, limit: int, now: datetime) -> Findings:
    """Return the newest `limit` runs that are wanted."""
    search = _Search(browser, wanted, now)
    most, looked = max(MOST_REPORTS, _FOR_EACH * limit), 0
    runs: list[RunRecord] = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="history") as pool:
        while batch := tuple(islice(search.keys, min(_AT_ONCE, most - looked))):
            for record in pool.map(search.read, batch):
                looked += 1
                search.note(record)
                if record.run is not None and wanted.lets_through(record.run):
                    runs.append(record.run)
                if len(runs) == limit:
                    return search.findings(runs, "limit")
    ended: Ended = "reports" if looked == most else search.ended
    return search.findings(runs, ended)


def find_ids(browser: Browser, beginning: str, most: int) -> tuple[str, ...]:
    """Return the keys of runs whose id begins so: `most` at most, the oldest of them."""
    prefix = keys.runs_named(beginning)
    found = browser.first(prefix, _FIRST) if prefix is not None else ()
    return tuple(key for key in found if keys.parse_run(key) is not None)[:most]


def find_endings(browser: Browser, ending: str, most: int, now: datetime) -> tuple[str, ...]:
    """Return the keys of runs whose id ends so: `most` at most, the newest of them.

    `ending` is the last part of an id, as `POST /api/runs` answers it, or its end.
    """
    if not _ENDING.fullmatch(ending):
        return ()
    walked = _Search(browser, Filter(), now).keys
    return tuple(islice((key for key in walked if key.endswith(f"{ending}.json")), most))


def read_run(browser: Browser, key: str) -> RunRecord | None:
    """Return the run whose report lies at `key`; None if it is gone.

    Raises ValueError for what is no report of that run.
    """
    if (data := browser.fetch(key)) is None:
        return None
    record = parse_record(data)
    if (named := keys.parse_run(key)) is None or named[0] != record.run_id:
        message = f"it is the report of {record.run_id!r}"
        raise ValueError(message)
    return record


@dataclass(frozen=True, slots=True)
class _Read:
    key: str
    run: RunRecord | None = None
    problem: str | None = None


class _Search:
    """One way back through the reports."""

    def __init__(self, browser: Browser, wanted: Filter, now: datetime) -> None:
        self._browser = browser
        self._since = wanted.since
        self._now = now
        self._unreadable: list[str] = []
        self._reached: datetime | None = None
        self.ended: Ended = "oldest"
        self.keys: Iterator[str] = self._walk()

    def read(self, key: str) -> _Read:
        """Read one report. Raises Unavailable."""
        try:
            return _Read(key, read_run(self._browser, key))
        except (ValueError, StoreRefused) as error:
            return _Read(key, problem=str(error))

    def note(self, read: _Read) -> None:
        """Remember how far it came, and what could not be read."""
        if read.problem is not None:
            self._unreadable.append(f"{read.key}: {read.problem}")
        if (run := keys.parse_run(read.key)) is not None:
            self._reached = run[1]

    def findings(self, runs: Iterable[RunRecord], ended: Ended) -> Findings:
        """Return what was found."""
        return Findings(tuple(runs), tuple(self._unreadable), ended, self._reached)

    def _walk(self) -> Iterator[str]:
        oldest = self._oldest()
        if oldest is None:
            return
        floor = max(oldest, self._since) if self._since else oldest
        before = "~"  # sorts after all that begins with a digit
        for number, prefix in enumerate(_prefixes(self._now, floor)):
            if number == MOST_LISTINGS:
                self.ended = "listings"
                return
            listed = [key for key in self._browser.objects(prefix) if key < before]
            yield from self._ours(reversed(listed))
            before = prefix

    def _oldest(self) -> datetime | None:
        """Return the day of the first report, the first of all days if foreign objects hide it."""
        first = self._browser.first(keys.RUNS, _FIRST)
        for key in first:
            if (run := keys.parse_run(key)) is not None:
                return run[1]
        if len(first) == _FIRST:
            return datetime.min.replace(tzinfo=self._now.tzinfo)
        self._unreadable += [_foreign(key) for key in first]
        return None

    def _ours(self, listed: Iterable[str]) -> Iterator[str]:
        for key in listed:
            run = keys.parse_run(key)
            if run is None:
                self._unreadable.append(_foreign(key))
            elif self._since is None or run[1] >= self._since:
                yield key


def _foreign(key: str) -> str:
    return f"{key}: its name is not that of a run report"


def _prefixes(now: datetime, floor: datetime) -> Iterator[str]:
    """Yield days, then months, back to that of `floor`."""
    day = now + _DAY
    for _ in range(DAYS + 1):
        if day.date() < floor.date():
            return
        yield keys.runs_of_day(day)
        day -= _DAY
    month = day.replace(day=1)
    while month.date() >= floor.date().replace(day=1):
        yield keys.runs_of_month(month)
        month = (month - _DAY).replace(day=1)
