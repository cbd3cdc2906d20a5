"""How the gateway keeps up with a store: how often it looks, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.events import Event, GatewayFresh, GatewayStale, VersionUnreadable
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.refresher import Refresher
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.memory import MemoryStore
from tests.support.published import Publisher, no_retry


class Script:
    """A clock whose waits are counted, and do at each what the test says; the last one ends."""

    def __init__(self, *turns: object) -> None:
        self.turns = list(turns)
        self.time = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.time += seconds
        if not self.turns:
            return True
        if callable(turn := self.turns.pop(0)):
            turn()
        return False


class SlowStore(MemoryStore):
    """Takes its time, and is down when it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.clock: Script | None = None
        self.seconds = 0.0

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        if self.down:
            raise StoreUnavailable("the store is down", hint="start it")
        if self.clock and prefix == keys.MODELS:
            self.clock.time += self.seconds
        return super().list(prefix, start_after)


@pytest.fixture
def store() -> SlowStore:
    found = SlowStore()
    Publisher(found).publish("m", "main", {"f": b"1"})
    return found


def run(store: SlowStore, clock: Script, every: float = 10) -> tuple[Refresher, list[Event]]:
    events: list[Event] = []
    store.clock = clock
    library = Library(store, no_retry())
    refresher = Refresher(library, timedelta(seconds=every), clock, events.append)
    refresher.start()
    assert refresher.join(10)
    return refresher, events


def test_it_looks_at_once_and_then_again_and_again(store: SlowStore) -> None:
    clock = Script(1, 2, 3)
    refresher, _ = run(store, clock)
    assert clock.waits == [0, 10, 10, 10]
    assert refresher.reasons() == ()


def test_a_slow_store_is_asked_for_a_tenth_of_the_time_at_most(store: SlowStore) -> None:
    store.seconds = 30
    clock = Script(1, 2)
    run(store, clock)
    assert clock.waits == [0, 270, 270]


def test_a_store_that_is_down_is_told_once_and_once_more_when_it_is_back(store: SlowStore) -> None:
    def fall() -> None:
        store.down = True

    def rise() -> None:
        store.down = False

    clock = Script(0, fall, 0, 0, rise, 0, fall)
    _, events = run(store, clock)
    assert [type(event) for event in events] == [GatewayStale, GatewayFresh, GatewayStale]
    stale, fresh = events[:2]
    assert isinstance(stale, GatewayStale)
    assert (stale.error, stale.hint) == ("the store is down", "start it")
    assert isinstance(fresh, GatewayFresh)
    assert fresh.seconds == 30


def test_it_is_not_ready_before_the_first_look_nor_long_after_the_last(store: SlowStore) -> None:
    store.down = True
    refresher, _ = run(store, Script(0))
    assert refresher.reasons() == ("what is published has not been read yet",)
    store.down = False

    def fall() -> None:
        store.down = True

    clock = Script(0, fall, *range(3))
    refresher, _ = run(store, clock)
    assert refresher.reasons() == ()  # 50 s: at most a look or five too late
    clock.time += 20
    assert refresher.reasons() == ("the store could not be read for 70 s",)


def test_a_version_that_cannot_be_read_is_told_once(store: SlowStore) -> None:
    manifest = Publisher(store).publish("n", "main", {"f": b"2"})
    key = keys.manifest(manifest.model, manifest.version, Digest.of(manifest.encode()))
    store.delete(key)
    _, events = run(store, Script(0, 0, 0))
    (told,) = events
    assert isinstance(told, VersionUnreadable)
    assert told.version == "n@main"
    assert "missing" in told.problem
