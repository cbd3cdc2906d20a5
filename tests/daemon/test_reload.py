"""A gateway whose configuration changes while clients are connected: real sockets all the way."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.config import Settings, load
from sync_daemon.daemon.serving import Serving
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable
from sync_daemon.domain.events import Event, GatewayRequest, GatewayStarted, GatewayStopped
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.reading import Reading
from sync_daemon.stores.local import LocalStore
from tests.support.certificates import make_certificate
from tests.support.published import Publisher
from tests.support.waiting import wait_until

BIG = os.urandom(2**20) * 24
CHUNK = 256 * 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Place:
    """A gateway over directories that it can be led to, and what it tells."""

    folder: Path
    alone: bool = False
    refresh: str = "10s"
    port: int = field(default_factory=free_port)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        Publisher(LocalStore(self.store("a"))).publish("m", "main", {"big": BIG}, lfs=["big"])
        Publisher(LocalStore(self.store("b"))).publish("n", "main", {"f": b"f"})
        self.serving = Serving(self.settings(), alone=self.alone)
        self.serving.attach(self.events.append)

    def store(self, name: str) -> Path:
        found = self.folder / name
        found.mkdir(exist_ok=True)
        return found

    def settings(self, *models: str, store: str = "a", **gateway: Any) -> Settings:
        document = {
            "version": 1,
            "store": {"url": (self.folder / store).as_uri()},
            "origins": {"disk": {"type": "directory", "path": str(self.folder)}},
            "models": [{"name": name, "repo": name, "origin": "disk"} for name in models],
            "gateway": {
                "listen": f"127.0.0.1:{self.port}",
                "anonymous": True,
                "refresh": self.refresh,
            }
            | gateway,
        }
        return load(json.dumps(document).encode(), environ={})

    def reload(self, *models: str, **changes: Any) -> None:
        self.serving.configure(self.settings(*models, **changes))

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, path: str, connection: HTTPConnection | None = None) -> int:
        line = connection or self.connect()
        line.request("GET", path)
        answer = line.getresponse()
        answer.read()
        if connection is None:
            line.close()
        return answer.status

    def told(self, kind: type[Event]) -> int:
        return sum(isinstance(one, kind) for one in self.events)

    @contextmanager
    def download(self) -> Iterator[HTTPResponse]:
        """A download of which a little has come; all of it must have at the end."""
        line = self.connect()
        line.request("GET", "/m/resolve/main/big")
        answer = line.getresponse()
        assert answer.status == 200
        found = hashlib.sha256(answer.read(CHUNK))
        yield answer
        while data := answer.read(CHUNK):
            found.update(data)
        line.close()
        assert found.digest() == hashlib.sha256(BIG).digest()

    @contextmanager
    def connect_slowly(self) -> Iterator[socket.socket]:
        """A download of which nothing is taken."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            line.sendall(b"GET /m/resolve/main/big HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(64)
            yield line

    @contextmanager
    def knocking(self) -> Iterator[Counter[str]]:
        """Connect again and again; nobody may be refused."""
        found: Counter[str] = Counter()
        over = threading.Event()

        def knock() -> None:
            while not over.is_set():
                try:
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                    found["taken"] += 1
                except OSError as error:
                    found[str(error)] += 1
                time.sleep(0.002)

        thread = threading.Thread(target=knock)
        thread.start()
        try:
            wait_until(lambda: found["taken"] > 0)
            yield found
        finally:
            over.set()
            thread.join()
        assert set(found) == {"taken"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with found.serving:
        yield found


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path, alone=True)
    with found.serving:
        yield found


def threads() -> Counter[str]:
    """Those that are not kept for later work, by name."""
    names = (one.name.partition("-")[0] for one in threading.enumerate())
    return Counter(name for name in names if name != "AnyIO worker thread")


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_change_of_models_cuts_nothing_and_refuses_nobody(place: Place) -> None:
    """The socket stays: downloads go on, and connections are taken all the while."""
    with place.download(), place.knocking():
        began = time.monotonic()
        place.reload("n", "m")
        place.reload("m", "other")
        assert time.monotonic() - began < 3
        assert place.ask("/healthz") == place.ask("/m/resolve/main/big") == 200
    assert place.told(GatewayStarted) == 1
    assert place.told(GatewayStopped) == 0


def test_the_order_of_the_models_is_followed_at_once(place: Place) -> None:
    """Where two models come from one repository, its id means the first of the YAML."""
    publisher = Publisher(LocalStore(place.store("a")))
    for name in ("one", "two"):
        publisher.publish(name, "main", {"f": name.encode()}, repo="org/r")
    for name in ("two", "one"):
        place.reload(name)

        def first(name: str = name) -> bool:
            line = place.connect()
            line.request("GET", "/org/r/resolve/main/f")
            return line.getresponse().read() == name.encode()

        wait_until(first)


def test_another_store_is_served_at_once_and_the_former_one_to_its_last_byte(place: Place) -> None:
    with place.download(), place.knocking():
        place.reload(store="b")
        assert place.ask("/n/resolve/main/f") == 200
        assert place.ask("/m/resolve/main/big") == 401, "nobody knows that any more"
        assert _readings() == 2, "somebody still reads the former store"
    wait_until(lambda: _readings() == 1)


def test_an_open_connection_sees_the_new_rules_at_its_next_request(place: Place) -> None:
    line = place.connect()
    assert place.ask("/m/resolve/main/big", line) == 200
    with place.download():
        place.reload(anonymous=False)
        assert place.ask("/m/resolve/main/big", line) == 401
        place.reload(networks=["10.0.0.0/8"])
        assert place.ask("/m/resolve/main/big", line) == 403
    place.reload()
    assert place.ask("/m/resolve/main/big", line) == 200
    assert place.told(GatewayStarted) == 1


def test_what_was_counted_of_a_client_is_not_forgiven(place: Place) -> None:
    place.reload(request_rate=0.05)
    assert [place.ask("/api/models/m") for _ in range(4)] == [200, 200, 200, 429]
    place.reload("m", request_rate=0.05)
    assert place.ask("/api/models/m") == 429
    place.reload("m", request_rate=0.1)
    assert place.ask("/api/models/m") == 200


def test_requests_at_a_time_are_counted_over_a_change(place: Place) -> None:
    with place.download():
        place.reload("m", client_connections=1)
        assert place.ask("/m/resolve/main/big") == 429
        place.reload("m", client_connections=3)
        assert place.ask("/api/models/m") == 200


def test_at_another_address_downloads_at_the_former_one_end(place: Place) -> None:
    former = place.port
    with place.download():
        place.port = free_port()
        place.reload()
        assert place.ask("/m/resolve/main/big") == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", former), timeout=5)
        assert place.told(GatewayStopped) == 0
    wait_until(lambda: place.told(GatewayStopped) == 1)


def test_an_address_that_holds_the_former_one_takes_its_place(place: Place) -> None:
    """Both cannot listen at the same time; what is being sent goes on all the same."""
    with place.download():
        place.reload(listen=f"0.0.0.0:{place.port}")
        assert place.ask("/healthz") == 200
    wait_until(lambda: place.told(GatewayStopped) == 1)


def test_tls_comes_and_goes_at_the_same_address_and_nobody_is_refused(
    place: Place, tmp_path: Path
) -> None:
    both = str(make_certificate(tmp_path))
    with place.download(), place.knocking():
        place.reload(tls={"cert_file": both, "key_file": both})
        with pytest.raises(OSError, match=r".*"):
            place.ask("/healthz")
        place.reload(tls={"cert_file": both, "key_file": both, "min_version": "1.2"})
        assert place.told(GatewayStarted) == 2, "another certificate needs no other socket"
        place.reload()
        assert place.ask("/healthz") == 200
    wait_until(lambda: place.told(GatewayStopped) == 2)


def test_a_store_that_is_not_there_changes_nothing_for_a_gateway_that_is_alone(
    alone: Place,
) -> None:
    before = threads()
    with alone.download(), alone.knocking():
        with pytest.raises((StoreRefused, StoreUnavailable)):
            alone.reload(store="missing")
        assert alone.ask("/m/resolve/main/big") == 200
    wait_until(lambda: not threads() - before, lambda: str(threads() - before))


def test_another_time_between_looks_does_not_wait_for_the_former_one(tmp_path: Path) -> None:
    place = Place(tmp_path, refresh="1d")
    with place.serving:
        Publisher(LocalStore(place.store("a"))).publish("new", "main", {"f": b"f"})
        assert place.ask("/new/resolve/main/f") == 401
        place.reload(refresh="1s")
        wait_until(lambda: place.ask("/new/resolve/main/f") == 200)


def test_twenty_changes_leave_nothing_behind(place: Place) -> None:
    """Neither threads nor files nor what former states knew."""

    def change(number: int) -> None:
        place.reload(str(number), store="ab"[number % 2], refresh=f"{number + 1}s")
        assert place.ask("/healthz") == 200

    for number in (0, 1):
        change(number)
    wait_until(lambda: place.serving.alive and _readings() == 1)
    held, open_files = threads(), files()
    for number in range(20):
        change(number)
    place.reload()
    with place.download():
        change(21)
        change(22)
    wait_until(lambda: not threads() - held, lambda: str(threads() - held))
    wait_until(lambda: files() <= open_files, lambda: f"{files()}, {open_files} before")
    wait_until(lambda: _readings() == 1 and _count(Library) == 1)


def test_the_end_cuts_what_is_sent_at_any_address_and_does_not_take_long(tmp_path: Path) -> None:
    """A download at a former address does not hold up the end of the process."""
    place = Place(tmp_path)
    with place.connect_slowly() as line:
        place.port = free_port()
        place.reload()
        began = time.monotonic()
        with place.serving:
            pass
        assert time.monotonic() - began < 9
        assert line
    assert place.told(GatewayStopped) == 2
    cut = [one for one in place.events if isinstance(one, GatewayRequest) and one.cut]
    assert [one.path for one in cut] == ["/m/resolve/main/big"]


def _readings() -> int:
    return _count(Reading)


def _count(kind: type) -> int:
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())
