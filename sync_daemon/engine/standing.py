"""How things stand: what is declared beside what is stored, and what the newest run said.

A run's record names what changed and only counts what did not, so
that only the newest one is asked: an older one may tell of trouble that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from sync_daemon.domain import keys
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.record import RunRecord, parse_record
from sync_daemon.domain.report import VersionReport
from sync_daemon.domain.versions import newest_tags
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.browse import Browser, Summary, Tally, version_json

State = Literal["published", "missing", "held", "undeclared", "damaged"]
Entry = Wanted | WantedTags
Name = tuple[str, str]

_LABEL = "tags:"
"""How a whole entry is called; no version's name holds a colon."""

DAYS = 8
"""Days that are searched for the newest run, one request each, before all are listed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One version, declared or stored or both; `tags:PATTERN` stands for a whole entry.

    `last` is what the newest run made of it, None if that is not known.
    """

    model: ModelName
    version: str
    state: State
    stored: Summary | None = None
    last: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `status --json`."""
        return {
            "model": self.model,
            "version": self.version,
            "state": self.state,
            **version_json(self.stored),
            "last": dict(self.last) if self.last else None,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that is declared or stored."""

    rows: tuple[Row, ...]
    tally: Tally
    run: RunRecord | None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `status --json`, but for the store's name."""
        return {
            "last_run": self.run.head() if self.run else None,
            "versions": [row.to_json() for row in self.rows],
            "totals": self.tally.to_json(),
        }


def take_stock(browser: Browser, entries: Iterable[Entry], now: datetime) -> Standing:
    """Read the store and return how it stands to what is declared."""
    tally = Tally()
    stored = browser.survey(browser.names(), tally)
    run = newest_run(browser, now)
    rows = set_beside(tuple(entries), stored, run)
    return Standing(rows, tally, run)


def set_beside(
    entries: Sequence[Entry], stored: Sequence[Summary], run: RunRecord | None
) -> tuple[Row, ...]:
    """Return a row for each version that is declared or stored, sorted by model.

    A version that a tag pattern gives is known only once it is stored or was tried.
    """
    held = {(one.model, str(one.version)): one for one in stored}
    declared = set(_declared(entries, held, run))
    rows = [
        Row(model, version, _state(found, declared=(model, version) in declared), found)
        for (model, version), found in held.items()
    ]
    rows += [Row(ModelName(m), v, "missing") for m, v in sorted(declared - held.keys())]
    rows.sort(key=lambda row: row.model)  # stable: versions keep the order they have
    return _with_results(rows, run)


def _state(stored: Summary, *, declared: bool) -> State:
    if stored.problem is not None:
        return "damaged"
    if not declared:
        return "undeclared"
    return "held" if stored.pointer and stored.pointer.hold else "published"


def _declared(
    entries: Sequence[Entry], held: Iterable[Name], run: RunRecord | None
) -> Iterator[Name]:
    named = {(e.model, str(e.version)) for e in entries if isinstance(e, Wanted)}
    yield from named
    tried: set[Name] = set(run.results) if run else set()
    known = {*held, *tried} - named
    for entry in entries:
        if isinstance(entry, WantedTags):
            versions = {version for model, version in known if model == entry.model}
            for version in _given(entry, versions):
                yield entry.model, version


def _given(entry: WantedTags, versions: Iterable[str]) -> Iterator[str]:
    """Yield which of `versions` a pattern gives, and the label of what cannot be expanded."""
    tags = {version.replace("%2F", "/") for version in versions}
    failed = {tag for tag in tags if tag.startswith(_LABEL)}
    newest = newest_tags(tags - failed, entry.pattern, entry.latest)
    for tag in newest:
        yield tag.replace("/", "%2F")
    for label in failed:
        if label == entry.label or fnmatchcase(label.removeprefix(_LABEL), entry.pattern):
            yield label
    if not newest:
        yield entry.label


def _with_results(rows: Sequence[Row], run: RunRecord | None) -> tuple[Row, ...]:
    """Add what the newest run said. What it does not name was unchanged or not selected;
    which of the two is certain only when the numbers agree."""
    if run is None:
        return tuple(rows)
    results = run.results
    silent = [
        row
        for row in rows
        if (row.model, row.version) not in results and row.state in {"published", "damaged"}
        if run.covers(row.model, row.version)
    ]
    all_unchanged = len(silent) == run.unchanged
    quiet: set[Name] = {(row.model, row.version) for row in silent if all_unchanged}
    for row in rows:
        result = results.get((row.model, row.version))
        if result is not None and _is_outdated(result, row, run):
            del results[row.model, row.version]
    return tuple(_with_result(row, results, quiet) for row in rows)


def _with_result(row: Row, results: Mapping[Name, VersionReport], quiet: set[Name]) -> Row:
    name = (row.model, row.version)
    if name in quiet:
        return replace(row, last={"status": "unchanged", "reasons": [], "error": None})
    if (result := results.get(name)) is None:
        return row
    found = result.to_json()
    return replace(row, last={key: found[key] for key in ("status", "reasons", "error")})


def _is_outdated(result: VersionReport, row: Row, run: RunRecord) -> bool:
    """Tell whether another run, while this one left the version to it or later, published it."""
    pointer = row.stored.pointer if row.stored else None
    passed = result.status in {"skipped", "interrupted"}
    return passed and pointer is not None and pointer.published_at > run.started


def newest_run(browser: Browser, now: datetime) -> RunRecord | None:
    """Return the newest run's record, or None when there is none that can be read."""
    for key in _newest_keys(browser, now):
        with suppress(ValueError):  # damaged, or somebody else's
            data = browser.fetch(key)
            return parse_record(data) if data is not None else None
    return None


def _newest_keys(browser: Browser, now: datetime) -> Iterator[str]:
    """Yield the key of the newest record; run ids begin with the time, so that they sort.

    The first day is tomorrow: the host that wrote may be ahead of this one.
    """
    for back in range(-1, DAYS):
        if found := browser.objects(keys.runs_of_day(now - timedelta(days=back))):
            yield found[-1]
            return
    if found := browser.objects(keys.RUNS):
        yield found[-1]
