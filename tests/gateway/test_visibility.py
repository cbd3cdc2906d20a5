"""What a caller may see and what caches may keep: nobody learns of what is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_daemon.stores.local import LocalStore
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


def paths(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [one["path"] for one in reply.json]


def comparable(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    told = {k: v for k, v in reply.headers.items() if k not in {"date", "x-request-id"}}
    return reply.status, told, reply.body


# -- access: what may not be seen is not there --------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/{}",
        "/api/models/{}/revision/main",
        "/api/models/{}/tree/main",
        "/api/models/{}/refs",
        "/api/models/{}/commits/main",
        "/api/models/{}/auth-check",
        "/api/models/{}/xet-read-token/main",
        "/api/models/{}/discussions",
        "/{}/resolve/main/s",
        f"/api/resolve-cache/models/{{}}/{sha1('org/secret main')}/s",
        f"/{{}}/resolve/{sha1('org/secret main')}/s",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_forbidden_repository_looks_as_an_unknown_one(
    guarded: Serving, path: str, method: str
) -> None:
    token = guarded.token("ci-1", "m", "set")
    for shown, status in ((token, 404), (None, 401)):
        forbidden = guarded.ask(path.format("org/secret"), method, token=shown)
        unknown = guarded.ask(path.format("org/nobody"), method, token=shown)
        assert comparable(forbidden) == comparable(unknown)
        assert forbidden.status == status
        assert forbidden.headers["x-error-code"] == "RepoNotFound"


def test_a_forbidden_name_is_not_told_by_its_spelling_nor_by_paths_or_manifests(
    guarded: Serving,
) -> None:
    token = guarded.token("ci-2", "m")
    for path in ("/api/models/ORG/secret", "/api/mirror/manifests/secret/1.0"):
        other = path.replace("secret", "nobody")
        mine, theirs = guarded.ask(path, token=token), guarded.ask(other, token=token)
        assert comparable(mine) == comparable(theirs)
    form = b"paths=s"
    answers = [
        comparable(
            guarded.ask(f"/api/models/org/{name}/paths-info/main", "POST", form, token=token)
        )
        for name in ("secret", "nobody")
    ]
    assert answers[0] == answers[1]


def test_lists_hold_what_the_caller_may_see(guarded: Serving) -> None:
    token = guarded.token("ci-3", "m", "t*")
    assert [one["id"] for one in guarded.ask("/api/models", token=token).json] == ["org/m", "tree"]
    assert guarded.ask("/api/datasets", token=token).json == []
    every = guarded.token("all")
    assert len(guarded.ask("/api/models", token=every).json) == 3
    assert guarded.ask("/api/models").status == 401


def test_of_a_shared_repository_a_caller_sees_the_models_that_are_theirs(folder: Path) -> None:
    publisher = Publisher(LocalStore(folder))
    publisher.publish("m-extra", "9.0", {"e": b"e"}, repo="org/m", revision="v9", commit=sha1("e"))
    with serving(folder, anonymous=False) as found:
        mine, whole = found.token("mine", "m-extra"), found.token("whole")
        assert found.ask(INFO, token=mine).json["sha"] == sha1("e")
        assert found.ask(INFO, token=whole).json["sha"] == COMMIT
        assert found.ask(f"{INFO}/revision/1.0", token=mine).headers["x-error-code"] == (
            "RevisionNotFound"
        )
        tags = [one["name"] for one in found.ask(f"{INFO}/refs", token=mine).json["branches"]]
        assert "1.0" not in tags


def test_whoever_shows_a_token_is_told_its_name(guarded: Serving) -> None:
    assert guarded.ask("/api/whoami-v2", token=guarded.token("ci-2", "m")).json["name"] == "ci-2"
    assert guarded.ask("/api/whoami-v2").status == 401


def test_a_name_is_told_to_nobody_else_who_reads_the_same(guarded: Serving) -> None:
    names = [f"twin-{n}" for n in range(3)]
    for name in names * 2:
        token = guarded.token(name, "m")
        assert guarded.ask("/api/whoami-v2", token=token).json["name"] == name


# -- caches -------------------------------------------------------------------------------------


def test_what_moves_is_valid_for_seconds_and_asked_again_by_its_etag(served: Serving) -> None:
    first = served.ask(INFO)
    assert first.headers["cache-control"] == "public, max-age=10"
    again = served.ask(INFO, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert served.ask(INFO, If_None_Match=f'W/{first.headers["etag"]}, "x"').status == 304
    assert served.ask(INFO, If_None_Match='"other"').status == 200


def test_what_a_commit_names_is_valid_for_longer(served: Serving) -> None:
    found = served.ask(f"{INFO}/tree/{COMMIT}")
    assert found.headers["cache-control"] == "public, max-age=300"


def test_what_a_token_opened_is_private(guarded: Serving) -> None:
    token = guarded.token("ci")
    for path in (INFO, f"{INFO}/revision/{COMMIT}", "/api/models", "/api/whoami-v2"):
        found = guarded.ask(path, token=token)
        assert found.headers["cache-control"].startswith("private, "), path


@pytest.mark.parametrize(
    "path", [INFO, TREE, "/api/models", "/api/models/x/y", "/api/nothing", "/org/m/resolve/main/no"]
)
def test_every_answer_varies_with_the_token_and_has_an_id(served: Serving, path: str) -> None:
    found = served.ask(path)
    assert "authorization" in found.headers["vary"].lower()
    assert found.headers["x-request-id"]
    if found.status >= 400:
        assert found.headers["cache-control"] == "no-store"
        assert found.json["error"]


def test_a_new_version_is_seen_at_the_next_look_and_not_hidden_by_kept_answers(
    folder: Path,
) -> None:
    commit = sha1("new")
    with serving(folder) as served:
        before = served.ask(INFO)
        Publisher(LocalStore(folder)).publish("m", "1.0", {"n": b"n"}, repo="org/m", commit=commit)
        assert served.ask(INFO).json == before.json
        served.refresh()
        assert served.ask(INFO).json["sha"] == commit
        old = served.ask(f"{INFO}/tree/{COMMIT}?recursive=1")
        assert paths(old) == sorted([*FILES, "sub", "sub/deep"])
