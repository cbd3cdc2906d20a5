"""The gateway's requests as Prometheus metrics; docs/metrics.md lists them.

Labels are bounded: kinds and classes of status are few, and neither clients, tokens nor models
get a series. Counting a request takes some microseconds, since every series is there from the
beginning.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sync_daemon.observers.series import Series

_KINDS = ("api", "file", "page", "health")
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300, 3600)


class Traffic:
    """What the gateway answers, as numbers. `began` and `ended` are called by one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        every = tuple((kind, status) for kind in _KINDS for status in _CLASSES)
        kinds = tuple((kind,) for kind in _KINDS)
        self._requests = Series(
            Counter(
                "sync_daemon_gateway_requests", "Answers.", ("kind", "status"), registry=registry
            ),
            every,
        )
        self._bytes = Series(
            Counter("sync_daemon_gateway_sent_bytes", "Bodies sent.", ("kind",), registry=registry),
            kinds,
        )
        self._seconds = Series(
            Histogram(
                "sync_daemon_gateway_request_seconds",
                "Time of a request, to the last byte of its answer.",
                ("kind",),
                registry=registry,
                buckets=_SECONDS,
            ),
            kinds,
        )
        self._active = Gauge(
            "sync_daemon_gateway_requests_active",
            "Requests that are answered now.",
            registry=registry,
        )

    def began(self) -> None:
        """A request is being answered."""
        self._active.inc()

    def ended(self, kind: str, status: int, sent: int, seconds: float) -> None:
        """It was answered, with `sent` bytes of body."""
        self._active.dec()
        self._requests.at(kind, f"{min(max(status // 100, 1), 5)}xx").inc()
        self._bytes.at(kind).inc(sent)
        self._seconds.at(kind).observe(seconds)
