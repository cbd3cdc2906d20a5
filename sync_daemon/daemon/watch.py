"""Who watches the daemon: metrics and their server, punctuality, alerts, the room in the store.

The store that alerts and health speak to is opened apart from the engine's: it must answer
while a run is stuck. One that cannot be opened is tried again each minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from typing import Self

from sync_daemon import bootstrap
from sync_daemon.bootstrap import alerting
from sync_daemon.config import Settings
from sync_daemon.daemon.health import (
    Check,
    Makeable,
    Punctuality,
    Remembered,
    health_routes,
    reach,
)
from sync_daemon.daemon.hooks import Hooks
from sync_daemon.daemon.jobs import Planned, plan
from sync_daemon.daemon.memory import recall
from sync_daemon.daemon.requests import Requests
from sync_daemon.daemon.room import Room
from sync_daemon.daemon.web import Routes, Web, serve
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import Event
from sync_daemon.observers.alerts import Alerts
from sync_daemon.observers.fanout import Listener
from sync_daemon.observers.metrics import Metrics
from sync_daemon.ports import Clock, Emit, ObjectStore

_AT_MOST = timedelta(days=366)
"""What is allowed where nothing is scheduled: nothing can be late."""

LAST_WORDS = 2.0
"""Seconds in which alerts that wait may still be delivered when the daemon ends."""


class Watch:
    """A context manager. `complain` is told of trouble with the server of metrics; `requests`
    are given the jobs that its clients ask for.

    Raises ConfigurationError for an address that cannot be listened on, and for alerts that
    cannot be sent.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        complain: Callable[[str], None],
        requests: Requests,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._complain = complain
        self._emit: Emit = _nobody
        self._store: ObjectStore | None = None
        self._opened, self._served = ExitStack(), ExitStack()
        self.due: Callable[[], Mapping[str, datetime]] = dict
        self.metrics = Metrics(bootstrap.declared(settings))
        self._punctual = Punctuality(time.monotonic, _allowance(settings, clock.now()))
        self._makeable = Makeable()
        self._ready = Remembered(self._reach, time.monotonic)
        self._room = Room(time.monotonic)
        self._began: datetime | None = clock.now()
        self._hooks = Hooks(settings, requests, time.monotonic, self._tell)
        self.alerts: Alerts = alerting.open_alerts(settings, clock)

    def __enter__(self) -> Self:
        self._served.enter_context(self._serve(self._settings))
        return self

    def __exit__(self, *exc: object) -> None:
        self._served.close()
        # A store that does not answer must not keep the process from ending.
        closing = threading.Thread(target=self.alerts.close, args=(LAST_WORDS,), daemon=True)
        closing.start()
        closing.join(2 * LAST_WORDS)
        if not closing.is_alive():
            self._opened.close()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who is to be told every event."""
        return self.metrics, self._punctual, self._makeable, self._room, self.alerts

    def attach(self, emit: Emit) -> None:
        """Say where its own events go."""
        self._emit = emit
        self.alerts.attach(emit)

    def _tell(self, event: Event) -> None:
        self._emit(event)

    def every_minute(self) -> None:
        """Look at the store and the time. Blocks while the store does."""
        store = self._store or self._open()
        if store is not None:
            self._room.tell(store, self._emit)
        self.alerts.tick()

    def configure(self, settings: Settings) -> None:
        """Follow a new configuration. Raises ConfigurationError, and then nothing has changed."""
        if settings.metrics != self._settings.metrics:
            served = ExitStack()
            served.enter_context(self._serve(settings))
            self._served.close()
            self._served = served
        alerting.configure(self.alerts, self._settings, settings, self._clock)
        self._hooks.configure(settings)
        self.metrics.declare(bootstrap.declared(settings))
        self._punctual.allow(_allowance(settings, self._clock.now()))
        moved, self._settings = settings.store != self._settings.store, settings
        if moved:
            self._store = None  # it is opened anew by the next chore
            self._room.forget()

    def _open(self) -> ObjectStore | None:
        self._opened.close()
        try:
            store = self._opened.enter_context(bootstrap.store(self._settings))
        except SyncError:
            return None  # the runs tell why
        self._store = store
        self.alerts.begin(store, alerting.facts(store, self._clock, due=self.due))
        firing = (alert.finding.key for alert in self.alerts.firing)
        self.metrics.remember_alerts(firing)
        if (began := self._began) is not None:
            self._began = None  # once in the life of a process
            recall(self.metrics, store, self._clock, began)
        return store

    def _serve(self, settings: Settings) -> AbstractContextManager[Web | None]:
        return serve(settings.metrics.listen, self._routes(), self._complain)

    def _routes(self) -> Routes:
        checks: dict[str, Check] = {
            "store": self._ready,
            "runs": self._punctual.check,
            "last run": self._makeable.check,
        }
        return {**health_routes(self.metrics.exposition, checks), **self._hooks.routes()}

    def _reach(self) -> str | None:
        if (store := self._store) is None:
            return "it was not reached yet"
        return reach(store)()


def _allowance(settings: Settings, now: datetime) -> timedelta:
    """Return the longest silence that the schedule explains: one round of its most frequent
    job, and the delay that alerts tolerate."""
    rounds = [between for one in plan(settings) if (between := _round(one, now)) is not None]
    if not rounds:
        return _AT_MOST
    return min(rounds) + settings.alerts.overdue.after


def _round(planned: Planned, now: datetime) -> timedelta | None:
    first = planned.next_after(now)
    second = planned.next_after(first) if first is not None else None
    return second - first + planned.jitter if first is not None and second is not None else None


def _nobody(event: object) -> None:
    del event
