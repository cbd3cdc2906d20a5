"""A day of a mirror in events: what every metric needs to move at least once."""

from __future__ import annotations

from collections.abc import Iterator

from sync_daemon.domain import events
from sync_daemon.domain.events import Event
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.metrics import Metrics

HUB = "https://hub.example"
MIRROR = "https://mirror.example"
MIB = 1024**2
GIB = 1024**3

DECLARED = Declared(
    versions=frozenset({("llama", "1.0"), ("llama", "main"), ("qwen", "main")}),
    patterns=frozenset({("qwen", "v*")}),
    sources=frozenset({("hf", "llama"), ("hf", "qwen")}),
    endpoints=frozenset({("hf", HUB), ("hf", MIRROR)}),
)


class WallClock:
    """Seconds since 1970 that pass when the test says so."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time


def finished(run_id: str, status: str = "ok", failed: int = 0) -> events.RunFinished:
    return events.RunFinished(run_id, status, 12.5, 1, 1, failed, 40, 120)


def published(model: str, version: str) -> events.VersionPublished:
    return events.VersionPublished(model, version, "c", "m", 3, 10, 10, 1.0)


def alert(name: str, state: str, **labels: str) -> events.AlertTold:
    return events.AlertTold(name, "warning", state, labels, 1.0, 0.0, "then", "look")


def stored(size: int, seconds: float, *, throttled: bool = False) -> events.BlobStored:
    return events.BlobStored("llama", "p", "0" * 64, size, seconds, "hf", throttled)


def first_run() -> Iterator[Event]:
    """A run in which nearly everything happens."""
    yield events.RunStarted("r1", "full", 4)
    for endpoint, failed in ((HUB, False), (HUB, True), (MIRROR, False), (MIRROR, False)):
        yield events.EndpointAsked("hf", endpoint, failed)
    yield events.EndpointMeasured("hf", HUB, 0.12)
    yield events.EndpointMeasured("hf", MIRROR, 0.31)
    yield events.EndpointRested("hf", HUB, 30.0, "reset")
    yield events.RequestRetried("list", 1, 1.0, "reset")
    yield events.OriginThrottled("hub.example", 2.5, "spread")
    yield events.BytesMoved("llama", "main", 64 * MIB, "hf")
    yield events.BytesMoved("qwen", "main", 8 * MIB, "hf")
    yield stored(64 * MIB, 8.0)
    yield events.BlobFailed("qwen", "p", "origin_unavailable", "reset", "hf")
    yield published("llama", "main")
    yield events.VersionUnchanged("llama", "1.0", "c")
    yield events.VersionFailed("qwen", "main", "origin_unavailable", "reset")
    yield events.VersionRefused("qwen", "v2.0", ("licence",))
    yield finished("r1", "partial", 2)


def story() -> Iterator[Event]:
    """That run, and what the daemon tells around it."""
    yield events.StoreMeasured(used=300 * GIB, free=200 * GIB, capacity=500 * GIB)
    yield from first_run()
    yield events.RunSkipped("incremental", 1)
    yield events.TriggerAccepted("webhook", ("llama",))
    yield events.TriggerAccepted("webhook", ("llama",), debounced=True)
    yield events.TriggerIgnored("webhook", "org/other", "it changes no files")
    yield events.TriggerRefused("api", 401, "secret", "192.0.2.7", 3)
    yield events.VerifyFinished("verify", 3, 10, 64 * MIB, 0, 2.0)
    yield alert("refused", "firing", model="qwen", version="v2.0")


def visit(metrics: Metrics) -> None:
    """Requests to the gateway of that day."""
    for kind, status in (("api", 200), ("file", 302), ("page", 401), ("health", 200)):
        metrics.traffic.began()
        metrics.traffic.ended(kind, status, 1200, 0.004)


def told(*more: Event) -> Metrics:
    """Metrics that have heard the story."""
    metrics = Metrics(DECLARED)
    for event in (*story(), *more):
        metrics(event)
    visit(metrics)
    return metrics
