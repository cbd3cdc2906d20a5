"""The gateway inside the daemon: it serves what a run has just published, and follows the YAML."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.stores.local import LocalStore
from tests.support.daemon import Daemon
from tests.support.published import Publisher
from tests.support.running import Running
from tests.support.waiting import wait_until


def write(folder: Path, **sections: Any) -> None:
    document = {
        "version": 1,
        "store": {"url": (folder / "store").as_uri()},
        "origins": {"disk": {"type": "directory", "path": str(folder / "disk")}},
        "models": [{"name": "m", "repo": "m"}],
        "schedule": {"incremental": "1s", "full": "off"},
        "metrics": {"listen": "off"},
    }
    (folder / "mirror.yaml").write_text(json.dumps(document | sections))


def ask(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_for_answer(url: str, status: int, body: bytes | None = None) -> None:
    def came() -> bool:
        found = ask(url)
        return found[0] == status and body in {None, found[1]}

    wait_until(came, lambda: str(ask(url)))


def test_what_is_published_is_served_and_the_yaml_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk/m").mkdir(parents=True)
    (tmp_path / "disk/m/a.txt").write_bytes(b"one")
    rules = {"listen": "127.0.0.1:0", "anonymous": True, "refresh": "1s"}
    write(tmp_path, gateway=rules)
    daemon = Running(Daemon(tmp_path / "mirror.yaml").start("run"))
    try:
        url = daemon.wait_for("gateway.started")[0]["url"]
        wait_for_answer(f"{url}/m/resolve/main/a.txt", 200, b"one")
        (tmp_path / "disk/m/a.txt").write_bytes(b"two!")
        wait_for_answer(f"{url}/m/resolve/main/a.txt", 200, b"two!")

        write(tmp_path, gateway=rules | {"anonymous": False})
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        assert ask(f"{url}/m/resolve/main/a.txt")[0] == 401, "at the same address"

        missing = {"cert_file": str(tmp_path / "no.pem"), "key_file": str(tmp_path / "no.key")}
        write(tmp_path, gateway=rules | {"tls": missing})
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.invalid")
        assert ask(f"{url}/m/resolve/main/a.txt")[0] == 401

        write(tmp_path)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded", 2)
        stopped = len(daemon.told("gateway.stopped"))
        assert stopped == len(daemon.told("gateway.started"))
    finally:
        code, seconds = daemon.end()
    assert code == 0
    assert seconds < 10


@pytest.mark.parametrize("verb", ["run", "gateway"])
def test_sighup_cuts_no_download_and_refuses_nobody(tmp_path: Path, verb: str) -> None:
    """A model gets another name in the YAML while somebody loads a file of another one."""
    (tmp_path / "disk/m").mkdir(parents=True)
    (tmp_path / "disk/m/a.txt").write_bytes(b"one")
    (tmp_path / "store").mkdir()
    big = bytes(range(256)) * 4096 * 24
    Publisher(LocalStore(tmp_path / "store")).publish("big", "main", {"big": big}, lfs=["big"])
    rules = {"listen": "127.0.0.1:0", "anonymous": True}
    write(tmp_path, gateway=rules)
    daemon = Running(Daemon(tmp_path / "mirror.yaml").start("--log-format", "json", verb))
    try:
        url = daemon.url
        with urllib.request.urlopen(f"{url}/big/resolve/main/big", timeout=10) as answer:
            found = answer.read(2**16)
            write(tmp_path, gateway=rules, models=[{"name": "renamed", "repo": "m"}])
            daemon.send(signal.SIGHUP)
            while not daemon.told("config.reloaded"):
                assert ask(f"{url}/healthz")[0] == 200
            found += answer.read()
        assert found == big
        assert ask(f"{url}/healthz")[0] == 200
    finally:
        code, _ = daemon.end()
    assert code == 0
    assert [len(daemon.told(f"gateway.{one}")) for one in ("started", "stopped")] == [1, 1]
    assert not daemon.told("library.message")


def test_an_address_that_is_taken_ends_the_daemon_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "disk/m").mkdir(parents=True)
    write(tmp_path, gateway={"listen": "127.0.0.1:0", "anonymous": True})
    first = Running(Daemon(tmp_path / "mirror.yaml").start("run"))
    try:
        url = str(first.wait_for("gateway.started")[0]["url"])
        write(tmp_path, gateway={"listen": url.removeprefix("http://"), "anonymous": True})
        ran = Daemon(tmp_path / "mirror.yaml").run("run", timeout=30)
        assert ran.code == 2
        assert "gateway.listen" in ran.err
    finally:
        first.end()


def test_without_the_section_nothing_is_served(tmp_path: Path) -> None:
    (tmp_path / "disk/m").mkdir(parents=True)
    (tmp_path / "disk/m/a.txt").write_bytes(b"one")
    write(tmp_path)
    daemon = Running(Daemon(tmp_path / "mirror.yaml").start("run"))
    daemon.wait_for("run.finished")
    time.sleep(0.2)
    assert daemon.told("gateway.started") == []
    assert daemon.end()[0] == 0
