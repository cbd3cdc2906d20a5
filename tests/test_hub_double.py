"""The Hub double behaves as the real client, huggingface_hub, needs it to behave."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from tests.support.hub import DropHeader, Fault, Hub, Repo, Synthetic, synthetic_safetensors
from tests.support.sample import sample_model_dir, sample_model_files
from tests.support.web import fetch, get_json

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = "hf_good"
ODD_NAMES = (
    "with space.txt",
    "hash#1.txt",
    "c++.txt",
    "percent%20literal.txt",
    "a%2Fb",
    "question?.txt",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "\U0001f917.txt",
    "\u6a21\u578b/\u6743\u91cd.bin",
    ".hidden",
    "trailing.",
    "amp&equals=.txt",
    "[bracket].txt",
    "resolve/tree/main",
    "empty",
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def client(hub: Hub, token: str | None = None) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token or False)


def read(folder: str, name: str) -> bytes:
    return Path(folder, name).read_bytes()


def download(hub: Hub, folder: Path, name: str, path: str, **options: str) -> Path:
    """Get one file with the real client, never with a token from the environment."""
    got = hf_hub_download(
        name,
        path,
        revision=options.get("revision", "main"),
        endpoint=hub.endpoint,
        cache_dir=folder,
        token=options.get("token") or False,
    )
    return Path(got)


def test_client_reads_info_with_files_licence_and_tags(hub: Hub) -> None:
    """model_info gives commit, licence, tags, and size and digest of every file."""
    repo = hub.repo("org/name", license="mit", tags=("custom_code",))
    commit = repo.commit({"config.json": b"{}", "w.bin": Synthetic(3 << 20, seed=7)})
    info = client(hub).model_info("org/name", files_metadata=True, securityStatus=True)
    files = {one.rfilename: one for one in info.siblings or ()}
    assert info.sha == commit
    assert info.card_data is not None
    assert info.card_data["license"] == "mit"
    assert info.tags == ["custom_code", "license:mit"]
    assert info.security_repo_status == {"scansDone": True, "filesWithIssues": []}
    assert files["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    assert files["w.bin"].lfs is not None
    assert files["w.bin"].lfs.sha256 == Synthetic(3 << 20, seed=7).sha256


def test_client_reads_refs_of_every_kind(hub: Hub) -> None:
    """Branches, tags, converts and pull requests are listed with their commits."""
    repo = hub.repo("org/name")
    first = repo.commit({"a": b"1"})
    repo.tag("v1.0", first)
    second = repo.commit({"a": b"2"}, branch="feature/x")
    repo.ref("refs/convert/parquet", first)
    repo.ref("refs/pr/1", second)
    refs = client(hub).list_repo_refs("org/name", include_pull_requests=True)
    assert {one.name: one.target_commit for one in refs.branches} == {
        "main": first,
        "feature/x": second,
    }
    assert [one.name for one in refs.tags] == ["v1.0"]
    assert [one.name for one in refs.converts] == ["parquet"]
    assert [one.ref for one in refs.pull_requests or ()] == ["refs/pr/1"]
    for revision in ("feature/x", "refs/pr/1", second):
        assert client(hub).repo_info("org/name", revision=revision).sha == second


def test_listing_of_2500_files_comes_in_pages(hub: Hub) -> None:
    """The client follows absolute Link headers to the end of a long listing."""
    names = {f"part-{number:05}.json": b"{}" for number in range(2500)}
    hub.repo("org/many").commit(names)
    items = list(client(hub).list_repo_tree("org/many", recursive=True))
    assert len(items) == len(names)
    assert hub.count("tree") == 3


def test_expanded_listing_has_smaller_pages_and_scan_results(hub: Hub) -> None:
    """expand=true gives the last commit and what the scanners said, 50 items a page."""
    repo = hub.repo("org/name")
    commit = repo.commit({f"{number}.bin": b"x" for number in range(120)})
    repo.unsafe_files["7.bin"] = "unsafe"
    items = list(client(hub).list_repo_tree("org/name", expand=True))
    found = {one.path: one for one in items if isinstance(one, RepoFile)}
    assert hub.count("tree") == 3
    assert found["7.bin"].security is not None
    assert not found["7.bin"].security["safe"]
    assert found["8.bin"].last_commit is not None
    assert found["8.bin"].last_commit["oid"] == commit


def test_listing_of_a_folder_shows_only_what_is_in_it(hub: Hub) -> None:
    """Without recursion a listing has files and folders of one level; a wrong folder is 404."""
    hub.repo("org/name").commit({"a/b/c.txt": b"", "a/d.txt": b"", "e.txt": b""})
    api = client(hub)
    assert [one.path for one in api.list_repo_tree("org/name")] == ["a", "e.txt"]
    assert [one.path for one in api.list_repo_tree("org/name", "a")] == ["a/b", "a/d.txt"]
    assert [one.path for one in api.list_repo_tree("org/name", "a/b")] == ["a/b/c.txt"]
    with pytest.raises(HfHubHTTPError, match="404"):
        list(api.list_repo_tree("org/name", "absent"))


def test_paths_info_leaves_out_what_is_not_there(hub: Hub) -> None:
    """paths-info answers for files and folders and says nothing of unknown names."""
    hub.repo("org/name").commit({"a/b.bin": Synthetic(2 << 20)})
    items = client(hub).get_paths_info("org/name", ["a", "a/b.bin", "absent"])
    assert [one.path for one in items] == ["a", "a/b.bin"]


def test_history_is_listed_newest_first(hub: Hub) -> None:
    """list_repo_commits gives a commit and every ancestor, page by page."""
    repo = hub.repo("org/name")
    made = [repo.commit({"a": f"{number}"}, message=f"no {number}") for number in range(5)]
    hub.page_size = 2
    listed = client(hub).list_repo_commits("org/name")
    assert [(one.commit_id, one.title) for one in listed] == [
        (made[number], f"no {number}") for number in (4, 3, 2, 1, 0)
    ]


def test_equal_content_has_equal_commit_ids() -> None:
    """Two runs of a test see the same ids; other bytes, names or parents give others."""
    one, two = Repo("org/name"), Repo("org/name")
    assert one.commit({"a": b"1"}) == two.commit({"a": b"1"})
    assert one.commit({"a": Synthetic(9)}) == two.commit({"a": Synthetic(9)})
    assert one.commit({"a": b"2"}) != two.commit({"a": b"3"})
    assert len(one.commits) == 3


def test_old_commit_stays_reachable_after_the_branch_moved(hub: Hub, tmp_path: Path) -> None:
    """A full commit id answers with the files of that commit, deleted ones too."""
    repo = hub.repo("org/name")
    old = repo.commit({"gone.txt": b"still here"})
    repo.commit({"new.txt": b"2"}, delete=("gone.txt",))
    path = download(hub, tmp_path, "org/name", "gone.txt", revision=old)
    assert path.read_bytes() == b"still here"
    with pytest.raises(RemoteEntryNotFoundError):
        download(hub, tmp_path, "org/name", "gone.txt")


@pytest.mark.parametrize("mode", ["redirect", "direct"])
def test_snapshot_download_gets_every_byte(hub: Hub, tmp_path: Path, mode: str) -> None:
    """Small and large files arrive whole, whether redirected or answered directly."""
    hub.small_files = hub.large_files = mode
    large = Synthetic(5_000_001, seed=3)
    repo = hub.repo("org/name")
    commit = repo.commit({"config.json": b'{"a": 1}', "sub/w.bin": large, "empty": b""})
    folder = snapshot_download("org/name", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    got = {name: read(folder, name) for name in ("config.json", "sub/w.bin", "empty")}
    assert folder.endswith(commit)
    assert got["config.json"] == b'{"a": 1}'
    assert hashlib.sha256(got["sub/w.bin"]).hexdigest() == large.sha256
    assert got["empty"] == b""
    sent = {large.sha256: large.size} if mode == "redirect" else {}
    assert hub.cdn_bytes() == sent


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_datasets_and_spaces_have_their_own_addresses(hub: Hub, tmp_path: Path, kind: str) -> None:
    """A dataset or space may share its name with a model and is still another repository."""
    hub.repo("org/name").commit({"a.txt": b"model"})
    hub.repo("org/name", kind).commit({"a.txt": b"other", "b.bin": Synthetic(2 << 20)})
    folder = snapshot_download(
        "org/name", repo_type=kind, endpoint=hub.endpoint, cache_dir=tmp_path, token=False
    )
    assert read(folder, "a.txt") == b"other"
    assert len(read(folder, "b.bin")) == 2 << 20


def test_repository_without_an_organisation_is_found(hub: Hub, tmp_path: Path) -> None:
    """Names of one segment work in the API and for files."""
    hub.repo("gpt2").commit({"config.json": b"{}"})
    assert client(hub).model_info("gpt2").id == "gpt2"
    snapshot_download("gpt2", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert hub.count("small", path="config.json", method="GET") == 1


def test_odd_names_survive_the_way_to_the_client(hub: Hub, tmp_path: Path) -> None:
    """Names with spaces, #, +, %, composed and decomposed letters come back unchanged."""
    files = {name: name.encode() for name in ODD_NAMES}
    hub.repo("org/odd").commit(files, lfs=("*.bin", "hash*"))
    folder = snapshot_download("org/odd", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert {name: read(folder, name) for name in ODD_NAMES} == files
    assert {one.file for one in hub.seen("cdn")} == {"\u6a21\u578b/\u6743\u91cd.bin", "hash#1.txt"}


def test_hostile_names_appear_in_listings_when_asked_for(hub: Hub) -> None:
    """Paths that git refuses need unchecked=True or a raw tree item."""
    repo = hub.repo("org/evil")
    hostile = ("../x", "/abs", "a\nb", "c\\d", "e", "e/f")
    for name in hostile[:4]:
        with pytest.raises(ValueError, match="cannot be in a repository"):
            repo.commit({name: b""})
    with pytest.raises(ValueError, match="needs a folder"):
        repo.commit({"e": b"", "e/f": b""})
    repo.commit(dict.fromkeys(hostile, b"!"), unchecked=True)
    repo.raw_tree_item({"type": "file", "path": "..", "size": -1, "oid": "0"})
    items = get_json(f"{hub.endpoint}/api/models/org/evil/tree/main?recursive=true")
    shown = {item["path"] for item in items if item["type"] == "file"}
    assert shown == {*hostile, ".."}
    for name in hostile:
        found = fetch(f"{hub.endpoint}/org/evil/resolve/main/{quote(name)}")
        assert found.status == 307


def test_private_repository_opens_with_a_token_that_never_reaches_the_cdn(
    hub: Hub, tmp_path: Path
) -> None:
    """The Hub gets the token with every request, the CDN with none."""
    hub.repo("org/secret", private=True).commit({"w.bin": Synthetic(2 << 20), "a": b"a"})
    snapshot_download("org/secret", endpoint=hub.endpoint, cache_dir=tmp_path, token=GOOD)
    assert len(hub.authorized("hub")) == hub.count("hub")
    assert hub.count("cdn", status=200) == 1
    assert hub.authorized("cdn") == []


@pytest.mark.parametrize("token", [None, GOOD])
def test_missing_and_hidden_repositories_look_the_same(hub: Hub, token: str | None) -> None:
    """Unknown is RepositoryNotFoundError, and so is private to whoever may not read it."""
    repo = hub.repo("org/secret", private=True)
    repo.readers = set()
    repo.commit({"a": b"a"})
    for name in ("org/absent", "org/secret", "absent"):
        with pytest.raises(RepositoryNotFoundError) as caught:
            client(hub, token).model_info(name)
        assert caught.value.response.status_code == (404 if token else 401)


def test_gated_repository_shows_its_listing_and_keeps_its_files(hub: Hub, tmp_path: Path) -> None:
    """Files are GatedRepoError until the token has passed the gate."""
    repo = hub.repo("org/gated", gated="manual")
    repo.commit({"a.txt": b"a"})
    assert client(hub).model_info("org/gated").gated == "manual"
    for token in ("", GOOD):
        with pytest.raises(GatedRepoError):
            download(hub, tmp_path, "org/gated", "a.txt", token=token)
        with pytest.raises(GatedRepoError):
            client(hub, token).auth_check("org/gated")
    repo.granted.add(GOOD)
    assert download(hub, tmp_path, "org/gated", "a.txt", token=GOOD).read_bytes() == b"a"
    client(hub, GOOD).auth_check("org/gated")


def test_other_refusals_raise_the_class_the_client_has_for_them(hub: Hub, tmp_path: Path) -> None:
    """Wrong revision, wrong file, disabled repository and wrong token are told apart."""
    repo = hub.repo("org/name")
    commit = repo.commit({"a": b"a"})
    api = client(hub)
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/name", revision="absent")
    with pytest.raises(RemoteEntryNotFoundError) as caught:
        download(hub, tmp_path, "org/name", "absent")
    assert caught.value.response.headers["X-Repo-Commit"] == commit
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        client(hub, "hf_bad").model_info("org/name")
    repo.disabled = True
    with pytest.raises(DisabledRepoError):
        api.model_info("org/name")


def test_whoami_names_the_owner_of_a_good_token(hub: Hub) -> None:
    """whoami-v2 needs a good token."""
    assert client(hub).whoami(token=GOOD)["name"] == hub.user
    assert fetch(f"{hub.endpoint}/api/whoami-v2").status == 401


@pytest.mark.parametrize("location", ["relative", "absolute"])
def test_renamed_repository_redirects_everywhere(hub: Hub, tmp_path: Path, location: str) -> None:
    """The old name still works for info, listing and files."""
    hub.absolute_redirects = location == "absolute"
    repo = hub.repo("old/name")
    repo.commit({"a.txt": b"a", "w.bin": Synthetic(2 << 20)})
    repo.rename("new/name")
    assert client(hub).model_info("old/name").id == "new/name"
    folder = snapshot_download("old/name", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert read(folder, "a.txt") == b"a"
    assert hub.count("resolve", status=307, path="/old/name/*") >= 1


def test_xet_hints_are_there_only_when_switched_on(hub: Hub, tmp_path: Path) -> None:
    """With xet on, tree and headers carry hashes and the real client fails for want of a CAS."""
    hub.repo("org/name").commit({"w.bin": Synthetic(2 << 20)})
    tree = f"{hub.endpoint}/api/models/org/name/tree/main"
    file = f"{hub.endpoint}/org/name/resolve/main/w.bin"
    assert "xetHash" not in get_json(tree)[0]
    assert fetch(file, method="HEAD").header("X-Xet-Hash") is None
    hub.xet = True
    xet_hash = get_json(tree)[0]["xetHash"]
    assert fetch(file, method="HEAD").header("X-Xet-Hash") == xet_hash
    assert xet_hash != get_json(tree)[0]["lfs"]["oid"]
    with pytest.raises(HfHubHTTPError):
        download(hub, tmp_path, "org/name", "w.bin")
    assert hub.count("xet-read-token") == 1


def test_lost_link_header_makes_the_real_client_see_a_short_listing(hub: Hub) -> None:
    """This is why our engine must not trust the end of a listing: the client notices nothing."""
    hub.repo("org/name").commit({f"{number}": b"" for number in range(30)})
    hub.page_size = 10
    hub.faults.add(Fault("tree", DropHeader("Link"), nth=2))
    items = list(client(hub).list_repo_tree("org/name"))
    assert len(items) == 20


def test_made_up_safetensors_opens_as_one(hub: Hub) -> None:
    """The client reads the header of a synthetic safetensors file by range requests."""
    hub.repo("org/name").commit({"model.safetensors": synthetic_safetensors(3 << 20)})
    found = client(hub).get_safetensors_metadata("org/name")
    assert sum(found.parameter_count.values()) == (3 << 20) - 256


def test_sample_model_travels_unchanged(hub: Hub, tmp_path: Path) -> None:
    """The real 90 MB model is served from its folder and arrives byte for byte."""
    hub.repo("sentence/encoder").commit(dict(sample_model_files()))
    with download(hub, tmp_path, "sentence/encoder", "model.safetensors").open("rb") as got:
        digest = hashlib.file_digest(got, "sha256").hexdigest()
    with (sample_model_dir() / "model.safetensors").open("rb") as want:
        assert digest == hashlib.file_digest(want, "sha256").hexdigest()


def test_nothing_is_left_when_the_context_ends() -> None:
    """Threads and sockets are gone, also those of a client that did not hang up."""
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    with Hub() as hub:
        hub.repo("org/name").commit({"a": b"a"})
        idle = socket.create_connection((hub.hub_server.host, hub.hub_server.port))
        assert fetch(f"{hub.endpoint}/org/name/resolve/main/a").status == 307
    with idle:
        assert idle.recv(1) == b""
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == files
