"""What the events of runs say about alerts: one method for each kind of event.

Holds the book and what is known of the run that is under way. No reading, no waiting and no
lock: alerts.py, which owns it, sees to these.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sync_daemon.domain import alert_rules as rules, events, keys
from sync_daemon.domain.alerts import Alert, Book, Finding, Key, Version
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.events import Event
from sync_daemon.observers.alert_scope import Scope

Told = tuple[Alert, ...]

_REMEMBERED = 1000
"""Resumed files, and waits for limits, that are remembered at most."""

_EXPLAINS = 0.1
"""Share of a file's time that waits for limits must take to explain its speed."""

_NO_ROOM: Key = ("store_full", ())
"""The alert about room. A threshold of 0 says that a write was refused."""

_WRONG_BYTES = "digest_mismatch"
_CERTIFICATE: Key = ("certificate_invalid", ())
_OF_VERSION = ("refused", "tag_moved", "stale")
_OF_ORIGIN = ("origin_down", "slow_transfer")


class Watch:
    """Follows events. `book` is what fires; `unknown` are versions that failed and whose last
    success nobody has looked up; `failures` says whether anything failed since it was reset."""

    def __init__(self, limits: rules.Thresholds, scope: Scope) -> None:
        self.limits = limits
        self.scope = scope
        self.book = Book()
        self.unknown: set[Version] = set()
        self.failures = False
        self.running = ""
        self.success: dict[Version, datetime] = {}
        self._free: int | None = None
        self._roomless: set[Version] = set()
        self._damaged: set[str] = set()
        self._resumed: dict[tuple[str, str], int] = {}
        self._waits: deque[tuple[datetime, float]] = deque(maxlen=_REMEMBERED)
        self._begin()

    def _begin(self) -> None:
        self._seen: set[Version] = set()
        self._unanswered: Counter[str] = Counter()
        self._answered: set[str] = set()

    def see(self, event: Event, now: datetime) -> Told:
        """Take an event; return what is to be told."""
        handler = _HANDLERS.get(type(event))
        return handler(self, event, now) if handler else ()

    def settle(self, name: str, findings: Iterable[Finding], now: datetime) -> Told:
        """Take all that the rule `name` finds now."""
        self.book, told = self.book.settled(name, tuple(findings), now)
        return told

    def find(self, findings: Iterable[Finding], now: datetime) -> Told:
        """Take what a rule finds, and leave the rest as it is."""
        told: Told = ()
        for finding in findings:
            self.book, more = self.book.raised(finding, now)
            told += more
        return told

    def end(self, these: Iterable[Key], now: datetime) -> Told:
        """Say that these are over."""
        self.book, told = self.book.resolved(these, now)
        return told

    def forget(self, versions: Iterable[Version], now: datetime) -> Told:
        """Say that nobody wants these versions any more."""
        gone = frozenset(versions)
        for version in gone:
            self._set_behind(version, None)
            self.success.pop(version, None)
        told = self.end([k for k in self.book.firing if version_of(k) in gone], now)
        return told + self._fits(gone, now)

    # -- versions --------------------------------------------------------------------

    def succeeded(self, event: Any, now: datetime) -> Told:
        """A version is as declared."""
        version = self._note(event, answered=True)
        self.success[version] = now
        self.unknown.discard(version)
        self._set_behind(version, None)
        over = [(name, _labels(version)) for name in _OF_VERSION]
        if isinstance(event, events.VersionPublished):
            over += self._wrong_bytes_of(event.model)
            over += _written_by(event)
        return self.end(over, now) + self._fits([version], now)

    def _wrong_bytes_of(self, model: str) -> list[Key]:
        return [
            key
            for key in self.book.firing
            if key[0] == "corrupt_blob" and ("model", model) in key[1]
        ]

    def refused(self, event: events.VersionRefused, now: datetime) -> Told:
        """A version was not let through: for its content, or because its tag moved."""
        version = self._note(event, answered=True)
        self._fall_behind(version, now)
        finding = rules.judge_refusal(version, event.reasons)
        other = "refused" if finding.name == "tag_moved" else "tag_moved"
        told = self.find([finding], now) + self.end([(other, _labels(version))], now)
        return told + self._fits([version], now)

    def failed(self, event: events.VersionFailed, now: datetime) -> Told:
        """A version could not be mirrored."""
        unanswered = event.kind in rules.UNANSWERED
        version = self._note(event, answered=not unanswered and not event.kind.startswith("store"))
        self._fall_behind(version, now)
        self.failures = True
        if unanswered and (origin := self.scope.origin_of(version)):
            self._unanswered[origin] += 1
        if event.kind == "store_full":
            self._roomless.add(version)
            return self.find([Finding(*_NO_ROOM, 0, 0, event.error)], now)
        return () if unanswered else self._fits([version], now)

    def passed(self, event: events.VersionPassed, now: datetime) -> Told:
        """Nothing was done. A held version is as somebody wants it."""
        if event.status == "held":
            return self.succeeded(event, now)
        version = self._note(event, answered=False)
        if event.status != "skipped":  # whoever holds the lock does the work
            self._fall_behind(version, now)
        return ()

    def _note(self, event: Any, *, answered: bool) -> Version:
        version = (str(event.model), str(event.version))
        self._seen.add(version)
        if answered and (origin := self.scope.origin_of(version)):
            self._answered.add(origin)
        return version

    def _fall_behind(self, version: Version, now: datetime) -> None:
        if version not in self.book.behind:
            if version not in self.success:
                self.unknown.add(version)
            self._set_behind(version, self.success.get(version, now))

    def _set_behind(self, version: Version, since: datetime | None) -> None:
        behind = {key: moment for key, moment in self.book.behind.items() if key != version}
        if since is not None:
            behind[version] = since
        self.book = Book(self.book.firing, self.book.slow, behind)

    def correct(self, successes: Mapping[Version, datetime]) -> None:
        """Set right since when versions are behind, once somebody has looked it up."""
        for version in self.unknown & self.book.behind.keys() & successes.keys():
            self._set_behind(version, successes[version])
        self.unknown.clear()

    # -- files -----------------------------------------------------------------------

    def stored(self, event: events.BlobStored, now: datetime) -> Told:
        """A file was moved: how fast, and whether it replaces a damaged one."""
        over: list[Key] = [("corrupt_blob", (("model", event.model), ("path", event.path)))]
        if event.uploaded:
            over.append(("corrupt_blob", (("key", keys.blob(Digest(event.sha256))),)))
        moved = event.size - self._resumed.pop((event.model, event.path), 0)
        told = self.end(over, now)
        origin, limited = event.origin or "origin", event.throttled or self._waited(event, now)
        if moved < rules.LEAST_TRANSFER or limited or event.seconds <= 0:
            return told
        return told + self._clocked(origin, moved / event.seconds, now)

    def _clocked(self, origin: str, speed: float, now: datetime) -> Told:
        slow = {key: count for key, count in self.book.slow.items() if key != origin}
        if speed >= self.limits.slow_below:
            self.book = Book(self.book.firing, slow, self.book.behind)
            return self.end([("slow_transfer", (("origin", origin),))], now)
        count = slow[origin] = self.book.slow.get(origin, 0) + 1
        self.book = Book(self.book.firing, slow, self.book.behind)
        return self.find(rules.judge_speed(origin, count, speed, self.limits), now)

    def _waited(self, event: events.BlobStored, now: datetime) -> bool:
        waited = sum(s for end, s in self._waits if (now - end).total_seconds() < event.seconds)
        return waited > _EXPLAINS * event.seconds

    def resumed(self, event: events.BlobResumed, _: datetime) -> Told:
        """A part of a file is there already: it says nothing about the speed."""
        if len(self._resumed) < _REMEMBERED:
            self._resumed[event.model, event.path] = event.bytes
        return ()

    def waits(self, event: events.OriginThrottled, now: datetime) -> Told:
        """A limit on requests makes transfers slower than their origin is."""
        self._waits.append((now, event.seconds))
        return ()

    def lost(self, event: events.BlobFailed, now: datetime) -> Told:
        """A file could not be moved; wrong bytes, twice, are told by themselves."""
        self._resumed.pop((event.model, event.path), None)
        if event.kind != _WRONG_BYTES:
            return ()
        labels = (("model", event.model), ("path", event.path))
        return self.find([Finding("corrupt_blob", labels, 1, 0, event.error)], now)

    # -- the store, the configuration, runs ---------------------------------------------

    def damaged(self, event: events.DamageFound, now: datetime) -> Told:
        """Something in the store is missing or wrong."""
        self._damaged.add(event.key)
        labels = (("key", event.key),)
        message = f"{event.key}: {event.problem}"
        return self.find([Finding("corrupt_blob", labels, 1, 0, message)], now)

    def verified(self, event: events.VerifyFinished, now: datetime) -> Told:
        """A part of the store was looked at, or all of it: what was not found again is sound."""
        found, self._damaged = self._damaged, set()
        over: list[Key] = [("run_overdue", (("job", event.job),))]
        for key in self.book.firing if event.complete else ():
            damaged = dict(key[1]).get("key")
            if key[0] == "corrupt_blob" and damaged is not None and damaged not in found:
                over.append(key)
        return self.end(over, now)

    def measured(self, event: events.StoreMeasured, now: datetime) -> Told:
        """The store says how much room it has."""
        return self.judge_space(event.free, now)

    def judge_space(self, free: int | None, now: datetime) -> Told:
        """Judge the store's free bytes; None says nothing.

        After a refused write only the versions that found no room can say that there is some:
        what is left may be much, and too little for them.
        """
        self._free = self._free if free is None else free
        return () if self._free is None or self._was_refused() else self._settle_space(now)

    def _was_refused(self) -> bool:
        kept = self.book.firing.get(_NO_ROOM)
        return kept is not None and kept.alert.finding.threshold == 0

    def _fits(self, versions: Iterable[Version], now: datetime) -> Told:
        """Note versions that do not lack room, or not any more; the last one ends the alert.

        After a restart it is not known which ones found none: then all that are behind count.
        """
        if not self._was_refused():
            return ()
        self._roomless = (self._roomless or set(self.book.behind)) - set(versions)
        return () if self._roomless else self._settle_space(now)

    def _settle_space(self, now: datetime) -> Told:
        found = () if self._free is None else rules.judge_space(self._free, self.limits)
        return self.settle("store_full", found, now)

    def rejected(self, event: events.ConfigInvalid, now: datetime) -> Told:
        """The configuration that was to be read again is wrong."""
        first = event.problems[0] if event.problems else "it cannot be read"
        message = f"the configuration is invalid, the old one stays in force: {first}"
        found = Finding("config_invalid", (), max(1, len(event.problems)), 0, message)
        return self.find([found], now)

    def accepted(self, event: Event, now: datetime) -> Told:
        """The configuration is valid; a daemon that starts has a certificate that is, too."""
        over: list[Key] = [("config_invalid", ())]
        over += [_CERTIFICATE] if isinstance(event, events.DaemonStarted) else []
        return self.end(over, now)

    def certificate_rejected(self, event: events.CertificateInvalid, now: datetime) -> Told:
        """The gateway's certificate that was to be read again is wrong."""
        message = f"the gateway's new certificate is wrong, the old one stays: {event.error}"
        return self.find([Finding(*_CERTIFICATE, 1, 0, message)], now)

    def certificate_accepted(self, _: Event, now: datetime) -> Told:
        """The gateway has a new certificate."""
        return self.end([_CERTIFICATE], now)

    def troubled(self, event: Any, _: datetime) -> Told:
        """An endpoint failed."""
        self.failures = self.failures or getattr(event, "failed", True)
        return ()

    def began(self, event: events.RunStarted, _: datetime) -> Told:
        """A run is under way."""
        self.running = event.mode
        return ()

    def died(self, _: Event, __: datetime) -> Told:
        """A run is over before its end: it says nothing of what is still wanted."""
        self.running = ""
        self._begin()
        return ()

    def finished(self, _: Event, now: datetime) -> Told:
        """A run is over: which origins answered, and which versions nobody wants any more."""
        done = {"incremental", self.running}  # a full run does all that the other does
        self.running = ""
        down, alive = rules.judge_origins(self._unanswered, self._answered)
        told = self.find(down, now)
        told += self.end([("origin_down", (("origin", one),)) for one in sorted(alive)], now)
        told += self.end(self._unasked(), now)
        told += self.end([("run_overdue", (("job", job),)) for job in sorted(done)], now)
        seen = frozenset(self._seen)
        self._begin()
        if not self.scope.covers(seen):
            return told
        known = {version_of(key) for key in self.book.firing} | self.book.behind.keys()
        known |= self.success.keys()
        return told + self.forget([one for one in known if one and one not in seen], now)

    def _unasked(self) -> list[Key]:
        """Return what is said of origins that the configuration does not ask any more."""
        return [
            key
            for key in self.book.firing
            if key[0] in _OF_ORIGIN and dict(key[1])["origin"] not in self.scope.origins
        ]


def hears(event: Event) -> bool:
    """Tell whether an event says anything of alerts: most are bytes on their way."""
    return type(event) in _HANDLERS


def version_of(key: Key) -> Version | None:
    """Return the version that an alert is about; None: not about one."""
    labels = dict(key[1])
    return (labels["model"], labels["version"]) if {"model", "version"} <= labels.keys() else None


def _written_by(event: events.VersionPublished) -> list[Key]:
    """Return what would be said of the two objects that a publication writes."""
    name = keys.parse_manifest(event.manifest)
    written = (event.manifest, keys.current(*name[:2])) if name else ()
    return [("corrupt_blob", (("key", key),)) for key in written]


def _labels(version: Version) -> tuple[tuple[str, str], ...]:
    return (("model", version[0]), ("version", version[1]))


_HANDLERS: Mapping[type[Event], Callable[[Watch, Any, datetime], Told]] = MappingProxyType(
    {
        events.VersionPublished: Watch.succeeded,
        events.VersionUnchanged: Watch.succeeded,
        events.VersionRefused: Watch.refused,
        events.VersionFailed: Watch.failed,
        events.VersionPassed: Watch.passed,
        events.BlobStored: Watch.stored,
        events.BlobResumed: Watch.resumed,
        events.BlobFailed: Watch.lost,
        events.OriginThrottled: Watch.waits,
        events.EndpointRested: Watch.troubled,
        events.EndpointAsked: Watch.troubled,
        events.DamageFound: Watch.damaged,
        events.VerifyFinished: Watch.verified,
        events.StoreMeasured: Watch.measured,
        events.ConfigInvalid: Watch.rejected,
        events.ConfigReloaded: Watch.accepted,
        events.DaemonStarted: Watch.accepted,
        events.CertificateInvalid: Watch.certificate_rejected,
        events.CertificateLoaded: Watch.certificate_accepted,
        events.RunStarted: Watch.began,
        events.RunFinished: Watch.finished,
        events.RunFailed: Watch.died,
    }
)
