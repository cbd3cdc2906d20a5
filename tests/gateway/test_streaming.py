"""What happens to a stream when the store, or the client, does not do its part."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.events import FileCut, FileUnusable
from sync_daemon.ports import ObjectStore, Reader
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.file_gate import MIB, Gate, make_bytes, put_file, run_gate
from tests.support.waiting import wait_until

SIZE = 3 * MIB
BODY = make_bytes(SIZE)
SLOW_CLIENTS = 200


class BreakingStore(MemoryStore):
    """Gives `first` bytes of every object that is opened, `later` of those opened after that,
    and then breaks. `opened` are where; `open_now` counts readers that nobody has closed."""

    def __init__(self, first: int, later: int) -> None:
        super().__init__()
        self.first = first
        self.later = later
        self.opened: list[int] = []
        self.open_now = 0

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BreakingReader:  # type: ignore[override]
        left = self.later if self.opened else self.first
        self.opened.append(start)
        self.open_now += 1
        return BreakingReader(self, super().open(key, start, stop), left)


class BreakingReader:
    """Reads `left` bytes and breaks."""

    def __init__(self, store: BreakingStore, inner: Reader, left: int) -> None:
        self._store = store
        self._inner = inner
        self._left = left

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._left:
            raise StoreUnavailable("the connection is reset")
        got = self._inner.readinto(buffer[: self._left])
        self._left -= got
        return got

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._store.open_now -= 1


def read_raw(gate: Gate, name: str, *, close: bool = False) -> bytes:
    """Return everything that comes until the server ends the connection; RST raises.

    `close` asks it to do so after the answer.
    """
    more = "Connection: close\r\n" if close else ""
    with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as sock:
        sock.sendall(f"GET {gate.path(name)} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        return b"".join(iter(lambda: sock.recv(MIB), b""))


def read_whole(gate: Gate, name: str) -> bytes:
    """Return the body of a file."""
    return read_raw(gate, name, close=True).partition(b"\r\n\r\n")[2]


def test_a_stream_that_breaks_goes_on_where_it_broke() -> None:
    store = BreakingStore(first=MIB + 1, later=SIZE)
    with run_gate(store) as gate:
        gate.add(put_file(store, "model.bin", BODY))
        received = read_whole(gate, "model.bin")
    assert received == BODY
    assert store.opened == [0, MIB + 1]
    assert gate.events == []


def test_a_store_that_stays_away_ends_the_answer_by_fin_after_right_bytes() -> None:
    """huggingface_hub resumes after FIN, and gives up after RST."""
    store = BreakingStore(first=2 * MIB, later=0)
    with run_gate(store) as gate:
        gate.add(put_file(store, "model.bin", BODY))
        head, _, body = read_raw(gate, "model.bin").partition(b"\r\n\r\n")
    assert f"content-length: {SIZE}".encode() in head
    assert body == BODY[: 2 * MIB]
    (event,) = gate.events
    assert isinstance(event, FileCut)
    assert (event.path, event.sent) == ("model.bin", 2 * MIB)
    assert store.open_now == 0


def test_a_store_that_gives_nothing_is_503_with_a_time_to_come_back() -> None:
    store = BreakingStore(first=0, later=0)
    with run_gate(store) as gate:
        gate.add(put_file(store, "model.bin", BODY))
        head = read_raw(gate, "model.bin", close=True).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 503")
    assert b"retry-after: " in head
    assert isinstance(gate.events[0], FileUnusable)
    assert store.open_now == 0


def test_a_client_that_leaves_lets_go_of_the_stores_connection() -> None:
    store = BreakingStore(first=SIZE, later=SIZE)
    with run_gate(store) as gate:
        gate.add(put_file(store, "model.bin", BODY * 10))
        with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(f"GET {gate.path('model.bin')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert sock.recv(100)
            assert store.open_now == 1
        wait_until(lambda: store.open_now == 0)
    assert gate.events == []


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


def test_two_hundred_clients_that_do_not_read_hold_up_nobody(store: ObjectStore) -> None:
    with run_gate(store) as gate, ExitStack() as stack:
        gate.add(put_file(store, "model.bin", BODY * 4))
        before = threading.active_count()
        for _ in range(SLOW_CLIENTS):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", gate.port))
            sock.sendall(f"GET {gate.path('model.bin')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        read_whole(gate, "model.bin")  # the kernel's buffers of all of them are full now
        began = time.monotonic()
        received = read_whole(gate, "model.bin")
        took = time.monotonic() - began
        threads = threading.active_count() - before
    assert received == BODY * 4
    assert took < 5
    assert threads <= 40


def test_a_file_that_is_cut_short_while_it_is_sent_ends_the_answer(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with run_gate(store) as gate:
        entry = put_file(store, "model.bin", BODY * 10)
        gate.add(entry)
        with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as sock:
            sock.sendall(f"GET {gate.path('model.bin')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = sock.recv(100)
            (blob,) = tmp_path.glob("blobs/sha256/*/*")
            blob.chmod(0o600)
            with blob.open("r+b") as file:
                file.truncate(20 * MIB)
            while chunk := sock.recv(MIB):
                received += chunk
    body = received.partition(b"\r\n\r\n")[2]
    assert body == (BODY * 10)[: 20 * MIB]
    assert [event.name for event in gate.events] == ["file.cut"]


@pytest.fixture
def shared_memory() -> Iterator[Path]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("there is no file system in memory")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        yield Path(made)


def test_a_file_is_read_by_threads_where_the_page_cache_cannot_be_asked(
    shared_memory: Path,
) -> None:
    """A file system in memory refuses RWF_NOWAIT."""
    store = LocalStore(shared_memory)
    with run_gate(store) as gate:
        gate.add(put_file(store, "model.bin", BODY))
        assert read_whole(gate, "model.bin") == BODY
