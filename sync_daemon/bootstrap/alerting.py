"""Settings -> alerts: the part of the wiring that only those need who watch.

alerts = alerting.open_alerts(settings, clock)      # ConfigurationError: Apprise is missing ...
with session.listening(alerts) as emit:
    alerts.attach(emit)
    alerts.begin(store, alerting.facts(store, clock, due=...))
    ...                                             # runs; the daemon calls tick() each minute
    alerts.tick()
    alerts.close()                                  # while the store is still open
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from sync_daemon.bootstrap.sources import entries
from sync_daemon.bootstrap.ways import path_text, proxy_text
from sync_daemon.config import Settings
from sync_daemon.domain.alert_rules import Thresholds
from sync_daemon.engine.history import PastRuns
from sync_daemon.observers.alert_scope import Scope
from sync_daemon.observers.alertmanager import Alertmanager
from sync_daemon.observers.alerts import Alerts, Facts
from sync_daemon.observers.apprise_sink import AppriseSink
from sync_daemon.observers.delivery import Delivery, Sink
from sync_daemon.ports import Clock, Emit, ObjectStore

_REPEATS = 2
"""Repeat intervals after which an Alertmanager takes an alert for over that nobody tells again."""


def open_alerts(settings: Settings, clock: Clock) -> Alerts:
    """Return alerts, with their threads started. Raises ConfigurationError."""
    delivery = Delivery(sinks(settings, clock))
    return Alerts(thresholds(settings), scope(settings), clock, delivery)


def configure(alerts: Alerts, former: Settings, settings: Settings, clock: Clock) -> None:
    """Let running alerts follow a new configuration. Raises ConfigurationError.

    The sinks stay unless they differ, since an alert may wait for one that does not answer.
    """
    same = (former.alerts, former.store.url) == (settings.alerts, settings.store.url)
    delivery = None if same else Delivery(sinks(settings, clock))
    alerts.configure(thresholds(settings), scope(settings), delivery)


@contextmanager
def hearing(alerts: Alerts, emit: Emit, store: ObjectStore, clock: Clock) -> Iterator[None]:
    """Let alerts hear the block, judge it in the end, and deliver what they have to say."""
    alerts.attach(emit)
    alerts.begin(store, facts(store, clock))
    try:
        yield
        alerts.tick()
    finally:
        alerts.close()


def facts(
    store: ObjectStore,
    clock: Clock,
    *,
    free_bytes: Callable[[], int | None] | None = None,
    due: Callable[[], Mapping[str, datetime]] | None = None,
) -> Facts:
    """Return what the rules ask of the store, and of the daemon's schedule."""
    return Facts(
        past=lambda since: PastRuns(store, clock).runs(since),
        free_bytes=free_bytes or store.free_bytes,
        due=due,
    )


def sinks(settings: Settings, clock: Clock) -> tuple[Sink, ...]:
    """Return where alerts go besides the log. Raises ConfigurationError."""
    config = settings.alerts
    found: list[Sink] = [AppriseSink(n, url.reveal()) for n, url in enumerate(config.urls)]
    if config.alertmanager is not None:
        labels = {"job": "sync-daemon", "store": str(settings.store.url)}
        found.append(
            Alertmanager(
                config.alertmanager.reveal(),
                labels,
                config.repeat * _REPEATS,
                clock.now,
                proxy=proxy_text(config.proxy),
                ca_file=path_text(config.ca_file),
            )
        )
    return tuple(found)


def scope(settings: Settings) -> Scope:
    """Return what the YAML asks for."""
    return Scope.of(entries(settings))


def thresholds(settings: Settings) -> Thresholds:
    """Return when to alert."""
    config = settings.alerts
    return Thresholds(
        slow_below=config.slow_transfer.below,
        slow_times=config.slow_transfer.consecutive,
        failures_above=config.failure_rate.above,
        failures_within=config.failure_rate.within,
        stale_after=config.stale.after,
        store_below=config.store_full.below,
        overdue_after=config.overdue.after,
        repeat=config.repeat,
    )
