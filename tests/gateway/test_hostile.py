"""What a hostile client sends over a connection: it harms itself, and nobody learns or waits."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from sync_daemon.domain.events import RequestFailed
from sync_daemon.gateway.access.networks import parse_address
from sync_daemon.gateway.connections.protocol import Patience
from sync_daemon.gateway.hub.answers import Answers, make_answer
from sync_daemon.gateway.published.shelf import Shelf
from tests.support.door import Door, open_door
from tests.support.published import SAMPLE_COMMIT, Serving, publish_sample, serving
from tests.support.waiting import wait_until

POST = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(publish_sample(tmp_path_factory.mktemp("store")), anonymous=False) as found:
        yield found


@pytest.fixture(scope="module")
def public() -> Iterator[Door]:
    with open_door(anonymous=True) as door:
        yield door


def answers(door: Door, data: bytes) -> bytes:
    """Everything that comes back until the connection ends."""
    with door.connect() as line:
        line.sendall(data)
        found = b""
        while more := line.recv(65536):
            found += more
        return found


@pytest.mark.parametrize(
    "path",
    [
        *("/api/models/m/../secret", "/api/models/m/%2e%2e/secret", "/api//models/secret"),
        *(
            "//api/models/secret",
            "/api/models/secret;",
            "/api/models/secret.",
            "/api/models/SECRET",
        ),
        *("/api/models/org%2Fsecret", "/api/models/org%252Fsecret", "/api/models/secret%00"),
        *("/m/resolve/1.0/../../../secret/resolve/1.0/s", "/m/resolve/1.0/%2e%2e%2f%2e%2e%2fblobs"),
        *("/secret/resolve/1.0/s", "/org/secret/resolve/main/s", "/healthz/../api/models/secret"),
        *("http://x/api/models/secret", "/api/mirror/manifests/secret/1.0", "*"),
        *("/api/models/secret/commits/1.0", "/api/models/secret/refs", "/-/../api/models/secret"),
    ],
)
def test_no_path_leads_around_a_token(guarded: Serving, path: str) -> None:
    token = guarded.token("ci", "m")
    wrong = guarded.ask("/api/models/no/such", token=token)
    found = guarded.ask(path, token=token)
    assert found.status == 404
    assert found.headers.get("x-error-code") in {
        wrong.headers["x-error-code"],
        "EntryNotFound",
        None,
    }
    assert "x-repo-commit" not in found.headers or found.headers["x-repo-commit"] == SAMPLE_COMMIT


@pytest.mark.parametrize(
    "second",
    [b"\x00nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"A" * 40_000],
)
def test_nonsense_behind_a_request_leaves_it_its_answer(public: Door, second: bytes) -> None:
    found = answers(public, b"GET /api/a HTTP/1.1\r\nHost: x\r\n\r\n" + second)
    assert found.startswith(b"HTTP/1.1 200")
    assert found.count(b"HTTP/1.1 ") == 1


def test_of_three_requests_the_two_whole_ones_are_answered(public: Door) -> None:
    whole = b"GET /api/a HTTP/1.1\r\nHost: x\r\n\r\n"
    found = answers(public, whole + whole + POST + b"no chunk\r\n")
    assert found.count(b"HTTP/1.1 200") == found.count(b"HTTP/1.1 ") == 2


def test_a_body_that_makes_no_sense_is_400(public: Door) -> None:
    assert answers(public, POST + b"no chunk\r\n").startswith(b"HTTP/1.1 400")


def test_an_upgrade_gets_its_answer_and_the_connection_ends(public: Door) -> None:
    asked = b"GET /api/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    found = answers(public, asked + b"GET /api/b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200")
    assert b"connection: close\r\n" in found
    assert found.count(b"HTTP/1.1 ") == 1


def test_two_hosts_are_refused(public: Door) -> None:
    found = answers(public, b"GET /api/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 400")


def test_what_comes_behind_a_body_is_no_header() -> None:
    seen: list[set[bytes]] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.append({name for name, _ in scope["headers"]})
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with open_door(note, anonymous=True) as door, door.connect() as line:
        line.sendall(POST + b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 204")
    assert seen == [{b"host", b"transfer-encoding"}]


@pytest.mark.parametrize("piece", [b"x: yyyyyyyyyyyy\r\n", b"y" * 4096], ids=["many", "one"])
def test_trailers_without_end_are_cut(piece: bytes) -> None:
    patience = Patience(largest_rest=100_000)
    with open_door(anonymous=True, patience=patience) as door, door.connect() as line:
        line.sendall(POST + b"0\r\nx: ")
        sender = threading.Thread(target=_send_for_ever, args=(line, piece * 10))
        sender.start()
        wait_until(lambda: door.doors.total == 0)
        sender.join()


def _send_for_ever(line: socket.socket, piece: bytes) -> None:
    with suppress(OSError):
        while True:
            line.sendall(piece)


def test_an_answer_ends_when_its_client_has_gone_although_another_was_asked_for() -> None:
    ended = threading.Event()

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    with open_door(listen, anonymous=True) as door:
        with door.connect() as line:
            line.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            wait_until(lambda: door.doors.total == 1)
        assert ended.wait(10)


def test_foreign_networks_take_no_place_from_those_that_are_let_in() -> None:
    keys = {"anonymous": True, "networks": ["192.0.2.0/24"], "proxies": [], "connections": 2}
    with open_door(**keys) as door:
        lines = [door.connect() for _ in range(10)]
        wait_until(lambda: any(_has_ended(line) for line in lines))
        assert door.doors.total <= 10
        for line in lines:
            line.close()
        wait_until(lambda: door.doors.total == 0)


def _has_ended(line: socket.socket) -> bool:
    line.settimeout(0.01)
    try:
        return b"429" in line.recv(100)
    except TimeoutError:
        return False


@pytest.mark.parametrize("begun", [False, True])
def test_what_nobody_foresaw_is_500_and_one_line(
    caplog: pytest.LogCaptureFixture, *, begun: bool
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            length = [(b"content-length", b"10")]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise ZeroDivisionError("nobody foresaw it")

    with caplog.at_level(logging.DEBUG), open_door(fail, anonymous=True) as door:
        found = answers(door, b"GET /api/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = found.partition(b"\r\n\r\n")
        if begun:
            assert body == b"12345"
        else:
            assert head.startswith(b"HTTP/1.1 500")
            assert "nobody foresaw" not in found.decode()
            assert json.loads(body)["error"].startswith("The mirror failed")
        wait_until(lambda: any(isinstance(one, RequestFailed) for one in door.events))
        (told,) = (one for one in door.events if isinstance(one, RequestFailed))
        assert told.request.encode() in head
        assert told.error == "ZeroDivisionError: nobody foresaw it"
        assert told.where.startswith("test_hostile.py:")
    assert [one for one in caplog.records if one.name.startswith("uvicorn")] == []


def test_an_answer_that_ends_early_is_no_line_of_the_servers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await asyncio.sleep(0)

    with caplog.at_level(logging.DEBUG), open_door(half, anonymous=True) as door:
        assert answers(door, b"GET /api/a HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"12345")
    assert [one for one in caplog.records if one.name.startswith("uvicorn")] == []


def test_what_clients_write_counts_to_the_memory_of_answers() -> None:
    shelf, kept = Shelf(), Answers(limit=1_000_000)
    for number in range(100):
        key = (b"/api/models/m", b"x" * 30_000 + b"%d" % number)
        assert kept.find(shelf, key) is None
        kept.keep(shelf, key, make_answer(b"{}", caching="no-store"))
    there = [
        n for n in range(100) if kept.find(shelf, (b"/api/models/m", b"x" * 30_000 + b"%d" % n))
    ]
    assert 20 < len(there) < 33


def test_an_address_has_a_length() -> None:
    with pytest.raises(ValueError, match="10"):
        parse_address("10.0.0.1%" + "x" * 1000)


def test_a_range_made_to_be_slow_holds_up_nobody(tmp_path: Path) -> None:
    with serving(publish_sample(tmp_path)) as served:
        bomb = {"Range": "bytes=0-" + " " * 30_000 + "x", "If_None_Match": "," * 1000}
        assert served.ask("/m/resolve/main/config.json", **bomb).status == 200
