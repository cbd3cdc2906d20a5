"""Nobody can hold a reader by sending a byte before each timeout, in any part of an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sync_daemon.domain.errors import OriginUnavailable
from sync_daemon.wire import Http
from tests.support.certificates import make_certificate, serving
from tests.support.scripted import Scripted, Step, answer, say

PATIENCE = 0.4
GAP = 0.05
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


@pytest.fixture
def http(certificate: Path) -> Iterator[Http]:
    client = Http(
        "origin", read_timeout=PATIENCE, connect_timeout=PATIENCE, ca_file=str(certificate)
    )
    yield client
    client.close()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def drip(first: bytes, then: bytes, stop: threading.Event) -> Step:
    """Say something, then one byte after the other, slowly and without an end."""

    def step(sock: socket.socket) -> bool:
        sock.sendall(first)
        while not stop.wait(GAP):
            sock.sendall(then)
        return False

    return step


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "drops",
    [
        (b"HTTP/1.1 200 O", b"K"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_head_that_drips_has_one_timeout_in_all(
    scheme: str, drops: tuple[bytes, bytes], http: Http, certificate: Path, stop: threading.Event
) -> None:
    tls = serving(certificate) if scheme == "https" else None
    with Scripted([drip(*drops, stop)], tls=tls) as server:

        def ask() -> None:
            with pytest.raises(OriginUnavailable, match="no answer in time"):
                http.request("GET", server.url)

        assert PATIENCE / 2 < seconds(ask) < 2 * PATIENCE


def test_a_proxy_that_drips_has_one_timeout_in_all(stop: threading.Event) -> None:
    with Scripted([drip(b"HTTP/1.1 200 O", b"K", stop)]) as proxy:
        http = Http("origin", connect_timeout=PATIENCE, proxy=proxy.url)

        def ask() -> None:
            with pytest.raises(OriginUnavailable, match="no answer in time"):
                http.request("GET", "https://models.invalid/")

        assert seconds(ask) < 2 * PATIENCE


def test_a_chunk_whose_size_drips_has_one_timeout_in_all(http: Http, stop: threading.Event) -> None:
    with (
        Scripted([drip(CHUNKED + b"5;", b"x", stop)]) as server,
        http.request("GET", server.url) as response,
    ):

        def read() -> None:
            with pytest.raises(OriginUnavailable, match="no answer in time"):
                response.readinto(memoryview(bytearray(100)))

        assert seconds(read) < 2 * PATIENCE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bytes_that_drip_are_given_as_they_come(
    scheme: str, http: Http, certificate: Path, stop: threading.Event
) -> None:
    """So whoever watches the speed sees it: over TLS a large read would wait for all of it."""
    tls = serving(certificate) if scheme == "https" else None
    head = answer(b"", Content_Length="1000000")
    with (
        Scripted([drip(head + bytes(20_000), b"x", stop)], tls=tls) as server,
        http.request("GET", server.url) as response,
    ):
        buffer, got = memoryview(bytearray(500_000)), 0
        began = time.monotonic()
        while got < 20_012:
            took = time.monotonic()
            got += response.readinto(buffer[got:])
            assert time.monotonic() - took < PATIENCE
        assert time.monotonic() - began < 20 * GAP


def test_what_came_over_tls_before_a_silence_is_given_first(
    http: Http, certificate: Path, stop: threading.Event
) -> None:
    def stall(sock: socket.socket) -> bool:
        sock.sendall(answer(bytes(20_000), Content_Length="30000"))
        return not stop.wait(5)

    with (
        Scripted([stall], tls=serving(certificate)) as server,
        http.request("GET", server.url) as response,
    ):
        buffer, got = memoryview(bytearray(30_000)), 0
        while got < 20_000:
            got += response.readinto(buffer[got:])
        with pytest.raises(OriginUnavailable, match="no answer in time"):
            response.readinto(buffer[got:])
        stop.set()


def test_a_short_answer_that_drips_is_given_up(http: Http, stop: threading.Event) -> None:
    """Errors, listings and pages of redirects are read as a whole."""
    with (
        Scripted([drip(answer(b"", Content_Length="1000"), b"x", stop)]) as server,
        http.request("GET", server.url) as response,
    ):

        def read() -> None:
            with pytest.raises(OriginUnavailable, match="all that came in time"):
                response.read()

        assert seconds(read) < 3 * PATIENCE


def test_a_connection_keeps_its_timeout_after_a_slow_head(http: Http) -> None:
    def slowly(sock: socket.socket) -> bool:
        data = answer(b"slow")
        sock.sendall(data[:9])
        time.sleep(PATIENCE * 0.8)
        sock.sendall(data[9:])
        return True

    with Scripted([slowly, slowly, say(answer(b"fast"))]) as server:
        for expected in (b"slow", b"slow", b"fast"):
            with http.request("GET", server.url) as response:
                assert response.read() == expected
        assert server.connections == 1
