"""How things stand: what is declared beside what is stored, and what the newest run said.

A run's record names what changed and only counts what did not (design, section 4), so
that only the newest one is asked: an older one may tell of trouble that is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from sync_daemon.domain import keys
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import EVERYTHING, Selected
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
class LastRun:
    """The record of a run. `results` are its entries, as in `run-once --json`, by version."""

    run_id: str
    mode: str
    status: str
    started: datetime
    seconds: float
    unchanged: int
    results: Mapping[Name, Mapping[str, Any]]
    selected: Selected = EVERYTHING

    def to_json(self) -> dict[str, Any]:
        """Return the run without its entries."""
        return {
            "run_id": self.run_id,
            "mode": self.mode,
            "status": self.status,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": self.seconds,
        }


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
    run: LastRun | None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `status --json`, but for the store's name."""
        return {
            "last_run": self.run.to_json() if self.run else None,
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
    entries: Sequence[Entry], stored: Sequence[Summary], run: LastRun | None
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
    entries: Sequence[Entry], held: Iterable[Name], run: LastRun | None
) -> Iterator[Name]:
    named = {(e.model, str(e.version)) for e in entries if isinstance(e, Wanted)}
    yield from named
    tried = set(run.results) if run else set()
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


def _with_results(rows: Sequence[Row], run: LastRun | None) -> tuple[Row, ...]:
    """Add what the newest run said. What it does not name was unchanged or not selected;
    which of the two is certain only when the numbers agree."""
    if run is None:
        return tuple(rows)
    silent = [
        row
        for row in rows
        if (row.model, row.version) not in run.results and row.state in {"published", "damaged"}
        if run.selected.covers(row.model, row.version)
    ]
    all_unchanged = len(silent) == run.unchanged
    quiet: set[Name] = {(row.model, row.version) for row in silent if all_unchanged}
    return tuple(_with_result(row, run, quiet) for row in rows)


def _with_result(row: Row, run: LastRun, quiet: set[Name]) -> Row:
    name = (row.model, row.version)
    if name in quiet:
        return replace(row, last={"status": "unchanged", "reasons": [], "error": None})
    result = run.results.get(name)
    if result is None or _is_outdated(result, row, run):
        return row
    last = {
        "status": result.get("status"),
        "reasons": result.get("reasons", []),
        "error": result.get("error"),
    }
    return replace(row, last=last)


def _is_outdated(result: Mapping[str, Any], row: Row, run: LastRun) -> bool:
    """Tell whether another run, while this one left the version to it or later, published it."""
    pointer = row.stored.pointer if row.stored else None
    passed = result.get("status") in {"skipped", "interrupted"}
    return passed and pointer is not None and pointer.published_at > run.started


def newest_run(browser: Browser, now: datetime) -> LastRun | None:
    """Return the newest run's record, or None when there is none that can be read."""
    for key in _newest_keys(browser, now):
        data = browser.fetch(key)
        return _decode(data) if data is not None else None
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


def _decode(data: bytes) -> LastRun | None:
    try:
        raw = json.loads(data)
        selected = raw.get("selected") or {}  # older releases did not keep it
        return LastRun(
            run_id=str(raw["run_id"]),
            mode=str(raw["mode"]),
            status=str(raw["status"]),
            started=datetime.fromisoformat(raw["started"]),
            seconds=float(raw["seconds"]),
            unchanged=int(raw["unchanged"]),
            results={(one["model"], one["version"]): one for one in raw["models"]},
            selected=Selected(
                tuple(selected.get("models", ())), tuple(selected.get("versions", ()))
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
