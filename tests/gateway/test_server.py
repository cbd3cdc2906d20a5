"""The gateway as a part of another program: started, stopped, and with a store that comes late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.events import (
    Event,
    GatewayFresh,
    GatewayStale,
    GatewayStarted,
    GatewayStopped,
)
from sync_daemon.gateway.server import Gateway
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.memory import MemoryStore
from tests.support.published import Publisher, Serving, settings_of
from tests.support.waiting import wait_until


class LateStore(MemoryStore):
    """Is down until somebody says otherwise."""

    down = True

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        if self.down:
            raise StoreUnavailable("the store is down", retry_after=0)
        return super().list(prefix, start_after)


def test_it_serves_as_soon_as_its_store_answers(tmp_path: Path) -> None:
    store = LateStore()
    events: list[Event] = []
    gateway = Gateway(settings_of(tmp_path, refresh="1s"), store, events.append)
    served = Serving(gateway, store, events)
    gateway.start()
    try:
        assert served.ask("/healthz").status == 200
        assert served.ask("/readyz").status == 503
        wait_until(lambda: any(isinstance(event, GatewayStale) for event in events))
        store.down = False
        Publisher(store).publish("m", "main", {"f": b"f"})
        wait_until(lambda: served.ask("/m/resolve/main/f").status == 200)
        assert served.ask("/readyz").status == 200
        wait_until(lambda: any(isinstance(event, GatewayFresh) for event in events))
    finally:
        assert gateway.stop()
    kinds = [type(event) for event in events]
    assert kinds.count(GatewayStale) == kinds.count(GatewayFresh) == 1
    assert kinds.count(GatewayStarted) == kinds.count(GatewayStopped) == 1


def test_it_stops_at_once_when_nobody_asks_and_only_once(tmp_path: Path) -> None:
    store = MemoryStore()
    Publisher(store).publish("m", "main", {"f": b"f"})
    events: list[Event] = []
    gateway = Gateway(settings_of(tmp_path), store, events.append)
    assert not gateway.alive
    gateway.load()
    gateway.start()
    assert gateway.alive
    began = time.monotonic()
    assert gateway.stop()
    assert gateway.stop()
    assert time.monotonic() - began < 5
    assert not gateway.alive
    assert [type(event) for event in events].count(GatewayStopped) == 1
