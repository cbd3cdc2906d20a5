"""`gateway` as its user runs it: it serves, and a signal ends it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.stores.local import LocalStore
from tests.support.daemon import Daemon
from tests.support.published import Publisher
from tests.support.waiting import wait_until

PATIENCE = 15


def write(tmp_path: Path, store: Mapping[str, Any] | None = None, **gateway: Any) -> Daemon:
    daemon = Daemon(tmp_path / "mirror.yaml")
    document = {
        "version": 1,
        "store": store or {"url": (tmp_path / "store").as_uri()},
        "models": [{"name": "m", "repo": "org/m"}],
        "transfer": {"attempts": 1, "connect_timeout": "2s"},
        "gateway": {"listen": "127.0.0.1:0", "anonymous": True} | gateway,
    }
    daemon.write(json.dumps(document))
    return daemon


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    (tmp_path / "store").mkdir()
    found = Publisher(LocalStore(tmp_path / "store"))
    found.publish("m", "main", {"config.json": b"{}", "big.bin": b"b" * 30_000_000}, repo="org/m")
    return found


@contextmanager
def started(daemon: Daemon) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the host and port that it says it listens at."""
    with daemon.start("gateway") as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if (said := json.loads(line))["event"] == "gateway.started":
                    yield process, said["url"].removeprefix("http://")
                    break
            else:
                pytest.fail("it ended without having started")
        finally:
            process.kill()


def ask(host: str, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(host, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_comes_and_ends_with_0(
    tmp_path: Path, publisher: Publisher, number: signal.Signals
) -> None:
    with started(write(tmp_path)) as (process, host):
        assert ask(host, "/api/models/org/m")[0] == 200
        assert ask(host, "/m/resolve/main/config.json") == (200, b"{}")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0


def test_a_download_that_never_ends_is_cut_within_seconds(
    tmp_path: Path, publisher: Publisher
) -> None:
    with started(write(tmp_path)) as (process, host):
        name, port = host.split(":")
        with socket.create_connection((name, int(port)), timeout=PATIENCE) as slow:
            slow.sendall(b"GET /org/m/resolve/main/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
            process.terminate()
            began = time.monotonic()
            assert process.wait(PATIENCE) == 0
            assert time.monotonic() - began < 10


def test_what_is_published_meanwhile_is_served(tmp_path: Path, publisher: Publisher) -> None:
    with started(write(tmp_path, refresh="1s")) as (_, host):
        assert ask(host, "/api/models/org/n")[0] == 401
        publisher.publish("n", "main", {"f": b"f"}, repo="org/n")
        wait_until(lambda: ask(host, "/org/n/resolve/main/f") == (200, b"f"))


def test_an_address_that_is_taken_is_a_wrong_configuration(
    tmp_path: Path, publisher: Publisher
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = write(tmp_path, listen=f"127.0.0.1:{port}").run("gateway")
    assert ran.code == 2
    assert f"gateway.listen: cannot listen on 127.0.0.1:{port}" in ran.err


def test_a_gateway_that_is_off_is_a_wrong_configuration(
    tmp_path: Path, publisher: Publisher
) -> None:
    ran = write(tmp_path, listen="off").run("gateway")
    assert (ran.code, "gateway.listen: is off" in ran.err) == (2, True)


def test_a_store_that_cannot_be_reached_at_the_start_ends_it_with_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    keys = {"access_key": "id", "secret_key": "not-a-secret"}
    store = {"url": "s3://bucket", "endpoint": f"http://127.0.0.1:{port}", "credentials": keys}
    ran = write(tmp_path, store).run("gateway")
    assert ran.code == 3
    assert "store" in ran.err


def test_a_directory_that_is_not_there_ends_it_with_3(tmp_path: Path) -> None:
    assert write(tmp_path).run("gateway").code == 3
