"""Prometheus metrics, kept by listening to events; docs/metrics.md lists them.

The values of labels are bounded: only models, versions, origins and endpoints that the YAML
declares get a series, and `declare` drops the series of what left it. Counters of what is
declared begin at zero, so that their first step is seen as one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from sync_daemon.domain import events
from sync_daemon.domain.alerts import SEVERITIES
from sync_daemon.domain.events import Event
from sync_daemon.domain.report import EndpointTally
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.families import Families
from sync_daemon.observers.standing import Answers, Now, Versions
from sync_daemon.observers.traffic import Traffic

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LEAST_TRANSFER = 16 * 1024**2
"""Bytes of a file whose speed says something of the line."""

_Firing = tuple[str, tuple[tuple[str, str], ...]]


class Metrics:
    """A listener to events, and what /metrics shows of them. `now` is in seconds since 1970."""

    def __init__(self, declared: Declared, *, now: Now = time.time) -> None:
        self.registry = CollectorRegistry()
        self._declared = declared
        self._now = now
        self._lock = threading.Lock()
        self._modes: dict[str, tuple[str, int]] = {}
        self._firing: set[_Firing] = set()
        self._versions = Versions(declared, now)
        self._answers = Answers(declared, now)
        self._of = Families(self.registry)
        self.traffic = Traffic(self.registry)
        self.registry.register(self._versions)
        self.registry.register(self._answers)
        ProcessCollector(registry=self.registry)
        self._of.begin(declared)
        self._of.config.at().set(1)
        self._handlers = self._table()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        handler = self._handlers.get(type(event))
        with self._lock:
            if handler is not None:
                handler(event)
            if not isinstance(event, events.BytesMoved):
                self._of.told.at(event.name).inc()

    def declare(self, declared: Declared) -> None:
        """Drop the series of what is no longer declared; begin those of what is new."""
        with self._lock:
            self._declared = declared
            self._of.keep(declared)
            self._of.begin(declared)
        self._versions.declare(declared)
        self._answers.declare(declared)

    def remember_success(self, model: str, version: str, when: datetime) -> None:
        """Take note of a success before this process began: of a report, or a pointer."""
        self._versions.remember(model, version, when.timestamp())

    def remember_requests(self, tally: EndpointTally, when: datetime) -> None:
        """Take note of requests of a run that ended before this process began."""
        self._answers.remember(tally, when.timestamp())

    @property
    def versions(self) -> frozenset[tuple[str, str]]:
        """The versions that the YAML names."""
        return self._declared.versions

    def remember_alerts(self, firing: Iterable[_Firing]) -> None:
        """Take note of alerts, by name and labels, that fire since before this process began."""
        with self._lock:
            for one in firing:
                self._note_alert(one, firing=True)

    def exposition(self) -> bytes:
        """Return what a scrape gets, as CONTENT_TYPE."""
        return generate_latest(self.registry)

    # -- what events change: the lock is held --------------------------------------------

    def _table(self) -> Mapping[type[Event], Callable[[Any], None]]:
        def settle(state: str) -> Callable[[Any], None]:
            return lambda event: self._settle(event.model, event.version, state)

        return {
            events.BytesMoved: self._move_bytes,
            events.BlobStored: self._store_blob,
            events.BlobFailed: self._fail_blob,
            events.RunStarted: self._start_run,
            events.RunFinished: self._finish_run,
            events.RunFailed: self._fail_run,
            events.RunSkipped: lambda _: self._of.runs.at("skipped").inc(),
            events.VersionPublished: settle("published"),
            events.VersionUnchanged: settle("unchanged"),
            events.VersionRefused: settle("refused"),
            events.VersionFailed: settle("failed"),
            events.VersionPassed: lambda e: self._settle(e.model, e.version, e.status),
            events.RequestRetried: lambda _: self._of.retries.at().inc(),
            events.OriginThrottled: lambda e: self._of.throttled.at().inc(e.seconds),
            events.EndpointAsked: self._count_request,
            events.EndpointMeasured: self._measure_endpoint,
            events.EndpointRested: self._rest_endpoint,
            events.StoreMeasured: self._measure_store,
            events.VerifyFinished: self._verify,
            events.ConfigReloaded: lambda _: self._of.config.at().set(1),
            events.ConfigInvalid: lambda _: self._of.config.at().set(0),
            events.TriggerAccepted: self._take_trigger,
            events.TriggerIgnored: lambda e: self._of.triggers.at(e.by, "ignored").inc(),
            events.TriggerRefused: lambda e: self._of.triggers.at(e.by, e.reason).inc(e.count),
            events.AlertTold: self._hear_alert,
        }

    def _move_bytes(self, event: events.BytesMoved) -> None:
        source = event.origin, event.model
        if source in self._declared.sources:
            self._of.moved.at(*source).inc(event.bytes)

    def _store_blob(self, event: events.BlobStored) -> None:
        origin = event.origin
        if origin not in self._declared.origins:
            return
        self._of.blobs.at(origin, "stored").inc()
        self._of.seconds.at(origin).observe(event.seconds)
        if event.size >= LEAST_TRANSFER and event.seconds > 0 and not event.throttled:
            self._of.speed.at(origin).observe(event.size / event.seconds)

    def _fail_blob(self, event: events.BlobFailed) -> None:
        if event.origin in self._declared.origins:
            self._of.blobs.at(event.origin, "failed").inc()

    def _start_run(self, event: events.RunStarted) -> None:
        if not self._modes:
            self._versions.begin_run()
        self._modes[event.run_id] = event.mode, event.versions
        self._of.active.at().set(len(self._modes))

    def _finish_run(self, event: events.RunFinished) -> None:
        mode, versions = self._modes.pop(event.run_id, ("incremental", 0))
        self._of.active.at().set(len(self._modes))
        self._versions.end_run(versions)
        self._of.runs.at(event.status).inc()
        self._of.run_seconds.at(mode).observe(event.seconds)
        self._of.last_run.at(event.status).set(self._now())
        self._of.all_requests.at("origin").inc(event.origin_requests)
        self._of.all_requests.at("store").inc(event.store_requests)

    def _fail_run(self, event: events.RunFailed) -> None:
        del event
        self._modes.clear()
        self._of.active.at().set(0)
        self._of.runs.at("failed").inc()
        self._of.last_run.at("failed").set(self._now())

    def _settle(self, model: str, version: str, state: str) -> None:
        self._of.outcomes.at(state).inc()
        self._versions.settle(model, version, state)

    def _count_request(self, event: events.EndpointAsked) -> None:
        if (event.origin, event.endpoint) in self._declared.endpoints:
            result = "failed" if event.failed else "ok"
            self._of.requests.at(event.origin, event.endpoint, result).inc()
            self._answers.count(event.origin, event.endpoint, failed=event.failed)

    def _measure_endpoint(self, event: events.EndpointMeasured) -> None:
        if (event.origin, event.endpoint) in self._declared.endpoints:
            self._of.rtt.at(event.endpoint).set(event.seconds)

    def _rest_endpoint(self, event: events.EndpointRested) -> None:
        if (event.origin, event.endpoint) in self._declared.endpoints:
            self._of.rests.at(event.origin, event.endpoint).inc()

    def _measure_store(self, event: events.StoreMeasured) -> None:
        sizes = {"used": event.used, "free": event.free, "capacity": event.capacity}
        for kind, size in sizes.items():
            if size is not None:
                self._of.store.at(kind).set(size)

    def _verify(self, event: events.VerifyFinished) -> None:
        self._of.damage.at(event.job).set(event.damage)
        self._of.verified.at(event.job).set(self._now())

    def _take_trigger(self, event: events.TriggerAccepted) -> None:
        result = "debounced" if event.debounced else "accepted"
        self._of.triggers.at(event.by, result).inc()

    def _hear_alert(self, event: events.AlertTold) -> None:
        labels = tuple(sorted(event.labels.items()))
        self._note_alert((event.alert, labels), firing=event.state == "firing")

    def _note_alert(self, one: _Firing, *, firing: bool) -> None:
        name = one[0]
        if name not in SEVERITIES:
            return
        (self._firing.add if firing else self._firing.discard)(one)
        count = sum(other[0] == name for other in self._firing)
        self._of.alerts.at(name, SEVERITIES[name]).set(count)
