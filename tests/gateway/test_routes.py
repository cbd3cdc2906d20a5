"""Single answers of the gateway, byte by byte: headers, pages, paths, and what must not be said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.gateway.request.questions import make_cursor
from sync_daemon.ports import Content
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.published import (
    SAMPLE as FILES,
    SAMPLE_COMMIT as COMMIT,
    Publisher,
    Reply,
    Serving,
    serving,
    sha1,
)

INFO = "/api/models/org/m"
TREE = f"{INFO}/tree/main"


class FickleStore(MemoryStore):
    """A store that is down when it is told to be."""

    down = False

    def get(self, key: str) -> Content:
        if self.down:
            raise StoreUnavailable("the store is down")
        return super().get(key)


def paths(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [one["path"] for one in reply.json]


# -- pages --------------------------------------------------------------------------------------


def follow(served: Serving, path: str, **headers: str) -> tuple[list[str], list[str]]:
    """All entries of a listing, and the links that led through it."""
    found, links = [], []
    while True:
        reply = served.ask(path, **headers)
        found += [one.get("path") or one["id"] for one in reply.json]
        link = reply.headers.get("link")
        if link is None:
            return found, links
        url, rel = link.split(";")
        assert rel.strip() == 'rel="next"'
        links.append(url.strip("<>"))
        assert url.startswith(("<http://", "<https://"))
        path = "/" + links[-1].split("/", 3)[3]


@pytest.mark.parametrize("recursive", ["true", "false"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_any_size_hold_every_entry_once(
    served: Serving, recursive: str, limit: int
) -> None:
    found, _ = follow(served, f"{TREE}?recursive={recursive}&limit={limit}&expand=true")
    top = ["config.json", "sub", "sub.txt"]
    every = sorted([*FILES, "sub", "sub/deep"])
    assert found == (every if recursive == "true" else top)


def test_lists_of_models_come_in_pages_too(served: Serving) -> None:
    found, links = follow(served, "/api/models?limit=1&full=true")
    assert found == ["org/m", "org/secret", "tree"]
    assert len(links) == 2


def test_a_link_is_made_of_the_host_that_the_client_used(served: Serving) -> None:
    _, links = follow(served, f"{TREE}?limit=2", Host="mirror.example:8443")
    assert links[0].startswith("http://mirror.example:8443/api/models/org/m/tree/main?limit=2&")
    for host in ("evil>; rel=x", "a/b", ""):
        (link, *_), _ = follow(served, f"{TREE}?limit=2", Host=host)[::-1]
        assert link.startswith(served.url + "/api/")


def test_a_link_is_made_of_the_public_url_where_there_is_one(folder: Path) -> None:
    with serving(folder, public_url="https://mirror.example/hub") as found:
        link = found.ask(f"{TREE}?limit=2&recursive=true", Host="other").headers["link"]
    assert link.startswith("<https://mirror.example/hub/api/models/org/m/tree/main?")
    assert "recursive=true" in link


def test_a_list_has_an_end_however_far_its_cursor_leads(served: Serving) -> None:
    assert served.ask(f"/api/models?cursor={make_cursor('9' * 9)}").json == []
    assert served.ask(f"/api/models?cursor={make_cursor('9' * 5000)}").status == 200


@pytest.mark.parametrize("query", ["cursor=%25", "cursor=abc", "cursor=%FF%FE"])
def test_a_wrong_cursor_is_refused(served: Serving, query: str) -> None:
    assert served.ask(f"{TREE}?{query}").status == 400


@pytest.mark.parametrize("limit", ["0", "-1", "x", "99999999999", "\u0661", "9" * 5000])
def test_a_senseless_limit_does_no_harm(served: Serving, limit: str) -> None:
    found = served.ask(f"{TREE}?limit={quote(limit)}")
    assert len(found.json) == (1 if limit == "0" else 3)


def test_a_query_of_many_parameters_is_refused(served: Serving) -> None:
    assert served.ask(f"{TREE}?{'&'.join(['a=1'] * 300)}").status == 400


# -- paths --------------------------------------------------------------------------------------


def test_an_id_of_one_segment_may_be_the_name_of_a_question(served: Serving) -> None:
    assert served.ask("/api/models/tree").json["id"] == "tree"
    assert paths(served.ask("/api/models/tree/tree/main")) == ["t"]
    assert served.ask("/tree/resolve/main/t").body == b"t"
    assert served.ask("/api/models/tree/refs").status == 200


def test_a_sub_path_may_come_with_its_slashes_escaped(served: Serving) -> None:
    for path in ("sub/deep", "sub%2Fdeep", "sub/deep/"):
        assert paths(served.ask(f"{TREE}/{path}")) == ["sub/deep/x"]
    assert served.ask(f"{TREE}/sub.txt").headers["x-error-code"] == "EntryNotFound"


@pytest.mark.parametrize(
    "path",
    [
        "/org/m/resolve/main/config.json",
        "/m/resolve/1.0/config.json",
        f"/org/m/resolve/{COMMIT}/config.json",
        f"/org/m/resolve/{COMMIT[:10]}/config.json",
        "/org/m/resolve/refs/heads/main/config.json",
        "/org/m/resolve/refs%2Fheads%2Fmain/config.json",
        "/org/m/resolve/main/config.json?download=true",
        f"/api/resolve-cache/models/org/m/{COMMIT}/config.json",
        f"/api/resolve-cache/models/m/{COMMIT}/config.json",
    ],
)
def test_a_file_is_found_by_all_its_paths(served: Serving, path: str) -> None:
    assert served.ask(path).body == b"{}"
    head = served.ask(path, "HEAD")
    assert (head.status, head.body, head.headers["x-repo-commit"]) == (200, b"", COMMIT)


def test_files_of_datasets_have_a_prefix(served: Serving) -> None:
    assert served.ask("/datasets/org/set/resolve/main/d").body == b"d"
    assert served.ask("/org/set/resolve/main/d").headers["x-error-code"] == "RepoNotFound"


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/x", "/api/models/a/b/c/d", "/%FF", "/api/models/%FF", "//", "/../etc"],
)
def test_what_is_no_path_of_the_hub_is_not_found(served: Serving, path: str) -> None:
    assert served.ask(path).status in {401, 404}


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ("/api/models/ORG/M?blobs=true", "/api/models/org/m?blobs=true"),
        (
            "/api/models/Org/m/tree/refs%2Fpr%2F1/a%2Fb",
            "/api/models/org/m/tree/refs%2Fpr%2F1/a%2Fb",
        ),
        ("/oRg/m/resolve/main/a%20b", "/org/m/resolve/main/a%20b"),
    ],
)
def test_another_spelling_leads_to_the_right_one(served: Serving, asked: str, right: str) -> None:
    found = served.ask(asked)
    assert (found.status, found.headers["location"]) == (307, right)


def test_a_message_holds_no_line_of_the_clients_making(served: Serving) -> None:
    found = served.ask("/api/models/org/m/revision/a%0d%0aSet-Cookie:%20x=1%C3%A9%F0%9F%A4%97")
    assert found.status == 404
    assert "set-cookie" not in found.headers
    assert "\n" not in found.headers["x-error-message"]
    assert len(served.ask(f"/org/m/resolve/main/{'x' * 5000}").headers["x-error-message"]) <= 600


# -- questions with a body, and writes ----------------------------------------------------------


def test_paths_are_described_in_both_forms(served: Serving) -> None:
    url = f"{INFO}/paths-info/main"
    form = b"paths=config.json&paths=sub%2Fdeep&paths=nope&paths=&expand=True"
    document = json.dumps({"paths": ["config.json", "sub/deep/", "nope"], "expand": True}).encode()
    one = served.ask(url, "POST", form, Content_Type="application/x-www-form-urlencoded")
    two = served.ask(url, "POST", document, Content_Type="application/json")
    assert one.json == two.json
    assert [item["path"] for item in one.json] == ["config.json", "sub/deep"]
    assert one.json[0]["lastCommit"]["id"] == COMMIT
    assert served.ask(url).status == 405


@pytest.mark.parametrize("body", [b"", b"[]", b'{"paths": 1}', b"{", b"[" * 100_000, b'{"a": 1}'])
def test_a_body_that_is_none_is_refused(served: Serving, body: bytes) -> None:
    found = served.ask(f"{INFO}/paths-info/main", "POST", body, Content_Type="application/json")
    assert found.status == 400


def test_more_paths_than_parameters_of_a_query_may_be_asked(served: Serving) -> None:
    form = "&".join(["paths=config.json", *(f"paths=n{n}" for n in range(5000))]).encode()
    assert len(served.ask(f"{INFO}/paths-info/main", "POST", form).json) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("DELETE", "/api/repos/delete"),
        ("POST", f"{INFO}/commit/main"),
        ("POST", f"{INFO}/preupload/main"),
        ("PUT", f"{INFO}/settings"),
        ("PATCH", INFO),
        ("POST", INFO),
        ("POST", "/org/m.git/info/lfs/objects/batch"),
    ],
)
def test_what_would_write_is_refused(served: Serving, method: str, path: str) -> None:
    found = served.ask(path, method, b"{}" if method != "DELETE" else None)
    assert found.status == 405
    assert found.headers["allow"] == "GET, HEAD"
    assert "read-only" in found.headers["x-error-message"]


# -- what clients ask besides -------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/agent-harnesses", "/api/telemetry/x/y", "/api/models-tags-by-type"]
)
def test_what_means_nothing_here_is_answered_all_the_same(served: Serving, path: str) -> None:
    assert served.ask(path).status == 200
    assert served.ask(path, "HEAD").status == 200


def test_there_is_no_hint_at_xet(served: Serving) -> None:
    assert served.ask(f"{INFO}/xet-read-token/main").status == 404
    for path in (
        f"{INFO}?blobs=true&expand=xetEnabled&expand=siblings",
        f"{INFO}?blobs=true",
        f"{TREE}?recursive=true&expand=true",
        "/org/m/resolve/main/sub/weights.bin",
    ):
        found = served.ask(path, "GET")
        assert b"xet" not in found.body.lower()
        assert not any("xet" in f"{key}{value}".lower() for key, value in found.headers.items())


def test_items_carry_the_sha256_of_every_file(served: Serving) -> None:
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    items = served.ask(f"{TREE}?recursive=true").json
    assert {one["path"]: one["sha256"] for one in items if one["type"] == "file"} == digests
    siblings = served.ask(f"{INFO}?blobs=true").json["siblings"]
    assert {one["rfilename"]: one["sha256"] for one in siblings} == digests


def test_the_oid_of_a_large_file_is_that_of_its_pointer(folder: Path) -> None:
    publisher = Publisher(LocalStore(folder))
    publisher.publish("git", "main", FILES, lfs=FILES)
    publisher.publish("plain", "main", FILES, git=False)
    with serving(folder) as found:
        git, plain = (
            found.ask(f"/api/models/{name}/tree/main?recursive=true").json
            for name in ("git", "plain")
        )
    files = [[one for one in items if one["type"] == "file"] for items in (git, plain)]
    assert files[0] == files[1]
    assert all(one["lfs"]["oid"] == one["sha256"] for one in files[0])


def test_the_size_of_a_folder_is_told(served: Serving) -> None:
    assert served.ask(f"{INFO}/treesize/main/sub").json["size"] == 3001
    assert served.ask(f"{INFO}/treesize/main/nope").status == 404


def test_models_are_sorted_by_time_when_asked(served: Serving) -> None:
    times = [one["lastModified"] for one in served.ask("/api/models?sort=lastModified").json]
    assert times == sorted(times, reverse=True)


# -- manifests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["1.0", COMMIT, "main", COMMIT[:12]])
def test_a_manifest_comes_as_the_very_bytes_that_its_digest_names(
    served: Serving, folder: Path, revision: str
) -> None:
    found = served.ask(f"/api/mirror/manifests/m/{revision}")
    digest = hashlib.sha256(found.body).hexdigest()
    assert found.headers["x-manifest-sha256"] == digest
    assert found.headers["etag"] == f'"{digest}"'
    assert list(folder.glob(f"models/m/1.0/manifests/{digest}.json"))
    assert {one["path"] for one in found.json["files"]} == set(FILES)
    again = served.ask(f"/api/mirror/manifests/m/{revision}", If_None_Match=f'"{digest}"')
    assert again.status == 304


def test_a_manifest_is_asked_for_by_the_name_in_this_mirror(served: Serving) -> None:
    assert served.ask("/api/mirror/manifests/org/m/1.0").headers["x-error-code"] == "RepoNotFound"
    assert served.ask("/api/mirror/manifests/m/2.0").headers["x-error-code"] == "RevisionNotFound"
    assert served.ask("/api/mirror/manifests/set/main").status == 200
    assert served.ask("/api/mirror/manifests/%20bad/main").status == 401


# -- a store that fails -------------------------------------------------------------------------


def test_a_store_that_is_down_is_told_as_503_for_what_is_not_in_memory(tmp_path: Path) -> None:
    store = FickleStore()
    publisher = Publisher(store)
    publisher.publish("m", "main", {"f": b"1"}, commit=sha1("1"))
    publisher.publish("m", "main", {"f": b"2"}, commit=sha1("2"))
    with serving(tmp_path, store) as found:
        store.down = True
        assert found.ask("/api/models/m/tree/main").status == 200
        failed = found.ask(f"/api/models/m/revision/{sha1('1')}")
        assert (failed.status, failed.headers["retry-after"]) == (503, "5")
        assert "down" not in failed.headers["x-error-message"]
        store.down = False
        assert found.ask(f"/api/models/m/revision/{sha1('1')}").json["sha"] == sha1("1")


def test_health_is_told_to_everybody(guarded: Serving) -> None:
    assert (guarded.ask("/healthz").status, guarded.ask("/readyz").body) == (200, b"ready\n")


def test_many_questions_at_once_are_all_answered_right(served: Serving) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only here

    def ask(number: int) -> Any:
        path = [INFO, f"{TREE}?recursive=true", "/org/m/resolve/main/config.json"][number % 3]
        return path, served.ask(path).body

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(300)))
    assert len(set(answers)) == 3


def test_a_slash_of_a_revision_may_come_as_it_is_where_nothing_follows(folder: Path) -> None:
    Publisher(LocalStore(folder)).publish("m", "a%2Fb", {"f": b"f"}, repo="org/m", revision="a/b")
    with serving(folder) as found:
        for revision in ("a/b", "a%2Fb"):
            assert found.ask(f"{INFO}/revision/{revision}").json["mirror"]["version"] == "a%2Fb"
            assert found.ask(f"{INFO}/commits/{revision}").status == 200


def test_a_repository_of_many_files_is_described_too(tmp_path: Path) -> None:
    store = MemoryStore()
    Publisher(store).publish("m", "main", {f"f{n:05}": b"" for n in range(6000)})
    with serving(tmp_path, store) as found:
        assert len(found.ask("/api/models/m?blobs=true").json["siblings"]) == 6000
        listed, links = follow(found, "/api/models/m/tree/main")
        assert (len(listed), len(links)) == (6000, 5)
