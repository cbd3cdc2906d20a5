"""A daemon as a process that is told of changes: by the Hub's webhooks, and by hand."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import Hub
from tests.support.running import Place, Running, running
from tests.support.waiting import wait_until

SECRET, OTHER, TOKEN = "first-webhook-secret", "other-webhook-secret", "token-of-the-run-api"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as found:
        for name in ("a", "b"):
            found.repo(f"org/{name}").commit({"config.json": b"{}"})
        yield found


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        number: int = found.getsockname()[1]
        return number


def write(place: Place, hub: Hub, port: int, secret: str) -> None:
    schedule = {"webhook_secret": secret, "api_token": TOKEN, "webhook_debounce": "1s"}
    place.write(
        schedule,
        origins={"hf": {"type": "huggingface", "endpoints": [hub.endpoint]}},
        models=[{"name": name, "repo": f"org/{name}"} for name in ("a", "b")],
        metrics={"listen": f"127.0.0.1:{port}"},
    )


def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("POST", path, json.dumps(body), named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def look(port: int, run: str, token: str = TOKEN) -> tuple[int, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"/api/runs/{run}", headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def hook(port: int, secret: str, repo: str) -> tuple[int, Any]:
    event = {"action": "update", "scope": "repo.content"}
    payload = {"event": event, "repo": {"type": "model", "name": repo}}
    return post(port, "/webhooks/huggingface", payload, X_Webhook_Secret=secret)


def seen(daemon: Running) -> list[str]:
    """The models of all versions that runs have looked at."""
    names = ("version.published", "version.unchanged")
    return [line["model"] for line in tuple(daemon.lines) if line["event"] in names]


def test_webhooks_and_runs_by_hand_start_runs_and_a_reload_brings_another_secret(
    tmp_path: Path, hub: Hub, port: int
) -> None:
    place = Place(tmp_path)
    write(place, hub, port, SECRET)
    with running(place.daemon()) as daemon:
        daemon.wait_for("run.finished")
        before = len(seen(daemon))
        # three webhooks, one run, of that model alone
        hub.repos[0].commit({"config.json": b'{"changed": true}'})
        for _ in range(3):
            assert hook(port, SECRET, "org/a") == (202, {"accepted": True, "model": ["a"]})
        assert hook(port, SECRET, "org/c")[1]["accepted"] is False
        assert hook(port, OTHER, "org/a") == (401, {"error": "unauthorized"})
        daemon.wait_for("run.finished", 2)
        assert seen(daemon)[before:] == ["a"]
        daemon.wait_for("version.published", 2, model="a")
        # a run by hand, by its id
        status, answer = post(
            port, "/api/runs", {"models": ["b"], "full": True}, Authorization=f"Bearer {TOKEN}"
        )
        assert status == 202
        daemon.wait_for("run.finished", 3)
        (started,) = daemon.told("run.started", mode="full")
        assert started["run_id"].endswith(f"Z-{answer['run']}")
        wait_until(lambda: look(port, answer["run"])[1]["state"] == "finished")
        status, known = look(port, answer["run"])
        assert (status, known["report"]["run_id"]) == (200, started["run_id"])
        assert (known["report"]["status"], known["report"]["unchanged"]) == ("ok", 1)
        assert look(port, "00000000")[0] == 404
        assert look(port, answer["run"], token="wrong")[0] == 401
        assert seen(daemon)[before:] == ["a", "b"]
        # another secret
        write(place, hub, port, OTHER)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("config.reloaded", changed=["schedule.webhook_secret"])
        assert hook(port, SECRET, "org/b")[0] == 401
        assert hook(port, OTHER, "org/b")[0] == 202
        daemon.wait_for("run.finished", 4)
        assert seen(daemon)[before:] == ["a", "b", "b"]
        # beyond what is let through in a minute
        statuses = [hook(port, "wrong", "org/a")[0] for _ in range(40)]
        assert set(statuses) == {401, 429}
        wait_until(lambda: daemon.told("trigger.refused"))
        assert daemon.end()[0] == 0
    (begun,), (ended,) = daemon.told("daemon.started"), daemon.told("daemon.stopped")
    assert begun["config"] == str(tmp_path / "mirror.yaml")
    assert begun["listen"] == f"127.0.0.1:{port}"
    assert ended["signal"] == "SIGTERM"
    shown = place.daemon().run("history", answer["run"])
    assert (shown.code, started["run_id"] in shown.out) == (0, True)
    text = str(daemon.lines)
    assert not [one for one in (SECRET, OTHER, TOKEN) if one in text]
    assert len(daemon.told("run.started")) == 4
