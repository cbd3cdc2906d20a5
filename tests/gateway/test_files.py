"""HEAD, GET and ranges of files, over real sockets, from a directory, a bucket and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.events import FileUnusable
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.stores.s3 import S3Store
from tests.support.file_gate import COMMIT, Gate, make_bytes, make_entry, put_file, run_gate
from tests.support.servers import BUCKET, S3Server

SMALL, LARGE = 1000, 3_000_001
BODY = make_bytes(LARGE)
Answer = tuple[int, Mapping[str, str], bytes]


def ask(gate: Gate, method: str, path: str, **headers: str) -> Answer:
    """Send one request on a connection of its own; underscores in `headers` are hyphens."""
    with closing(HTTPConnection("127.0.0.1", gate.port, timeout=20)) as connection:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=fields)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def open_minio(server: S3Server, prefix: str) -> S3Store:
    return S3Store(
        BUCKET,
        prefix,
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


@pytest.fixture(params=["memory", "directory", "minio"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "directory":
        yield LocalStore(tmp_path)
    else:
        server = request.getfixturevalue("minio_server")
        with closing(open_minio(server, f"files-{tmp_path.name}")) as found:
            yield found


@pytest.fixture
def gate(store: ObjectStore) -> Iterator[Gate]:
    with run_gate(store) as found:
        found.add(
            put_file(store, "model.safetensors", BODY),
            put_file(store, "config.json", BODY[:SMALL], lfs=False),
            put_file(store, "empty.txt", b"", lfs=False),
        )
        yield found


@pytest.fixture
def lone_gate() -> Iterator[tuple[Gate, MemoryStore]]:
    """A gate before a store in memory, which tests damage."""
    store = MemoryStore()
    with run_gate(store) as gate:
        yield gate, store


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "empty.txt"])
def test_head_says_what_get_says_and_get_gives_the_bytes(gate: Gate, name: str) -> None:
    status, head, nothing = ask(gate, "HEAD", gate.path(name))
    answered, got, body = ask(gate, "GET", gate.path(name))
    assert (status, answered, nothing) == (200, 200, b"")
    assert {**head, "date": ""} == {**got, "date": ""}
    assert Digest.of(body) == gate.entries[name].sha256
    assert int(head["content-length"]) == int(head["x-linked-size"]) == len(body)


def test_the_headers_are_those_that_clients_of_the_hub_read(gate: Gate) -> None:
    large, small = gate.entries["model.safetensors"], gate.entries["config.json"]
    _, lfs, _ = ask(gate, "HEAD", gate.path("model.safetensors"))
    _, plain, _ = ask(gate, "HEAD", gate.path("config.json"))
    assert lfs["etag"] == lfs["x-linked-etag"] == f'"{large.sha256}"'
    assert plain["etag"] == plain["x-linked-etag"] == f'"{small.git_oid}"'
    assert lfs["x-repo-commit"] == plain["x-repo-commit"] == COMMIT
    assert lfs["accept-ranges"] == "bytes"
    assert not [name for name in {*lfs, *plain} if "xet" in name or name == "link"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, LARGE),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000000-1999999", 1_000_000, 2_000_000),
        ("bytes=-7", LARGE - 7, LARGE),
        (f"bytes=0-{LARGE * 2}", 0, LARGE),
        (f"bytes=-{LARGE * 2}", 0, LARGE),
    ],
)
def test_a_range_gives_its_bytes(gate: Gate, wanted: str, start: int, stop: int) -> None:
    status, headers, body = ask(gate, "GET", gate.path("model.safetensors"), Range=wanted)
    assert (status, body) == (206, BODY[start:stop])
    assert headers["content-range"] == f"bytes {start}-{stop - 1}/{LARGE}"
    assert headers["content-length"] == str(stop - start)


def test_a_range_of_a_small_file_gives_its_bytes(gate: Gate) -> None:
    status, headers, body = ask(gate, "GET", gate.path("config.json"), Range="bytes=10-19")
    assert (status, body) == (206, BODY[10:20])
    assert headers["content-range"] == f"bytes 10-19/{SMALL}"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "empty.txt"])
def test_a_range_behind_the_end_is_416_with_the_size(gate: Gate, name: str) -> None:
    status, headers, _ = ask(gate, "GET", gate.path(name), Range=f"bytes={LARGE}-")
    assert status == 416
    assert headers["content-range"] == f"bytes */{gate.entries[name].size}"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2"])
def test_several_ranges_and_nonsense_give_the_whole_file(gate: Gate, wanted: str) -> None:
    status, headers, body = ask(gate, "GET", gate.path("config.json"), Range=wanted)
    assert (status, body) == (200, BODY[:SMALL])
    assert "content-range" not in headers


def test_a_head_knows_no_ranges(gate: Gate) -> None:
    status, headers, _ = ask(gate, "HEAD", gate.path("config.json"), Range="bytes=0-1")
    assert (status, headers["content-length"]) == (200, str(SMALL))


def test_if_range_gives_the_range_of_the_same_file_only(gate: Gate) -> None:
    path = gate.path("config.json")
    etag = f'"{gate.entries["config.json"].git_oid}"'
    assert ask(gate, "GET", path, Range="bytes=0-1", If_Range=etag)[0] == 206
    for other in ('"other"', f"W/{etag}", "Sat, 21 Nov 2026 10:00:00 GMT"):
        status, _, body = ask(gate, "GET", path, Range="bytes=0-1", If_Range=other)
        assert (status, len(body)) == (200, SMALL)


def test_a_client_that_has_the_file_gets_304(gate: Gate) -> None:
    path = gate.path("config.json", COMMIT)
    etag = f'"{gate.entries["config.json"].git_oid}"'
    for method in ("GET", "HEAD"):
        status, headers, body = ask(gate, method, path, If_None_Match=f'"x", W/{etag}')
        assert (status, body, headers["etag"]) == (304, b"", etag)
        assert "immutable" in headers["cache-control"]
    assert ask(gate, "GET", path, If_None_Match='"other"')[0] == 200
    assert ask(gate, "GET", path, If_Match=f'"x", {etag}')[0] == 200
    assert ask(gate, "GET", path, If_Match='"other"')[0] == 412


@pytest.mark.parametrize(
    ("revision", "token", "kept"),
    [
        (COMMIT, None, "public, max-age=31536000, immutable"),
        (COMMIT, "Bearer t", "private, max-age=31536000, immutable"),
        ("main", None, "public, max-age=60, must-revalidate"),
        ("main", "Bearer t", "private, no-cache"),
    ],
)
def test_only_what_anybody_may_read_by_commit_is_public_for_long(
    gate: Gate, revision: str, token: str | None, kept: str
) -> None:
    headers = {"Authorization": token} if token else {}
    for wanted in ({}, {"Range": "bytes=0-9"}):
        answer = ask(gate, "GET", gate.path("config.json", revision), **headers, **wanted)
        assert answer[1]["cache-control"] == kept
        assert answer[1]["vary"] == "Authorization"


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.HTM", "a.xhtml", "a.xml", "a.js", "a.pdf"])
def test_what_a_browser_could_run_is_bytes_to_be_saved(
    lone_gate: tuple[Gate, MemoryStore], name: str
) -> None:
    gate, store = lone_gate
    gate.add(put_file(store, name, b"<script>alert(1)</script>"))
    _, headers, _ = ask(gate, "GET", gate.path(name))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


def test_a_file_name_cannot_break_a_header(lone_gate: tuple[Gate, MemoryStore]) -> None:
    gate, store = lone_gate
    gate.add(put_file(store, 'sub/模型 "x";é%.bin', b"data"))
    _, headers, _ = ask(gate, "GET", gate.path("sub/%E6%A8%A1%E5%9E%8B%20%22x%22%3B%C3%A9%25.bin"))
    assert headers["content-disposition"] == (
        "attachment; filename*=UTF-8''%E6%A8%A1%E5%9E%8B%20%22x%22%3B%C3%A9%25.bin; "
        'filename="__ _x____.bin";'
    )


@pytest.mark.parametrize("size", [SMALL, 400_000])
@pytest.mark.parametrize("damage", ["missing", "short", "long"])
def test_a_blob_that_is_not_as_the_manifest_says_is_an_error_and_never_wrong_bytes(
    store: ObjectStore, size: int, damage: str
) -> None:
    data = BODY[:size]
    entry = make_entry("weights.bin", data)
    if damage != "missing":
        store.put(keys.blob(entry.sha256), data[:-1] if damage == "short" else data + b"x")
    with run_gate(store) as gate:
        gate.add(entry)
        status, headers, body = ask(gate, "GET", gate.path("weights.bin"))
    assert (status, headers["cache-control"]) == (500, "no-store")
    assert data[:100] not in body
    (event,) = gate.events
    assert isinstance(event, FileUnusable)
    assert (event.path, event.key) == ("weights.bin", keys.blob(entry.sha256))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_store_whose_directory_is_missing_is_a_reason_to_ask_again(
    tmp_path: Path, size: int
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    store = LocalStore(folder)
    with run_gate(store) as gate:
        gate.add(put_file(store, "weights.bin", BODY[:size]))
        folder.rename(tmp_path / "elsewhere")
        status, headers, _ = ask(gate, "GET", gate.path("weights.bin"))
    assert (status, headers["retry-after"]) == (503, "5")


def test_a_small_file_with_other_bytes_is_not_given_out(
    lone_gate: tuple[Gate, MemoryStore],
) -> None:
    gate, store = lone_gate
    entry = make_entry("weights.bin", b"right")
    store.put(keys.blob(entry.sha256), b"wrong")
    gate.add(entry)
    assert ask(gate, "GET", gate.path("weights.bin"))[0] == 500
    (event,) = gate.events
    assert isinstance(event, FileUnusable)
    assert "SHA-256" in event.problem
