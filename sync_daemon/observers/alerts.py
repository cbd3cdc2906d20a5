"""Alerts: a listener on the stream of events, and a tick for what only time shows.

    events --+                       +-> event `alert` (a log line, always)
             +-> Watch -> the book --+
    tick() --+   (rules)             +-> delivery.py (Apprise, an Alertmanager)

As a listener it neither waits nor reads. Whatever asks the store happens in `tick`, which
the daemon calls about every minute, and a one-shot run once at its end: history and free space
are looked at, what goes on is told again, and the book is kept in the store (`alerts.json`),
by compare-and-swap, so that several hosts share it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sync_daemon.domain import alert_rules as rules, keys
from sync_daemon.domain.alerts import Alert, Book, parse_book
from sync_daemon.domain.errors import PreconditionFailed, StoreRefused, SyncError
from sync_daemon.domain.events import AlertsLost, AlertTold, Event
from sync_daemon.domain.past import PastRun, find_successes
from sync_daemon.observers.alert_scope import Scope
from sync_daemon.observers.alert_watch import Told, Watch, hears, version_of
from sync_daemon.observers.delivery import Delivery
from sync_daemon.ports import Clock, Emit, ObjectStore

SPACE_EVERY = timedelta(minutes=5)
RATES_EVERY = timedelta(hours=1)
"""How often the free space, and rates of failure that are too high, are looked at again."""

_T = TypeVar("_T")
_LONG_AGO = timedelta(days=32)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules ask. Called by `tick` only; may raise SyncError.

    `past` returns the runs that ended after a time, `free_bytes` the room in the store (None:
    it does not say), `due` when each job should have run that has not run since (None: there is
    no schedule here).
    """

    past: Callable[[datetime], Iterable[PastRun]] = lambda _: ()
    free_bytes: Callable[[], int | None] = lambda: None
    due: Callable[[], Mapping[str, datetime]] | None = None


class Alerts:
    """Turns events and facts into alerts, from any thread; `delivery` takes them to people."""

    def __init__(
        self,
        limits: rules.Thresholds,
        scope: Scope,
        clock: Clock,
        delivery: Delivery,
    ) -> None:
        self._watch = Watch(limits, scope)
        self._clock = clock
        self._delivery = delivery
        self._emit: Emit = lambda _: None
        self._facts = Facts()
        self._store: ObjectStore | None = None
        self._lock = threading.Lock()
        self._ticking = threading.Lock()
        self._base, self._etag = Book(), ""
        self._complained = False
        self._next_space = self._next_rates = datetime.min.replace(tzinfo=UTC)

    def attach(self, emit: Emit) -> None:
        """Say where the events of alerts go: the stream that this listens to."""
        self._emit = emit
        self._delivery.attach(emit)

    def begin(self, store: ObjectStore, facts: Facts) -> None:
        """Read what fires from the store; a store that does not answer is asked again later."""
        with self._ticking:
            self._store, self._facts = store, facts
            self._exchange()

    def configure(
        self, limits: rules.Thresholds, scope: Scope, delivery: Delivery | None = None
    ) -> None:
        """Go on with what a new configuration says; what waits for the old sinks is given up."""
        with self._lock:
            self._watch.limits, self._watch.scope = limits, scope
        if delivery is not None:
            old, self._delivery = self._delivery, delivery
            delivery.attach(self._emit)
            old.close(0)

    @property
    def firing(self) -> tuple[Alert, ...]:
        """What fires now."""
        with self._lock:
            return self._watch.book.alerts

    def __call__(self, event: Event) -> None:
        """Take an event of the stream; its own are let pass."""
        if hears(event):
            with self._lock:
                told = self._watch.see(event, self._clock.now())
            self._tell(told)

    def tick(self) -> None:
        """Look at what time and history say, tell again what goes on, and keep the book."""
        with self._ticking:
            self._exchange()
            now = self._clock.now()
            self._look_at_history(now)
            self._look_at_space(now)
            due = _ask(self._facts.due, None) if self._facts.due else None
            with self._lock:
                told = self._time_passed(due, now)
            self._tell(told)
            self._exchange()
        self._delivery.refresh(self.firing)

    def close(self, seconds: float = 10.0) -> None:
        """Deliver what waits, for so many seconds at most, and keep the book.

        Where no sink could be reached, the next process tells again. The store must be open.
        """
        untold = self._delivery.close(seconds)
        with self._ticking:
            with self._lock:
                self._watch.book = self._watch.book.untold(untold)
            self._exchange()

    def _time_passed(self, due: Mapping[str, datetime] | None, now: datetime) -> Told:
        watch = self._watch
        gone = {version_of(key) for key in watch.book.firing} | watch.book.behind.keys()
        origin_of = watch.scope.origin_of
        told = watch.forget([one for one in gone if one and origin_of(one) is None], now)
        ages = {**watch.success, **watch.book.behind}
        told += watch.settle("stale", rules.judge_ages(ages, now, watch.limits), now)
        if due is not None and not watch.running:
            told += watch.settle("run_overdue", rules.judge_delays(due, now, watch.limits), now)
        watch.book, again = watch.book.repeated(now, watch.limits.repeat)
        return told + again

    def _look_at_history(self, now: datetime) -> None:
        """Read former runs, but only when something failed: it costs a request for each."""
        with self._lock:
            watch, limits = self._watch, self._watch.limits
            names = {key[0] for key in watch.book.firing}
            high = bool(names & {"failure_rate", "endpoint_failure_rate"})
            look = watch.failures or (high and now >= self._next_rates)
            unknown, watch.failures = bool(watch.unknown), False
        if not (look or unknown):
            return
        self._next_rates = now + RATES_EVERY
        within = limits.failures_within
        since = now - max(within, _LONG_AGO)
        past: tuple[PastRun, ...] = _ask(lambda: tuple(self._facts.past(since)), ())
        recent = [run for run in past if run.ended > now - within]
        with self._lock:
            watch.correct(find_successes(watch.unknown, past))
            endpoints = rules.judge_endpoints(recent, limits)
            told = watch.settle("endpoint_failure_rate", endpoints, now)
            told += watch.settle("failure_rate", rules.judge_attempts(recent, limits), now)
        self._tell(told)

    def _look_at_space(self, now: datetime) -> None:
        if now < self._next_space:
            return
        self._next_space = now + SPACE_EVERY
        free = _ask(self._facts.free_bytes, None)
        with self._lock:
            told = self._watch.judge_space(free, now)
        self._tell(told)

    def _tell(self, alerts: Told) -> None:
        """Emit and send; never under the lock, since whoever listens may call back."""
        for alert in alerts:
            self._emit(describe(alert))
        if alerts:
            self._delivery.send(alerts)

    # -- the store -------------------------------------------------------------------

    def _exchange(self) -> None:
        """Take over what others wrote, and write what is new here."""
        if self._store is None:
            return
        try:
            for _ in range(_TRIES):
                self._load(self._store)
                with suppress(PreconditionFailed):
                    self._save(self._store)
                    break
            self._complained = False
        except SyncError as error:
            if not self._complained:
                self._complained = True
                self._emit(AlertsLost(error=str(error)))

    def _load(self, store: ObjectStore) -> None:
        try:
            found = store.get(keys.ALERTS)
        except FileNotFoundError:
            self._etag = ""
            return
        except StoreRefused:  # a directory that the first run makes
            if not self._etag and not self.firing:
                return
            raise
        if found.etag == self._etag:
            return
        try:
            theirs = parse_book(found.data)
        except ValueError:  # whatever it is, it is not worth more than what fires
            theirs = Book()
        with self._lock:
            self._watch.book = self._watch.book.merged(self._base, theirs)
        self._base, self._etag = theirs, found.etag

    def _save(self, store: ObjectStore) -> None:
        with self._lock:
            book = self._watch.book
        if book == self._base or store.stat(keys.MARKER) is None:
            return  # a prefix without a marker is no mirror yet, and must stay empty
        record = book.to_record()
        if self._etag:
            self._etag = store.put(keys.ALERTS, record, if_match=self._etag)
        else:
            self._etag = store.put(keys.ALERTS, record, if_absent=True)
        self._base = book


def _ask(question: Callable[[], _T], otherwise: _T) -> _T:
    """Return the answer, or what to go on with when there is none."""
    with suppress(SyncError):
        return question()
    return otherwise


def describe(alert: Alert) -> AlertTold:
    """Return the event of an alert."""
    found = alert.finding
    return AlertTold(
        alert=alert.name,
        severity=alert.severity,
        state=alert.state,
        labels=dict(found.labels),
        value=found.value,
        threshold=found.threshold,
        since=alert.since.isoformat(timespec="seconds"),
        message=alert.message,
    )
