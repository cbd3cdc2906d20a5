"""What was refused, failed, or was taken away is not there, by the Hub client's own exceptions.

The store is filled by the real command; clients see the gateway and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from tests.clients.conftest import Serve, serve  # noqa: F401 - fixtures
from tests.e2e.conftest import Mirror, hub, mirror  # noqa: F401 - fixtures
from tests.support.hub import Corrupt, Fault, Hub
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize("mirror", ["directory"], indirect=True)

SECRET = "secret-plans.json"
LONG = "x" * 256 + ".json"
"""No folder of a tree can hold a name of this length: refused before anything moves."""


@dataclass(frozen=True)
class Hidden:
    """A gateway where org/m has one version that may be read, and one that may not."""

    url: str
    commit: str
    names: tuple[str, ...]
    """What nobody may learn of."""

    @property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.url, token=False)

    def get(self, path: str) -> tuple[int, str | None, str]:
        """Status, error code and body of an answer."""
        try:
            with urlopen(Request(self.url + path), timeout=10) as answer:
                return answer.status, None, answer.read().decode()
        except HTTPError as error:
            return error.code, error.headers["X-Error-Code"], error.read().decode()


def versions(*names: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "revision": revision} for name, revision in names]


@pytest.fixture(params=["moved", "refused", "failed"])
def hidden(
    request: pytest.FixtureRequest,
    hub: Hub,  # noqa: F811 - the fixture
    mirror: Mirror,  # noqa: F811
    serve: Serve,  # noqa: F811
) -> Hidden:
    """`moved`: the tag of m@1.0 points elsewhere now. `refused`, `failed`: m@unseen was never let
    through, or could not be fetched whole, so that some of its blobs are stored."""
    repo = hub.repo("org/m")
    repo.tag("v1", repo.commit({"config.json": b"{}", "plain.bin": b"p" * 3000}))
    entry = {"name": "m", "repo": "org/m", "trees": True, "versions": versions(("1.0", "v1"))}
    mirror.write(entry)
    mirror.sync()
    bad = {"plain.bin": b"q" * 3000} | ({LONG: b"long"} if request.param == "refused" else {})
    commit = repo.commit({SECRET: b'{"plans": 2}', **bad})
    tag = "v1" if request.param == "moved" else "v-unseen"
    repo.tag(tag, commit)
    if request.param == "failed":
        hub.faults.add(Fault("*", Corrupt(), path="*plain.bin*", times=None))
    if request.param != "moved":
        entry["versions"] = versions(("1.0", "v1"), ("unseen", "v-unseen"))
    server = serve(entry, code=1)
    report = json.loads(mirror.run("history", "--json").out)["runs"][0]
    assert report["versions"]["failed" if request.param == "failed" else "refused"] == 1
    names = (commit, commit[:7], SECRET, "secret")
    return Hidden(server.url, commit, names if tag == "v1" else (*names, "unseen", "v-unseen"))


def test_its_revisions_are_not_there_for_any_call_of_the_client(
    hidden: Hidden, tmp_path: Path
) -> None:
    """Neither by commit, nor by what its version and tag are called."""
    api, known = hidden.api, {"endpoint": hidden.url, "token": False, "cache_dir": tmp_path}
    asked = [
        hidden.commit,
        hidden.commit[:7],
        *(n for n in ("unseen", "v-unseen") if n in hidden.names),
    ]
    for revision in asked:
        calls: list[Callable[[], Any]] = [
            lambda r=revision: api.model_info("org/m", revision=r, files_metadata=True),
            lambda r=revision: list(api.list_repo_tree("org/m", revision=r, recursive=True)),
            lambda r=revision: api.get_paths_info("org/m", [SECRET], revision=r),
            lambda r=revision: list(api.list_repo_commits("org/m", revision=r)),
            lambda r=revision: hf_hub_download("org/m", SECRET, revision=r, **known),
            lambda r=revision: hf_hub_download("org/m", "config.json", revision=r, **known),
            lambda r=revision: snapshot_download("org/m", revision=r, **known),
        ]
        for call in calls:
            with pytest.raises(RevisionNotFoundError) as failed:
                call()
            assert failed.value.response.status_code == 404
        assert not api.file_exists("org/m", SECRET, revision=revision)
        assert not api.revision_exists("org/m", revision)


def test_every_path_to_it_is_404_and_nothing_that_is_listed_tells_of_it(hidden: Hidden) -> None:
    """What is published of the same repository is served as before."""
    for path in (
        f"/api/models/org/m/revision/{hidden.commit}",
        f"/api/models/org/m/tree/{hidden.commit}",
        f"/api/models/m/tree/{hidden.commit}",
        f"/api/models/org/m/commits/{hidden.commit}",
        f"/api/models/org/m/treesize/{hidden.commit}/",
        f"/org/m/resolve/{hidden.commit}/{SECRET}",
        f"/m/resolve/{hidden.commit}/config.json",
        f"/api/resolve-cache/models/org/m/{hidden.commit}/config.json",
    ):
        status, code, body = hidden.get(path)
        assert (status, code) == (404, "RevisionNotFound"), path
        assert SECRET not in body
    for path in (
        "/api/models",
        "/api/models?full=true",
        "/api/models/org/m",
        "/api/models/org/m?blobs=true",
        "/api/models/m/revision/1.0",
        "/api/models/org/m/refs",
        "/api/models/org/m/commits/main",
        "/api/models/org/m/tree/main?recursive=true&expand=true",
        "/api/mirror/manifests/m/1.0",
    ):
        status, _, body = hidden.get(path)
        assert status == 200, path
        assert not [name for name in hidden.names if name in body], path
    assert hidden.get("/api/mirror/manifests/m/unseen")[0] == 404
    refs = hidden.api.list_repo_refs("org/m")
    told = {(ref.name, ref.target_commit) for ref in [*refs.branches, *refs.tags]}
    assert hidden.commit not in {commit for _, commit in told}
    assert "unseen" not in {name for name, _ in told}
    assert hidden.api.model_info("org/m", revision="1.0").sha != hidden.commit


def test_a_repository_of_which_nothing_was_published_does_not_exist(
    hub: Hub,  # noqa: F811 - the fixture
    serve: Serve,  # noqa: F811
) -> None:
    hub.repo("org/seen").commit({"config.json": b"{}"})
    commit = hub.repo("org/refused").commit({"config.json": b"{}", LONG: b""})
    server = serve(
        {"name": "seen", "repo": "org/seen"},
        {"name": "refused", "repo": "org/refused", "trees": True},
        code=1,
    )
    api = HfApi(endpoint=server.url, token=False)
    for repo in ("org/refused", "refused"):
        for revision in (None, "main", commit):
            with pytest.raises(RepositoryNotFoundError):
                api.model_info(repo, revision=revision)
        with pytest.raises(RepositoryNotFoundError):
            api.list_repo_refs(repo)
        assert not api.repo_exists(repo)
    assert [model.id for model in api.list_models()] == ["org/seen"]


def test_a_version_that_left_the_yaml_stays_until_it_is_removed_from_the_store(
    hub: Hub,  # noqa: F811 - the fixture
    mirror: Mirror,  # noqa: F811
    serve: Serve,  # noqa: F811
    tmp_path: Path,
) -> None:
    """`retention.undeclared: keep`. Without its pointer nothing of it is left, though its manifest
    is still stored: neither commit nor files."""
    repo = hub.repo("org/m")
    old = repo.commit({"config.json": b"{}", SECRET: b"{ }"})
    repo.tag("v1", old)
    repo.tag("v2", repo.commit({"config.json": b"[]"}, delete=[SECRET]))
    entry = {"name": "m", "repo": "org/m", "versions": versions(("early", "v1"), ("2.0", "v2"))}
    mirror.write(entry)
    mirror.sync()
    server = serve(entry | {"versions": versions(("2.0", "v2"))})
    found = Hidden(server.url, old, (old, old[:7], SECRET, "early", "v1"))
    assert found.api.model_info("org/m", revision="early").sha == old
    (tmp_path / "store/models/m/early/current.json").unlink()
    wait_until(lambda: not found.api.revision_exists("org/m", "early"))
    for revision in ("early", "v1", old, old[:7]):
        with pytest.raises(RevisionNotFoundError):
            found.api.model_info("org/m", revision=revision)
    assert found.get(f"/org/m/resolve/{old}/{SECRET}")[:2] == (404, "RevisionNotFound")
    for path in ("/api/models/org/m", "/api/models/org/m/refs", "/api/models/org/m/commits/main"):
        assert not [name for name in found.names if name in found.get(path)[2]], path
