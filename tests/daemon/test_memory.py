"""After a restart metrics know what former runs did: no gauge begins empty."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync_daemon.daemon.memory import recall
from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.report import EndpointTally, RunReport, Status, VersionReport
from sync_daemon.engine.tools import How
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.metrics import Metrics
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, running, wanted
from tests.support.stores import StoreThatMayBeDown

HUB = "https://hub.example"
DECLARED = Declared(
    versions=frozenset({("m", "main"), ("m", "old"), ("m", "held")}),
    patterns=frozenset({("m", "v*")}),
    endpoints=frozenset({("hf", HUB)}),
)
NOW = datetime(2026, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Time(FakeClock):
    """A clock that stands at NOW."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(DECLARED, now=NOW.timestamp)


def keep(
    store: MemoryStore, back: timedelta, *results: tuple[str, Status], failures: int = 0
) -> None:
    """Store the report of a run that ended so long ago."""
    started = NOW - back
    versions = tuple(VersionReport(ModelName("m"), name, status) for name, status in results)
    tally = EndpointTally("hf", HUB, 10, failures)
    run_id = f"{started:%Y%m%dT%H%M%S}.000Z-0badcafe"
    report = RunReport(run_id, "full", started, 0.0, versions, (tally,))
    store.put(keys.run(run_id, started), report.to_record())


def success(metrics: Metrics, version: str) -> datetime | None:
    labels = {"model": "m", "version": version}
    name = "sync_daemon_last_success_timestamp_seconds"
    found = metrics.registry.get_sample_value(name, labels)
    return datetime.fromtimestamp(found, UTC) if found is not None else None


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sync_daemon_{name}", labels)


def test_reports_tell_of_successes_and_requests(metrics: Metrics) -> None:
    store = MemoryStore()
    keep(store, 3 * HOUR, ("main", "published"), ("v1", "published"), ("held", "held"))
    keep(store, 2 * HOUR, ("main", "failed"), failures=5)
    keep(store, 30 * HOUR, ("old", "published"), failures=10)
    recall(metrics, store, Time(), NOW)
    assert success(metrics, "main") == NOW - 3 * HOUR
    assert success(metrics, "v1") == NOW - 3 * HOUR, "a version that stands for a tag"
    assert success(metrics, "old") == NOW - 30 * HOUR
    assert success(metrics, "held") is None
    assert value(metrics, "success_ratio", origin="hf") == 0.75, "of one day"
    assert value(metrics, "origin_up", origin="hf") is None, "nobody was asked yet"


def test_runs_of_this_process_are_not_counted_twice(metrics: Metrics) -> None:
    store = MemoryStore()
    keep(store, HOUR, ("main", "published"))
    recall(metrics, store, Time(), NOW - 2 * HOUR)
    assert success(metrics, "main") is None
    assert value(metrics, "success_ratio", origin="hf") is None


def test_a_version_that_no_report_tells_of_has_its_pointer(metrics: Metrics) -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"a": b"1"})
    with running(store, origin) as engine:
        assert engine.run((wanted(),), How()).status == "ok"
    for info in list(store.list(keys.RUNS)):
        store.delete(info.key)
    recall(metrics, store, Time(), NOW)
    assert success(metrics, "main") == FakeClock().now()


def test_a_store_that_breaks_costs_only_what_it_would_have_told(metrics: Metrics) -> None:
    store = StoreThatMayBeDown(StoreUnavailable("no answer"), "current.json")
    keep(store, HOUR, ("main", "published"))
    recall(metrics, store, Time(), NOW)
    assert success(metrics, "main") == NOW - HOUR
