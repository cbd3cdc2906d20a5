"""Clients that ask too much, too slowly or too large are cut; the others notice nothing."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from huggingface_hub import HfApi
from starlette.types import Receive, Scope, Send

from sync_daemon.gateway.access.limits import Crowd, Rates
from sync_daemon.gateway.connections.protocol import Patience, open_files_for
from tests.support.door import Door, open_door
from tests.support.waiting import wait_until

HASTY = Patience(head=0.3, sending=0.3, largest_head=4096)


class Watch:
    """Real time, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture(scope="module")
def hasty() -> Iterator[Door]:
    with open_door(anonymous=True, patience=HASTY) as door:
        yield door


def all_of(line: socket.socket) -> bytes:
    """Everything until the other side ends."""
    data = b""
    try:
        while more := line.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def seconds_until_cut(door: Door, *pieces: bytes, every: float = 0.1) -> tuple[float, bytes]:
    """Send pieces again and again; return when the connection ended, and what was answered."""
    with door.connect() as line:
        began = time.monotonic()
        line.settimeout(every)
        answer = b""
        waiting = list(pieces)
        while time.monotonic() - began < 5:
            try:
                if waiting:
                    line.sendall(waiting.pop(0))
                more = line.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not more:
                break
            answer += more
        return time.monotonic() - began, answer


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET / HT",),
        [b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 40],
        [b"\r\n"] * 40,
        [b"G", b"E", b"T", *[b" "] * 40],
    ],
    ids=["silent", "half a line", "a header now and then", "empty lines", "blanks"],
)
def test_a_head_that_does_not_come_is_cut(hasty: Door, pieces: tuple[bytes, ...]) -> None:
    seconds, answer = seconds_until_cut(hasty, *pieces)
    assert seconds < 2
    assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    wait_until(lambda: hasty.doors.total == 0)


def test_a_second_head_that_does_not_come_is_cut(hasty: Door) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    seconds, answer = seconds_until_cut(hasty, whole, b"GET /x", *[b"x"] * 40)
    assert seconds < 2
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_a_body_that_nobody_asked_for_does_not_hold_a_connection(hasty: Door) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    seconds, _ = seconds_until_cut(hasty, head, *[b"x"] * 60)
    assert seconds < 2


@pytest.mark.parametrize("size", [5_000, 100_000, 1_000_000])
def test_a_large_head_is_refused(hasty: Door, size: int) -> None:
    with hasty.connect() as line:
        head = b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: x\r\nX: " + b"y" * size
        with_end = threading.Thread(target=_send, args=(line, head + b"\r\n\r\n"))
        with_end.start()
        assert all_of(line)[:12] in {b"HTTP/1.1 431", b""}
        with_end.join()
    wait_until(lambda: hasty.doors.total == 0)


def _send(line: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        line.sendall(data)


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT evil.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_the_connection_ends(hasty: Door, head: bytes) -> None:
    with hasty.connect() as line:
        line.sendall(head)
        assert all_of(line).startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
    assert hasty.ask().inside


def test_an_upgrade_is_passed_over(hasty: Door) -> None:
    for protocol in ("websocket", "h2c"):
        assert hasty.ask(Connection="Upgrade", Upgrade=protocol).inside


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Send for ever."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        if (await _now(receive)) == "http.disconnect":
            return


async def _now(receive: Receive) -> str:
    try:
        return str((await asyncio.wait_for(receive(), 0.001))["type"])
    except TimeoutError:
        return ""


def test_a_client_that_takes_nothing_of_its_answer_is_cut() -> None:
    with open_door(endless, anonymous=True, patience=HASTY) as door, door.connect() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: door.doors.total == 1)
        wait_until(lambda: door.doors.total == 0)


def test_one_connection_too_many_is_told_to_wait() -> None:
    with open_door(anonymous=True, client_connections=3) as door, ExitStack() as lines:
        for _ in range(3):
            lines.enter_context(door.connect())
        wait_until(lambda: door.doors.total == 3)
        answer = door.ask()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json["error"] == answer.headers["x-error-message"]
    with open_door(anonymous=True, connections=2) as door, ExitStack() as lines:
        for _ in range(2):
            lines.enter_context(door.connect())
        wait_until(lambda: door.doors.total == 2)
        assert door.ask().status == 429
        lines.close()
        wait_until(lambda: door.doors.total == 0)
        assert door.ask().inside


def test_behind_a_proxy_clients_are_counted_one_by_one() -> None:
    held = threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(held.wait, 5)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    keys = {"anonymous": True, "client_connections": 2, "proxies": ["127.0.0.1/32"]}
    with open_door(slow, **keys) as door:
        found: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(door.ask(X_Forwarded_For="192.0.2.1").status)
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: bool(found))
        other = threading.Thread(
            target=lambda: found.append(door.ask(X_Forwarded_For="192.0.2.2").status)
        )
        other.start()
        held.set()
        for thread in (*threads, other):
            thread.join()
        assert found[0] == 429
        assert sorted(found) == [204, 204, 204, 429]


def test_a_client_has_so_many_requests_a_minute() -> None:
    watch = Watch()
    with open_door(anonymous=True, request_rate="0.05/s", monotonic=watch) as door:
        told = [door.ask() for _ in range(4)]
        assert [answer.status for answer in told] == [200, 200, 200, 429]
        assert told[0].headers["ratelimit"].startswith('"api";r=2;t=')
        assert told[0].headers["ratelimit-policy"] == '"fixed window";"api";q=3;w=60'
        assert told[3].headers["ratelimit"].startswith('"api";r=0;t=')
        assert 0 < int(told[3].headers["retry-after"]) <= 60
        assert door.ask(token=door.make()).status == 200, "a token is a client of its own"
        assert door.ask("/healthz").status == 200
        watch.ahead = 60
        assert door.ask().status == 200


def test_wrong_tokens_are_counted_by_address() -> None:
    with open_door(request_rate="0.05/s") as door:
        told = [door.ask(token="sdm_" + "A" * 49).status for _ in range(4)]
        assert told == [401, 401, 401, 429]


async def tree(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what `list_repo_tree` asks for: an empty folder."""
    head = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"[]"})


def test_huggingface_hub_waits_as_long_as_it_is_told() -> None:
    watch = Watch()
    with open_door(tree, anonymous=True, request_rate="0.04/s", monotonic=watch) as door:
        api = HfApi(f"http://127.0.0.1:{door.port}", token=False)
        assert list(api.list_repo_tree("a/b")) == []
        assert list(api.list_repo_tree("a/b")) == []
        watch.ahead = 58.8
        began = time.monotonic()
        assert list(api.list_repo_tree("a/b")) == []
        assert 1 < time.monotonic() - began < 5
        wait_until(lambda: len(door.logged()) == 4)
        assert [event.status for event in door.logged()] == [200, 200, 429, 200]


def test_of_many_clients_only_the_newest_are_remembered() -> None:
    rates = Rates(1, lambda: 0.0, clients=100)
    for number in range(1000):
        rates.take(f"client {number}")
    first, last = rates.take("client 999"), rates.take("client 0")
    assert first is not None
    assert last is not None
    assert (first.left, last.left) == (58, 59)
    assert len(rates._windows) == 100


def test_the_process_may_open_what_its_connections_need() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        assert open_files_for(0) == 512
        assert open_files_for(1000) == min(2512, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(2512, hard), hard)
        assert open_files_for(hard) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_crowd_forgets_who_left() -> None:
    crowd = Crowd(2, 3)
    assert [crowd.enter(one) for one in ("a", "a", "a", "b", "b")] == [
        *(True, True, False, True, False)
    ]
    for one in ("a", "a", "b"):
        crowd.leave(one)
    assert crowd.total == 0
    assert crowd._by_client == {}
