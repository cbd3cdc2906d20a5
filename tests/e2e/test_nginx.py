"""config/nginx with a real nginx before a real gateway: TLS, what is cached, and for whom.

The gateway's own access log counts what came through; nginx's word is not taken for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from sync_daemon.domain.events import GatewayRequest
from sync_daemon.gateway.access.tokens import TokenBook
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.local import LocalStore
from tests.gateway.test_files import open_minio
from tests.support.certificates import make_certificate
from tests.support.nginx import SHIPPED, SLICE, Front, choose_ports, run_nginx
from tests.support.published import Publisher, Reply, Serving, no_retry, serving, sha1
from tests.support.servers import S3Server
from tests.support.waiting import wait_until

COMMIT = sha1("org/m main")
LARGE = os.urandom(10 * SLICE + 1000)
LINKED = os.urandom(2 * 1024**2)
ODD = (
    "a b+c.txt",
    "100%.txt",
    "100%25.txt",
    "a%2Fb.txt",
    "ü/日本.txt",
    "what?#&=;.txt",
    "quo'te\"s.txt",
    "resolve/main/x.txt",
    f"resolve/{'a' * 40}/x.txt",
    "(1)[2]{3}~!@$*,:^`|.txt",
)
FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "large.bin": LARGE,
    **{name: name.encode() for name in ODD},
}


@dataclass
class Rig:
    """A gateway with nginx in front."""

    front: Front
    gateway: Serving
    _looks: int = field(default=0)

    def ask(self, path: str, method: str = "GET", **more: Any) -> Reply:
        return self.front.ask(path, method, **more)

    def came(self, path: str | None = None) -> list[GatewayRequest]:
        """The requests that the gateway got through nginx: all, or for a path."""
        self._looks += 1
        self.gateway.ask("/healthz")

        def seen() -> list[GatewayRequest]:
            return [one for one in self.gateway.events if isinstance(one, GatewayRequest)]

        wait_until(lambda: sum(one.path == "/healthz" for one in seen()) >= self._looks)
        return [one for one in seen() if one.path != "/healthz" and path in {None, one.path}]


Run = Callable[..., Rig]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Publish `org/m` and `org/other`, serve them by a gateway, and put nginx before it."""
    with ExitStack() as stack:

        def start(
            store: ObjectStore | None = None,
            minio: S3Server | None = None,
            slices: str = str(SLICE),
            **rules: Any,
        ) -> Rig:
            ports, folder = choose_ports(), tmp_path / "store"
            folder.mkdir()
            store = store or LocalStore(folder)
            publisher = Publisher(store)
            publisher.publish("m", "main", FILES, repo="org/m", lfs=["large.bin"])
            publisher.publish("other", "main", {"o.txt": b"o"}, repo="org/other")
            named = {"proxies": ["127.0.0.1"], "redirect": "never"} | rules
            if named.get("store_url"):
                named["store_url"] = ports.store_url
            gateway = stack.enter_context(serving(folder, store, **named))
            certificate = make_certificate(tmp_path)
            there = minio.endpoint.removeprefix("http://") if minio else "127.0.0.1:9"
            address = gateway.url.removeprefix("http://")
            running = run_nginx(
                tmp_path / "nginx",
                ports,
                certificate,
                gateway=address,
                store=there,
                slices=slices,
            )
            return Rig(stack.enter_context(running), gateway)

        yield start


@pytest.fixture(params=["directory", "minio"])
def rig(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "directory":
        yield run()
        return
    server = request.getfixturevalue("minio_server")
    with closing(open_minio(server, f"nginx-{tmp_path.name}")) as store:
        yield run(store, server)


def file(name: str, revision: str = COMMIT) -> str:
    return f"/org/m/resolve/{revision}/{quote(name)}"


# ------------------------------------------------------------------ what is cached


def test_a_file_by_commit_is_asked_for_once(rig: Rig) -> None:
    path = file("config.json")
    first, second = rig.ask(path), rig.ask(f"{path}?download=true")
    assert (first.status, first.body) == (second.status, second.body) == (200, b"{}")
    assert second.headers["cache-control"] == "public, max-age=31536000, immutable"
    for name in ("etag", "x-repo-commit", "x-linked-etag", "content-type", "vary"):
        assert first.headers[name] == second.headers[name]
    assert "content-range" not in second.headers
    assert len(rig.came(path)) == 1
    again = rig.ask(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert len(rig.came(path)) == 1


def test_a_head_is_cached_apart_and_loads_nothing(rig: Rig) -> None:
    path = file("large.bin")
    for _ in range(2):
        head = rig.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(LARGE))
        assert head.headers["accept-ranges"] == "bytes"
    assert [(one.method, one.bytes) for one in rig.came(path)] == [("HEAD", 0)]
    assert rig.ask(path).body == LARGE


def test_what_a_name_means_is_asked_for_each_time(rig: Rig) -> None:
    path = file("large.bin", "main")
    for _ in range(2):
        reply = rig.ask(path, Range="bytes=5-9")
        assert (reply.status, reply.body) == (206, LARGE[5:10])
    assert [one.bytes for one in rig.came(path)] == [5, 5]
    assert rig.front.stored() == []


def test_a_description_is_kept_for_seconds(rig: Rig) -> None:
    for _ in range(3):
        reply = rig.ask("/api/models/org/m")
        assert reply.json["sha"] == COMMIT
        assert reply.headers["cache-control"] == "public, max-age=10"
    assert len(rig.came("/api/models/org/m")) == 1


def test_links_to_the_next_page_lead_to_the_host_that_was_asked(rig: Rig) -> None:
    """Somebody who asks with a false host changes nothing for others."""
    path = "/api/models/org/m/tree/main?limit=1"
    for host in ("evil.example", "mirror.example:8443"):
        link = rig.ask(path, Host=host).headers["link"]
        assert link.startswith(f"<https://{host}/api/models/org/m/tree/main?")


def test_each_answer_has_its_own_request_id_and_nobody_elses_quota(run: Run) -> None:
    rig = run(request_rate=100)
    replies = [rig.ask(file("config.json")) for _ in range(2)]
    first, second = (one.headers["x-request-id"] for one in replies)
    assert first != second
    assert [one.request for one in rig.came()] == [first]
    for reply in replies:
        assert not {"ratelimit", "ratelimit-policy"} & set(reply.headers)
        assert reply.headers.get("x-request-id", "").count(",") == 0


def test_many_who_ask_at_once_are_one_request_for_each_piece(run: Run) -> None:
    rig = run()
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda _: rig.ask(file("large.bin")).body, range(16)))
    assert set(map(len, bodies)) == {len(LARGE)}
    assert set(bodies) == {LARGE}
    assert len(rig.came()) == 11


class Scripted(BaseHTTPRequestHandler):
    """Answers every GET with the status, headers and body that its server has."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.count += 1
        server.heard = dict(self.headers)
        server.target = self.path
        self.send_response(server.status)
        for name, value in server.told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def scripted(told: Mapping[str, str], body: bytes) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.told, server.body, server.count, server.status = told, body, 0, 200
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def before(tmp_path: Path, told: Mapping[str, str], body: bytes) -> Iterator[tuple[Front, Any]]:
    """Run nginx before a scripted server, which is gateway and store."""
    with scripted(told, body) as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        folder, certificate = tmp_path / "nginx", make_certificate(tmp_path)
        nginx = run_nginx(folder, choose_ports(), certificate, gateway=address, store=address)
        with nginx as front:
            yield front, server


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ({"Cache-Control": "public, max-age=60"}, 1),
        ({"Cache-Control": "private, max-age=60"}, 2),
        ({"Cache-Control": "no-store"}, 2),
        ({"Cache-Control": "public, max-age=60", "Set-Cookie": "a=b"}, 2),
        ({}, 2),
    ],
    ids=["public", "private", "no-store", "cookie", "nothing"],
)
@pytest.mark.parametrize("path", [file("config.json"), "/api/models/org/m"])
def test_only_what_says_public_is_stored(
    tmp_path: Path, told: dict[str, str], count: int, path: str
) -> None:
    with before(tmp_path, told | {"Content-Length": "4"}, b"body") as (front, server):
        assert [front.ask(path).body for _ in range(2)] == [b"body"] * 2
        assert server.count == count
        assert len(front.stored()) == (1 if count == 1 else 0)


def test_an_old_description_is_given_only_while_the_gateway_is_in_trouble(tmp_path: Path) -> None:
    told = {"Cache-Control": "public, max-age=1", "Content-Length": "1"}
    path = "/api/models/org/m"
    with before(tmp_path, told, b"1") as (front, server):
        assert front.ask(path).body == b"1"
        server.body = b"2"
        time.sleep(2.1)  # nginx counts whole seconds
        assert front.ask(path).body == b"2"
        server.status, server.told = 503, {"Cache-Control": "no-store", "Content-Length": "1"}
        time.sleep(2.1)
        assert (front.ask(path).status, front.ask(path).body) == (200, b"2")
        assert front.ask("/api/models/org/other").status == 503
        server.status = 404
        assert front.ask(path).status == 404
        server.shutdown()
        server.server_close()
        assert (front.ask(path).status, front.ask(path).body) == (200, b"2")


# ------------------------------------------------------------------ for whom


def test_what_a_token_is_shown_is_shown_to_nobody_else(run: Run) -> None:
    rig = run(anonymous=False)
    mine, theirs = rig.gateway.token("mine"), rig.gateway.token("theirs", "other")
    path, info = file("large.bin"), f"/api/models/org/m/revision/{COMMIT}"
    for _ in range(2):
        reply = rig.ask(path, token=mine)
        assert (reply.status, reply.body) == (200, LARGE)
        assert reply.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert rig.ask(info, token=mine).json["sha"] == COMMIT
        for target in (path, info):
            assert rig.ask(target).status == 401
            assert rig.ask(target, token=theirs).status == 404
            assert rig.ask(target, "HEAD").status == 401
    served = [one for one in rig.came(path) if one.status == 200]
    assert [(one.token, one.bytes) for one in served] == [("mine", len(LARGE))] * 2
    assert rig.front.stored() == []


def test_a_revoked_token_opens_nothing_that_it_opened_before(run: Run) -> None:
    rig = run(anonymous=False)
    token = rig.gateway.token("mine")
    path = file("config.json")
    assert rig.ask(path, token=token).status == 200
    TokenBook(rig.gateway.store, no_retry()).revoke("mine", datetime.now(UTC))
    rig.gateway.gateway.load()
    assert rig.ask(path, token=token).status == 401


def test_a_token_passes_by_what_was_cached_for_all(run: Run) -> None:
    """Where strangers may read, a wrong token is refused all the same."""
    rig = run()
    path = file("config.json")
    assert rig.ask(path).status == 200
    good = rig.gateway.token("good")
    assert rig.ask(path, token=good).headers["cache-control"].startswith("private")
    assert rig.ask(path, token=good[:-1] + ("a" if good[-1] != "a" else "b")).status == 401
    assert rig.ask(path).headers["cache-control"].startswith("public")
    assert [one.status for one in rig.came(path)] == [206, 200, 401]
    assert all(good.encode() not in data for data in rig.front.stored())
    assert good not in rig.front.log()


def test_a_client_cannot_say_who_it_is(run: Run) -> None:
    rig = run(networks=["127.0.0.2/32", "127.0.0.1/32"])
    lies = {
        "X_Forwarded_For": "127.0.0.2",
        "X_Forwarded_Proto": "gopher",
        "X_Forwarded_Host": "evil.example",
        "X_Request_Id": "0" * 32,
    }
    path = file("config.json", "main")
    assert rig.ask(path, source="127.0.0.3", **lies).status == 403
    assert rig.ask(path, source="127.0.0.2", **lies | {"X_Forwarded_For": "9.9.9.9"}).status == 200
    came = rig.came(path)
    assert [(one.client, one.status) for one in came] == [("127.0.0.3", 403), ("127.0.0.2", 200)]
    assert "0" * 32 not in {one.request for one in came}
    link = rig.ask("/api/models/org/m/tree/main?limit=1", **lies).headers["link"]
    assert link.startswith(f"<{rig.front.url}/api/")


def test_only_tls_1_3_is_spoken(run: Run) -> None:
    rig = run()
    context = rig.front.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for port in (rig.front.ports.gateway, rig.front.ports.store):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


# ------------------------------------------------------------------ bytes and names


def test_a_range_brings_the_pieces_that_it_touches(rig: Rig) -> None:
    path, start = file("large.bin"), 5 * SLICE - 10
    for _ in range(2):
        reply = rig.ask(path, Range=f"bytes={start}-{start + 19}")
        assert (reply.status, reply.body) == (206, LARGE[start : start + 20])
        assert reply.headers["content-range"] == f"bytes {start}-{start + 19}/{len(LARGE)}"
    assert [one.bytes for one in rig.came(path)] == [SLICE, SLICE]
    assert rig.ask(path).body == LARGE
    assert sum(one.bytes for one in rig.came(path)) == len(LARGE)


def test_ranges_and_conditions_mean_what_they_mean_without_a_cache(rig: Rig) -> None:
    path = file("large.bin")
    etag = rig.ask(path, "HEAD").headers["etag"]
    for wanted, answer in (
        ({"Range": "bytes=-10"}, (206, LARGE[-10:])),
        ({"Range": f"bytes={len(LARGE) - 5}-"}, (206, LARGE[-5:])),
        ({"Range": "bytes=5-9", "If_Range": etag}, (206, LARGE[5:10])),
        ({"Range": f"bytes={7 * SLICE}-", "If_Range": etag}, (206, LARGE[7 * SLICE :])),
        ({"Range": "bytes=5-9", "If_Range": '"other"'}, (200, LARGE)),
        ({"Range": "bytes=1-2,5-6"}, (200, LARGE)),
        ({"If_Match": '"other"'}, (412, None)),
    ):
        for revision in (COMMIT, "main"):
            reply = rig.ask(file("large.bin", revision), **wanted)
            assert reply.status == answer[0], wanted
            assert answer[1] is None or reply.body == answer[1], wanted
    for name in ("large.bin", "config.json"):
        reply = rig.ask(file(name), Range=f"bytes={len(LARGE)}-")
        assert reply.status == 416
        assert reply.headers["content-range"] == f"bytes */{len(FILES[name])}"


def test_an_empty_file_is_one(rig: Rig) -> None:
    for method in ("GET", "HEAD", "GET"):
        reply = rig.ask(file("empty.txt"), method)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["content-length"] == "0"


@pytest.mark.parametrize("revision", [COMMIT, "main", "refs%2Fheads%2Fmain"])
def test_odd_names_arrive_as_they_were_sent(rig: Rig, revision: str) -> None:
    for name in ODD:
        reply = rig.ask(file(name, revision))
        assert (reply.status, reply.body) == (200, name.encode()), name
        assert rig.ask(file(name, revision)).body == name.encode()
    paths = [one.path for one in rig.came() if one.status in {200, 206}]
    assert set(paths) == {file(name, revision) for name in ODD}
    assert len(paths) == len(ODD) * (1 if revision == COMMIT else 2)


def test_an_answer_that_ends_early_ends_cleanly(tmp_path: Path) -> None:
    """By FIN: an RST would take away what is on its way."""
    told = {"Content-Length": "1000000", "Cache-Control": "public, max-age=60"}
    with before(tmp_path, told, b"x" * 300_000) as (front, server):
        for path in (file("x", "main"), "/api/models/org/m"):
            for _ in range(2):
                assert len(read_raw(front, path)) == 300_000
        assert server.count == 4
        assert front.stored() == []


def read_raw(front: Front, path: str) -> bytes:
    """Read an answer slowly to its end, whatever its length should be. An RST raises."""
    request = f"GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", front.ports.gateway), timeout=10) as plain,
        front.context().wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(request.encode())
        found = bytearray()
        while True:
            try:
                part = line.recv(65536)
            except ssl.SSLEOFError:
                part = b""
            if not part:
                return bytes(found).partition(b"\r\n\r\n")[2]
            found += part


# ------------------------------------------------------------------ the bucket, and real clients

LOAD = """
import hashlib, json, sys
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("org/m", revision=sys.argv[1], allow_patterns=sys.argv[2]))
found = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
         for p in folder.rglob("*") if p.is_file()}
print(json.dumps(found))
"""


def load(rig: Rig, home: Path, pattern: str, *, revision: str = "main") -> dict[str, str]:
    """Load files with the real client of this environment; returns their SHA-256."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    told = {
        "HF_ENDPOINT": rig.front.url,
        "HF_HOME": str(home),
        "SSL_CERT_FILE": str(rig.front.certificate),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, revision, pattern],
        env=kept | told,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_the_real_client_follows_a_link_to_the_bucket_behind_tls(
    run: Run, minio_server: S3Server, tmp_path: Path
) -> None:
    with closing(open_minio(minio_server, f"nginx-{tmp_path.name}")) as store:
        rig = run(store, minio_server, "8m", redirect="auto", store_url="https://given.example")
        name = "w ü+.safetensors"
        publisher = Publisher(store)
        publisher.publish("big", "main", {name: LINKED}, repo="org/m", lfs=[name], revision="big")
        rig.gateway.refresh()
        found = load(rig, tmp_path / "home", "*.safetensors", revision="big")
        assert found == {name: hashlib.sha256(LINKED).hexdigest()}

        path = file(name, sha1("org/m big"))
        links = [rig.ask(path) for _ in range(2)]
        assert {one.status for one in links} == {302}
        assert {one.headers["cache-control"] for one in links} == {"no-store"}
        came = [one.status for one in rig.came(path) if one.method == "GET"]
        assert came == [302, 302, 302]

        link = links[0].headers["location"]
        assert link.startswith(f"{rig.front.ports.store_url}/")
        signed = link.removeprefix(rig.front.ports.store_url)
        part = rig.ask(signed, store=True, Range="bytes=7-16")
        assert (part.status, part.body) == (206, LINKED[7:17])
        assert rig.ask(signed, store=True, Host="s3.evil.example").status == 403  # it is signed
        assert "X-Amz-Signature" not in rig.front.log()


def test_the_bucket_is_read_and_not_written_through_nginx(run: Run, minio_server: S3Server) -> None:
    rig = run(minio=minio_server)
    for method in ("PUT", "POST", "DELETE"):
        assert rig.ask("/mirror/x", method, store=True).status in {403, 405}
    for path in ("/minio/health/live", "/%6dinio/admin/v3/info", "//minio/v2/metrics/cluster"):
        reply = rig.ask(path, store=True)
        assert reply.status == 403
        assert b"nginx" in reply.body
    assert b"<Code>AccessDenied" in rig.ask("/mirror/x", store=True).body  # MinIO's own answer


def test_the_store_hears_what_the_client_signed_and_where_it_really_is(tmp_path: Path) -> None:
    """MinIO believes these headers when a policy names networks."""
    lies = dict.fromkeys(("X_Forwarded_For", "X_Real_IP", "X_Forwarded_Host"), "10.9.9.9")
    target = "/mirror/hub/blobs/a%2Bb%20c?X-Amz-Signature=1&x=%2F"
    with before(tmp_path, {"Content-Length": "1"}, b"x") as (front, server):
        host = {"Host": "s3.example:9443", "Forwarded": "for=10.9.9.9", "Range": "bytes=0-0"}
        assert front.ask(target, store=True, source="127.0.0.5", **lies, **host).status == 200
        assert server.target == target
        heard = server.heard
    assert (heard["Host"], heard["Range"]) == ("s3.example:9443", "bytes=0-0")
    assert heard["X-Forwarded-For"] == heard["X-Real-IP"] == "127.0.0.5"
    assert not {"Forwarded", "X-Forwarded-Host"} & set(heard)


def test_two_thousand_small_files_come_over_tls_and_are_there_when_the_gateway_is_not(
    run: Run, tmp_path: Path
) -> None:
    rig = run()
    files = {f"{n % 40}/{n}.txt": f"{n}".encode() for n in range(2000)}
    Publisher(rig.gateway.store).publish("many", "1", files, repo="org/m", revision="many")
    rig.gateway.refresh()
    wanted = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert load(rig, tmp_path / "one", "*", revision="many") == wanted
    count = len(rig.came())
    assert count < 2 * len(files) + 50

    some = {name: digest for name, digest in wanted.items() if name.startswith("7/")}
    assert load(rig, tmp_path / "two", "7/*", revision="many") == some
    assert len(rig.came()) <= count + 5

    rig.gateway.gateway.stop()
    assert load(rig, tmp_path / "three", "7/*", revision="many") == some
    assert rig.ask(file("config.json")).status == 502


# ------------------------------------------------------------------ the files


@pytest.mark.parametrize("name", ["gateway.conf", "minio.conf"])
def test_no_path_of_an_upstream_rewrites_a_request(name: str) -> None:
    passed = re.findall(r"^\s*proxy_pass (\S+);", (SHIPPED / name).read_text(), re.MULTILINE)
    assert passed
    assert all(re.fullmatch(r"http://sync_daemon_\w+", one) for one in passed)
