"""The engine says what the rules of alerts listen for: in a run, not in made-up events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_daemon.domain.alert_rules import Thresholds
from sync_daemon.domain.events import AlertTold, BlobStored, Event
from sync_daemon.engine.history import PastRuns
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.tools import How
from sync_daemon.engine.transfer import Transfer
from sync_daemon.observers.alert_scope import Scope
from sync_daemon.observers.alerts import Alerts, Facts
from sync_daemon.observers.delivery import Delivery
from sync_daemon.observers.fanout import Fanout
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, running, wanted


def alerted(store: MemoryStore, origin: FakeOrigin, *entries: object) -> list[tuple[str, str]]:
    """A run in a process of its own, with alerts as `run-once` has them."""
    clock, told = FakeClock(), Recorder()
    scope = Scope.of(entries)  # type: ignore[arg-type]
    alerts = Alerts(Thresholds(), scope, clock, Delivery())
    emit = Fanout([told, alerts], pytest.fail)
    alerts.attach(emit)
    with running(store, origin, emit=emit, clock=clock) as engine:
        alerts.begin(store, Facts(past=PastRuns(store, clock).runs))
        engine.run(entries, How())  # type: ignore[arg-type]
        alerts.tick()
        alerts.close()
    return [(e.alert, e.state) for e in told.events if isinstance(e, AlertTold)]


def test_a_tag_that_moves_fires_once_over_runs_until_it_is_back() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    first = origin.commit("org/m", {"a.bin": b"1" * 2000})
    origin.tag("org/m", "v1", first)
    pinned = wanted(revision="v1")
    assert alerted(store, origin, pinned) == []
    origin.tag("org/m", "v1", origin.commit("org/m", {"a.bin": b"2" * 2000}))
    assert alerted(store, origin, pinned) == [("tag_moved", "firing")]
    assert alerted(store, origin, pinned) == []
    origin.tag("org/m", "v1", first)
    assert alerted(store, origin, pinned) == [("tag_moved", "resolved")]


def test_wrong_bytes_of_an_origin_are_a_corrupt_blob_until_they_are_right() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"a.bin": b"1" * 2000})
    origin.corrupt["a.bin"] = 100
    assert ("corrupt_blob", "firing") in alerted(store, origin, wanted())
    origin.corrupt.clear()
    assert ("corrupt_blob", "resolved") in alerted(store, origin, wanted())


@pytest.mark.parametrize("rate", [None, MIB])
def test_a_file_says_whether_the_bandwidth_limit_made_it_slow(
    rate: int | None,
) -> None:
    store, origin, clock, told = MemoryStore(), FakeOrigin(), FakeClock(), Recorder()
    origin.commit("org/m", {"a.bin": b"1" * 3 * MIB})
    limits = Limits(connections=2, part_size=5 * MIB, memory=40 * MIB)
    with running(store, origin, emit=told, clock=clock, limits=limits) as engine:
        transfer = Transfer(
            store,
            limits,
            throttle=Throttle(lambda: rate, clock),
            retry=engine.retry,
            clock=clock,
            emit=told,
            stop=clock.stop,
        )
        with transfer:
            slowed = replace(engine, transfer=transfer)
            slowed.run([wanted()], How())
    (stored,) = stored_blobs(told)
    assert stored.throttled is (rate is not None)


def stored_blobs(told: Recorder) -> list[BlobStored]:
    found: list[Event] = told.named("blob.stored")
    return [event for event in found if isinstance(event, BlobStored)]
