"""What is written down of requests, what is not, and what is counted."""

from __future__ import annotations

import socket
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from sync_daemon.domain.events import Event, GatewayLogDropped, GatewayRequest
from sync_daemon.gateway.access.log import AccessLog, Visit, family_of
from sync_daemon.gateway.request.paths import kind_of
from sync_daemon.observers.declared import Declared
from sync_daemon.observers.metrics import Metrics
from sync_daemon.stores.local import LocalStore
from tests.support.door import Door, open_door
from tests.support.published import Publisher, serving
from tests.support.waiting import wait_until

COMMIT = "0123456789" * 4
AGENT = "transformers/5.23.0; hf_hub/2.4.0; python/3.11"


def visit(path: str) -> GatewayRequest:
    return Visit("0123456789abcdef", 0.0, "GET", path).event(0.5)


def asked(door: Door, secret: str) -> list[GatewayRequest]:
    door.ask("/org/model/resolve/refs%2Fpr%2F1/a%20b.json?token=sdm_leak", secret, User_Agent=AGENT)
    door.ask("/api/models/org/model", "sdm_" + "A" * 49)
    wait_until(lambda: len(door.logged()) == 2)
    return door.logged()


def test_a_request_is_written_down_without_its_token() -> None:
    with open_door() as door:
        secret = door.make("team")
        first, second = asked(door, secret)
        assert (first.method, first.kind, first.status) == ("GET", "file", 200)
        assert (first.client, first.token, first.agent) == ("127.0.0.1", "team", "transformers")
        assert (first.repo, first.revision) == ("org/model", "refs/pr/1")
        assert first.path == "/org/model/resolve/refs%2Fpr%2F1/a%20b.json"
        assert first.bytes > 0
        assert first.seconds >= 0
        assert (second.kind, second.status, second.token) == ("api", 401, None)
        text = repr(door.events)
        assert secret[4:20] not in text
        assert "leak" not in text
        assert "AAAA" not in text


def test_a_private_log_does_not_say_who_asked_for_what() -> None:
    with open_door(access_log="private") as door:
        first, _ = asked(door, door.make("team"))
        assert set(first.fields()) == {
            *("request", "method", "kind", "status", "bytes", "seconds", "agent")
        }
        assert not {"127.0.0.1", "team", "org/model"} & set(map(str, asdict(first).values()))


def test_an_answer_that_ends_early_is_said_to_be_cut_and_no_other_one(tmp_path: Path) -> None:
    """A client that leaves in mid-download has not got the file, whatever the status says."""
    Publisher(LocalStore(tmp_path)).publish("m", "main", {"big": bytes(2**25)}, lfs=["big"])
    with serving(tmp_path) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"GET /m/resolve/main/big HTTP/1.1\r\nHost: x\r\n\r\n")
            line.recv(1)
        assert served.ask("/m/resolve/main/big").status == 200
        assert served.ask("/m/resolve/main/big", "HEAD").status == 200
        assert served.ask("/m/resolve/main/no").status == 404
        assert served.ask("/api/models/m").status == 200

        def logged() -> list[GatewayRequest]:
            return [one for one in served.events if isinstance(one, GatewayRequest)]

        wait_until(lambda: len(logged()) == 5)
        (cut,) = (one for one in logged() if one.cut)
        assert (cut.method, cut.status) == ("GET", 200)
        assert cut.bytes < 2**25
        assert cut.fields()["cut"] is True
        assert not [one for one in logged() if one is not cut and "cut" in one.fields()]


def test_without_a_log_nothing_is_written() -> None:
    with open_door(access_log=False, anonymous=True) as door:
        door.ask()
    assert door.events == []


def test_the_id_of_a_request_is_told_to_the_client_and_taken_from_proxies_only() -> None:
    with open_door(anonymous=True) as door:
        own = door.ask(X_Request_Id="1234567890abcdef").headers["x-request-id"]
        assert own != "1234567890abcdef"
        wait_until(lambda: len(door.logged()) == 1)
        assert door.logged()[0].request == own
    with open_door(anonymous=True, proxies=["127.0.0.1/32"]) as door:
        assert door.ask(X_Request_Id="1234567890abcdef").headers["x-request-id"].endswith("cdef")
        assert len(door.ask(X_Request_Id="a b").headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    ("path", "kind", "repo", "revision"),
    [
        ("/gpt2/resolve/main/config.json", "file", "gpt2", "main"),
        ("/datasets/org/d/resolve/v%2F1/x/y", "file", "org/d", "v/1"),
        ("/api/models/gpt2", "api", "gpt2", None),
        ("/api/models/org/m/refs", "api", "org/m", None),
        ("/api/models/m/refs", "api", "m", None),
        ("/api/models/m/commits/v%2F1", "api", "m", "v/1"),
        ("/api/models/org/m/treesize/main/a", "api", "org/m", "main"),
        (f"/api/resolve-cache/models/m/{COMMIT}/x/y", "file", "m", COMMIT),
        ("/org/m/tree/v1", "page", "org/m", "v1"),
        ("/datasets/d", "page", "d", None),
        ("/api/models/%FF/refs", "api", None, None),
        ("/api/models/org/m/revision/main", "api", "org/m", "main"),
        ("/api/datasets/org/d/tree/main/a", "api", "org/d", "main"),
        ("/api/models/org/m/paths-info/main", "api", "org/m", "main"),
        (f"/api/resolve-cache/models/org/m/{COMMIT}/x", "file", "org/m", COMMIT),
        ("/api/whoami-v2", "api", None, None),
        ("/", "page", None, None),
        ("/healthz", "health", None, None),
    ],
)
def test_a_path_tells_what_was_asked_for(
    path: str, kind: str, repo: str | None, revision: str | None
) -> None:
    event = visit(path)
    assert (event.kind, event.repo, event.revision) == (kind, repo, revision)
    assert kind_of(path) == kind


def test_long_paths_are_cut() -> None:
    assert len(visit("/" + "x" * 10_000).path or "") == 512


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (AGENT, "transformers"),
        ("unknown/None; hf_hub/0.36.2; python/3.11", "huggingface_hub"),
        ("vllm/0.9; hf_hub/1.33.0", "vllm"),
        ("curl/8.5.0", "curl"),
        ("Mozilla/5.0 (X11)", "browser"),
        ("", "other"),
        ("<script>", "other"),
    ],
)
def test_programs_are_told_by_family(agent: str, family: str) -> None:
    assert family_of(agent) == family


def test_a_log_that_stalls_holds_nothing_up_and_says_what_was_lost() -> None:
    free, events = threading.Event(), list[Event]()

    def slow(event: Event) -> None:
        free.wait(5)
        events.append(event)

    with AccessLog(slow, True, most=10) as log:
        for _ in range(100):
            log.add(Visit("0123456789abcdef", 0.0, "GET", "/"), 0.1)
        free.set()
    dropped = [event.count for event in events if isinstance(event, GatewayLogDropped)]
    assert sum(dropped) + len(events) - len(dropped) == 100
    assert sum(dropped) >= 89


def test_requests_are_counted_by_kind_and_class() -> None:
    metrics = Metrics(Declared())
    with open_door(traffic=metrics.traffic) as door:
        secret = door.make()
        door.ask("/a/b/resolve/main/x", secret)
        door.ask("/a/b/resolve/main/x")
        door.ask("/healthz")
        name = "sync_daemon_gateway_requests_total"

        def count(**labels: str) -> float:
            return metrics.registry.get_sample_value(name, labels) or 0.0

        wait_until(lambda: count(kind="health", status="2xx") == 1)
        assert count(kind="file", status="2xx") == 1
        assert count(kind="file", status="4xx") == 1
    value = metrics.registry.get_sample_value
    assert value("sync_daemon_gateway_requests_active") == 0
    assert (value("sync_daemon_gateway_sent_bytes_total", {"kind": "file"}) or 0) > 100
    assert value("sync_daemon_gateway_request_seconds_count", {"kind": "file"}) == 2
