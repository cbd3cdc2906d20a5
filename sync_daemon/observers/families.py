"""The families of metrics that events move; `standing` has those that grow old by themselves."""

from __future__ import annotations

import platform
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sync_daemon import __version__
from sync_daemon.domain.alerts import SEVERITIES
from sync_daemon.domain.events import TRIGGER_REFUSALS, BytesMoved, catalogue
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.series import Series

_RESULTS = ("ok", "failed")
_BLOBS = ("stored", "failed")
_RUNS = ("ok", "partial", "failed", "skipped")
_OUTCOMES = ("published", "unchanged", "refused", "failed", "held", "skipped", "interrupted")
_TRIGGERS = ("webhook", "api")
_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_SPEEDS = (1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8, 5e8, 1e9)


class Families:
    """Every family, by what it is about. Names and labels are an interface (docs/metrics.md)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Series[Counter]:
            return Series(Counter(f"sync_daemon_{name}", text, labels, registry=registry))

        def gauge(name: str, text: str, *labels: str) -> Series[Gauge]:
            return Series(Gauge(f"sync_daemon_{name}", text, labels, registry=registry))

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], *labels: str
        ) -> Series[Histogram]:
            found = Histogram(
                f"sync_daemon_{name}", text, labels, registry=registry, buckets=buckets
            )
            return Series(found)

        self.moved = counter(
            "transfer_bytes", "Bytes that arrived, repeats included.", "origin", "model"
        )
        self.seconds = histogram(
            "transfer_seconds", "Time of a file, from its first byte.", _SECONDS, "origin"
        )
        self.speed = histogram(
            "transfer_speed_bytes_per_second",
            "Speed of a file of at least 16 MiB that no bandwidth limit held back.",
            _SPEEDS,
            "origin",
        )
        self.blobs = counter("blobs", "Files that were to be moved.", "origin", "result")
        self.runs = counter("runs", "Runs, and those that were skipped.", "status")
        self.run_seconds = histogram("run_seconds", "Time of a run.", _SECONDS, "mode")
        self.last_run = gauge(
            "last_run_timestamp_seconds", "When a run last ended with this status.", "status"
        )
        self.outcomes = counter("versions", "What became of versions, run by run.", "status")
        self.requests = counter(
            "origin_requests", "Requests to an endpoint.", "origin", "endpoint", "result"
        )
        self.all_requests = counter("requests", "Requests that runs cost, at their end.", "side")
        self.retries = counter("request_retries", "Requests that were tried again.")
        self.throttled = counter("throttled_seconds", "Waits for an origin's limits.")
        self.rtt = gauge(
            "origin_rtt_seconds", "How long an endpoint last took to answer.", "endpoint"
        )
        self.rests = counter(
            "endpoint_rests", "How often an endpoint was rested.", "origin", "endpoint"
        )
        self.store = gauge("store_bytes", "How full the store is.", "kind")
        self.alerts = gauge("alerts_firing", "Alerts that fire now.", "alert", "severity")
        self.damage = gauge("damaged_objects", "Damage that the last verification found.", "task")
        self.verified = gauge(
            "last_verify_timestamp_seconds", "When a verification last ended.", "task"
        )
        self.config = gauge("config_valid", "0 while the YAML that was read last is wrong.")
        self.active = gauge("runs_active", "Runs that go on now.")
        self.triggers = counter(
            "triggers", "Webhooks and requests for runs, by what became of them.", "by", "result"
        )
        self.told = counter("events", "Events by name, as in docs/events.md.", "event")
        self.build = gauge("build_info", "Always 1.", "version", "python")

    def begin(self, declared: Declared) -> None:
        """Begin at zero what is sure to come, so that the first step is not lost."""
        self.build.at(__version__, platform.python_version()).set(1)
        for family, values in (
            (self.runs, _RUNS),
            (self.outcomes, _OUTCOMES),
            (self.told, (kind.name for kind in catalogue() if kind is not BytesMoved)),
            (self.all_requests, ("origin", "store")),
        ):
            for value in values:
                family.at(value)
        for by, refused in product(_TRIGGERS, ("accepted", *TRIGGER_REFUSALS)):
            self.triggers.at(by, refused)
        for ignored in ("debounced", "ignored"):
            self.triggers.at("webhook", ignored)
        for alert, severity in SEVERITIES.items():
            self.alerts.at(alert, severity)
        self._begin_origins(declared)

    def _begin_origins(self, declared: Declared) -> None:
        for source in declared.sources:
            self.moved.at(*source)
        for origin in declared.origins:
            self.seconds.at(origin)
            self.speed.at(origin)
            for result in _BLOBS:
                self.blobs.at(origin, result)
        for endpoint in declared.endpoints:
            self.rests.at(*endpoint)
            for result in _RESULTS:
                self.requests.at(*endpoint, result)

    def keep(self, declared: Declared) -> None:
        """Drop the series of what is no longer declared."""
        sources, endpoints, origins = declared.sources, declared.endpoints, declared.origins
        urls = {url for _, url in endpoints}
        self.moved.keep(lambda labels: labels in sources)
        self.seconds.keep(lambda labels: labels[0] in origins)
        self.speed.keep(lambda labels: labels[0] in origins)
        self.blobs.keep(lambda labels: labels[0] in origins)
        self.requests.keep(lambda labels: labels[:2] in endpoints)
        self.rests.keep(lambda labels: labels in endpoints)
        self.rtt.keep(lambda labels: labels[0] in urls)
