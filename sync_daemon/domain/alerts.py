"""Alerts as values, and the book that remembers which of them fire.

A rule (alert_rules.py) finds that something is so; the book turns findings into alerts:

    found first         -> firing, told once
    found again         -> nothing, until the repeat interval is over
    found no more       -> resolved, told once

The book is one frozen value. It is kept in the store, so that a restart, another host or
the next one-shot run neither repeats nor forgets what was told.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from sync_daemon.domain.words import parse_moment

Severity = Literal["warning", "critical"]
State = Literal["firing", "resolved"]
Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Version = tuple[str, str]
"""A model and a version of it."""

_K = TypeVar("_K")
_V = TypeVar("_V")

FORMAT = 1
MOST = 200
"""Alerts that fire at once, at most: beyond that nobody reads them, and logs name the rest."""

SEVERITIES: Mapping[str, Severity] = {
    "slow_transfer": "warning",
    "endpoint_failure_rate": "warning",
    "failure_rate": "warning",
    "stale": "warning",
    "refused": "warning",
    "tag_moved": "critical",
    "corrupt_blob": "critical",
    "origin_down": "critical",
    "store_full": "critical",
    "run_overdue": "critical",
    "config_invalid": "warning",
    "certificate_invalid": "warning",
    "test": "warning",
}
"""Every alert that there is, by its stable name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule says that something is so. `value` and `threshold` share a unit, and change while
    the finding stays the same."""

    name: str
    labels: Labels
    value: float = field(compare=False)
    threshold: float = field(compare=False)
    message: str = field(compare=False)

    @property
    def key(self) -> Key:
        """What makes two findings the same alert."""
        return self.name, self.labels


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told. `since` is when it began to fire, `ended` when it was over."""

    finding: Finding
    since: datetime
    ended: datetime | None = None

    @property
    def name(self) -> str:
        """The stable name of the rule."""
        return self.finding.name

    @property
    def severity(self) -> Severity:
        """How bad it is: the rule's own."""
        return SEVERITIES[self.finding.name]

    @property
    def state(self) -> State:
        """Whether it is still so."""
        return "firing" if self.ended is None else "resolved"

    @property
    def message(self) -> str:
        """What is told: what was found, marked when it is so no more."""
        return self.finding.message if self.ended is None else f"over: {self.finding.message}"


@dataclass(frozen=True, slots=True)
class Kept:
    """An alert that fires, and when it was told last; None: nobody was reached."""

    alert: Alert
    told: datetime | None


@dataclass(frozen=True, slots=True)
class Book:
    """What fires; and of rules that count over several runs, how far they are.

    `slow` counts slow transfers in a row for each origin; `behind` names the versions whose
    newest attempt did not succeed, with the time of their last success.
    """

    firing: Mapping[Key, Kept] = field(default_factory=dict)
    slow: Mapping[str, int] = field(default_factory=dict)
    behind: Mapping[Version, datetime] = field(default_factory=dict)

    def raised(self, finding: Finding, now: datetime) -> tuple[Book, tuple[Alert, ...]]:
        """Return the book with what was found, and the alert if it is news."""
        kept = self.firing.get(finding.key)
        if kept is None and len(self.firing) >= MOST:
            return self, ()
        alert = Alert(finding, kept.alert.since if kept else now)
        news = Kept(alert, kept.told if kept else now)
        book = replace(self, firing={**self.firing, finding.key: news})
        return book, () if kept else (alert,)

    def resolved(self, keys: Iterable[Key], now: datetime) -> tuple[Book, tuple[Alert, ...]]:
        """Return the book without `keys`, and the alerts that are over by it."""
        over = {key: self.firing[key] for key in keys if key in self.firing}
        left = {key: kept for key, kept in self.firing.items() if key not in over}
        told = tuple(replace(kept.alert, ended=now) for kept in over.values())
        return (replace(self, firing=left), told) if over else (self, ())

    def settled(
        self, name: str, findings: Collection[Finding], now: datetime
    ) -> tuple[Book, tuple[Alert, ...]]:
        """Return the book after a rule that finds all it has to find at once."""
        found = {finding.key for finding in findings}
        book, told = self.resolved([k for k in self.firing if k[0] == name and k not in found], now)
        for finding in findings:
            book, more = book.raised(finding, now)
            told += more
        return book, told

    def repeated(self, now: datetime, every: timedelta) -> tuple[Book, tuple[Alert, ...]]:
        """Return the book, and what is to be told again."""
        due = [
            key
            for key, kept in self.firing.items()
            if kept.told is None or now - kept.told >= every
        ]
        again = {key: replace(self.firing[key], told=now) for key in due}
        if not again:
            return self, ()
        told = tuple(kept.alert for kept in again.values())
        return replace(self, firing={**self.firing, **again}), told

    def untold(self, keys: Iterable[Key]) -> Book:
        """Return the book after nobody was reached: `keys` are told again at once."""
        again = {k: replace(self.firing[k], told=None) for k in keys if k in self.firing}
        return replace(self, firing={**self.firing, **again}) if again else self

    def merged(self, base: Book, theirs: Book) -> Book:
        """Return this book, that began as `base`, with what others made of `base` meanwhile."""
        return Book(
            _merge(self.firing, base.firing, theirs.firing),
            _merge(self.slow, base.slow, theirs.slow),
            _merge(self.behind, base.behind, theirs.behind),
        )

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What fires."""
        return tuple(kept.alert for kept in self.firing.values())

    def to_record(self) -> bytes:
        """Return what the store keeps."""
        document = {
            "format": FORMAT,
            "firing": [_write(kept) for _, kept in sorted(self.firing.items())],
            "slow": dict(self.slow),
            "behind": [
                {"model": model, "version": version, "success": _text(moment)}
                for (model, version), moment in sorted(self.behind.items())
            ],
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def parse_book(record: bytes) -> Book:
    """Return a stored book. Raises ValueError for what is none."""
    try:
        document = json.loads(record)
        if document["format"] != FORMAT:
            message = f"its format is {document['format']!r}"
            raise ValueError(message)
        kept = (_read(one) for one in document["firing"] if one["alert"] in SEVERITIES)
        behind = document["behind"]
        return Book(
            {one.alert.finding.key: one for one in kept},
            {str(origin): int(count) for origin, count in document["slow"].items()},
            {(str(o["model"]), str(o["version"])): parse_moment(o["success"]) for o in behind},
        )
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"this is no book of alerts: {error!r}"
        raise ValueError(message) from error


def _merge(ours: Mapping[_K, _V], base: Mapping[_K, _V], theirs: Mapping[_K, _V]) -> dict[_K, _V]:
    """Where only one side changed a key it wins; where both did, ours does."""
    merged: dict[_K, _V] = {}
    for key in dict.fromkeys([*theirs, *ours]):
        source = theirs if ours.get(key) == base.get(key) else ours
        if key in source:
            merged[key] = source[key]
    return merged


def _write(kept: Kept) -> dict[str, Any]:
    found = kept.alert.finding
    return {
        "alert": found.name,
        "severity": kept.alert.severity,
        "labels": dict(found.labels),
        "value": found.value,
        "threshold": found.threshold,
        "message": found.message,
        "since": _text(kept.alert.since),
        "told": _text(kept.told) if kept.told else None,
    }


def _read(entry: Mapping[str, Any]) -> Kept:
    labels = tuple(sorted((str(name), str(value)) for name, value in entry["labels"].items()))
    finding = Finding(
        str(entry["alert"]),
        labels,
        float(entry["value"]),
        float(entry["threshold"]),
        str(entry["message"]),
    )
    told = entry["told"]
    return Kept(Alert(finding, parse_moment(entry["since"])), parse_moment(told) if told else None)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
