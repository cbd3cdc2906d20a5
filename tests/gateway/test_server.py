"""The gateway as a part of another program: started, stopped, and with a store that comes late."""

from __future__ import annotations

import socket
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
from sync_daemon.gateway.server import UNSENT, Gateway
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.published import Publisher, Serving, serving, settings_of
from tests.support.waiting import wait_until


class LateStore(MemoryStore):
    """Is down until somebody says otherwise."""

    down = True

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        if self.down:
            raise StoreUnavailable("the store is down", retry_after=0)
        return super().list(prefix, start_after)


class SlowStore(MemoryStore):
    """Takes a moment for a listing."""

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        time.sleep(0.2)
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


def test_a_directory_that_is_not_mounted_any_more_changes_nothing(tmp_path: Path) -> None:
    """What is left of it is an empty directory: its mount point."""
    folder, away = tmp_path / "store", tmp_path / "away"
    folder.mkdir()
    Publisher(LocalStore(folder)).publish("m", "main", {"f": b"f"})
    with serving(folder, refresh="1s") as served:
        folder.rename(away)
        folder.mkdir()
        wait_until(lambda: any(isinstance(event, GatewayStale) for event in served.events))
        assert served.ask("/api/models/m").status == served.ask("/readyz").status == 200
        folder.rmdir()
        away.rename(folder)
        wait_until(lambda: any(isinstance(event, GatewayFresh) for event in served.events))
        assert served.ask("/m/resolve/main/f").status == 200
    assert [type(event) for event in served.events].count(GatewayStale) == 1


def test_what_it_says_at_its_start_counts_what_the_first_look_finds(tmp_path: Path) -> None:
    store = SlowStore()
    Publisher(store).publish("m", "main", {"f": b"f"})
    events: list[Event] = []
    gateway = Gateway(settings_of(tmp_path), store, events.append)
    gateway.start()
    try:
        assert [one.models for one in events if isinstance(one, GatewayStarted)] == [1]
    finally:
        assert gateway.stop()


def test_clients_that_do_not_read_hold_little_of_the_kernels_memory(tmp_path: Path) -> None:
    Publisher(LocalStore(tmp_path)).publish("m", "main", {"big": bytes(2**25)}, lfs=["big"])
    with serving(tmp_path) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"GET /m/resolve/main/big HTTP/1.1\r\nHost: x\r\n\r\n")
            line.recv(1)
            time.sleep(0.3)
            assert 0 < _unsent(port, line.getsockname()[1]) <= 2 * UNSENT


def _unsent(port: int, client: int) -> int:
    """Bytes that wait in the kernel on the server's side of a connection."""
    ends = f":{port:04X}", f":{client:04X}"
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    (found,) = (row for row in rows if (row[1][8:], row[2][8:]) == ends)
    return int(found[4].partition(":")[0], 16)


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
