"""A version on a developer's machine: fetched once, proven, linked, and looked after."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.client import ModelLoader
from sync_daemon.client.report import NotInCache, VersionRefused
from sync_daemon.domain.errors import (
    ConfigurationError,
    DigestMismatch,
    Forbidden,
    OriginUnavailable,
    RepositoryNotFound,
    RevisionNotFound,
)
from sync_daemon.domain.events import VersionWarning
from tests.client.conftest import MIB, REPO, Machine, files
from tests.support.certificates import make_certificate, serving
from tests.support.door import open_door
from tests.support.hub import Corrupt, Fault, Hub, ReplaceBody, Repo, Reset, Status


def tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path; pull's own notes left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".sync-daemon.json"
    }


def expected(repo: Repo, revision: str = "main") -> dict[str, str]:
    found = repo.find(revision)
    assert found is not None
    return {path: blob.sha256 for path, blob in found.files.items()}


def renew(repo: Repo, content: dict[str, Any]) -> None:
    """Commit these files in place of all that were there."""
    repo.commit(delete=expected(repo))
    repo.commit(content)


def test_a_version_arrives_whole_and_proven(machine: Machine, hub: Hub, repo: Repo) -> None:
    report = machine.pull()
    assert tree(machine.output) == expected(repo)
    assert report.status == "ok"
    assert report.commit == repo.head("main")
    assert (report.files, report.outcome.linked, report.fetched_files) == (3, 3, 3)
    assert report.bytes.total == report.bytes.fetched == 12 * MIB + len(b'{"seed": 0}') + 4
    assert report.site == hub.endpoint


def test_a_second_pull_asks_one_question_and_touches_nothing(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    machine.pull()
    before = {path: path.stat() for path in machine.output.rglob("*") if path.name[0] != "."}
    hub.clear()
    report = machine.pull()
    assert hub.count() == 1
    assert (report.outcome.kept, report.outcome.placed, report.bytes.fetched) == (3, 0, 0)
    assert {path: path.stat() for path in before} == before


def test_a_full_commit_that_is_here_asks_nobody(machine: Machine, hub: Hub, repo: Repo) -> None:
    machine.pull()
    hub.clear()
    machine.pull(f"{REPO}@{repo.head('main')}", output=machine.home / "other")
    assert hub.count() == 0
    assert tree(machine.home / "other") == expected(repo)


def test_another_name_of_the_same_commit_fetches_nothing(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    machine.pull()
    repo.tag("v1", repo.head("main"))
    hub.clear()
    report = machine.pull(f"{REPO}@v1", output=machine.home / "other")
    assert (hub.count(), report.bytes.fetched) == (1, 0)
    assert machine.pull(f"{REPO}@v1", offline_mode=True).status == "ok"


def test_the_next_version_fetches_only_what_is_new_and_shares_the_rest(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    machine.pull()
    repo.commit(files(seed=1))
    hub.clear()
    report = machine.pull(output=machine.home / "next")
    assert report.bytes.fetched == len(b'{"seed": 1}')
    old, new = (folder / "model.safetensors" for folder in (machine.output, machine.home / "next"))
    assert old.samefile(new)


def test_files_are_read_only_links_to_the_cache(machine: Machine, repo: Repo) -> None:
    machine.pull()
    file = machine.output / "model.safetensors"
    assert any(blob.samefile(file) for blob in machine.blobs())
    assert not file.stat().st_mode & 0o222


def test_copies_belong_to_the_user_and_are_not_the_cache(machine: Machine, repo: Repo) -> None:
    report = machine.pull(copy=True)
    file = machine.output / "config.json"
    assert report.outcome.copied == 3
    assert not any(blob.samefile(file) for blob in machine.blobs())
    file.write_bytes(b"mine")
    assert machine.pull(output=machine.home / "other").bytes.fetched == 0
    assert tree(machine.home / "other") == expected(repo)


def test_a_linked_file_that_was_edited_in_place_spoils_nothing(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    """It is the cache's own blob that was edited: it is fetched anew, for other outputs too."""
    machine.pull()
    file = machine.output / "model.safetensors"
    file.chmod(0o644)
    with file.open("r+b") as handle:
        handle.seek(MIB)
        handle.write(b"oops")
    report = machine.pull(output=machine.home / "other")
    assert tree(machine.home / "other") == expected(repo)
    assert report.bytes.fetched == 12 * MIB
    assert any("was changed; it is fetched anew" in one for one in report.warnings)
    assert any(isinstance(event, VersionWarning) for event in machine.events)
    report = machine.pull()
    assert tree(machine.output) == expected(repo)
    assert report.warnings == ("model.safetensors: was changed, and is replaced",)


def test_an_edit_that_hides_is_found_by_verify(machine: Machine, repo: Repo) -> None:
    """Size and time are as they were: only a hash tells."""
    machine.pull()
    file = machine.output / "config.json"
    before = file.stat()
    file.chmod(0o644)
    file.write_bytes(b'{"seed": 9}')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert machine.pull().warnings == ()
    assert machine.pull(verify=True).bytes.fetched == before.st_size
    assert tree(machine.output) == expected(repo)


def test_a_blob_that_lost_bytes_is_fetched_again(machine: Machine, repo: Repo) -> None:
    machine.pull()
    blob = next(one for one in machine.blobs() if one.stat().st_size == 12 * MIB)
    blob.chmod(0o644)
    with blob.open("r+b") as handle:
        handle.truncate(5 * MIB)
    machine.pull(output=machine.home / "other")
    assert tree(machine.home / "other") == expected(repo)


def test_what_left_the_version_leaves_the_output_unless_it_was_changed(
    machine: Machine, repo: Repo
) -> None:
    repo.commit({**files(), "old/a.txt": b"a", "old/b.txt": b"b", "readme": b"r"})
    machine.pull()
    (machine.output / "readme").chmod(0o644)
    (machine.output / "readme").write_bytes(b"my notes")
    (machine.output / "mine.txt").write_bytes(b"mine")
    renew(repo, files(seed=2))
    report = machine.pull()
    assert report.outcome.removed == 2
    assert not (machine.output / "old").exists()
    assert (machine.output / "readme").read_bytes() == b"my notes"
    assert (machine.output / "mine.txt").read_bytes() == b"mine"
    assert any("readme" in one for one in report.warnings)


def test_a_version_may_turn_a_file_into_a_folder_and_back(machine: Machine, repo: Repo) -> None:
    renew(repo, {"config": b"file"})
    machine.pull()
    renew(repo, {"config/a.json": b"folder"})
    machine.pull()
    assert tree(machine.output) == expected(repo)
    renew(repo, {"config": b"file again"})
    machine.pull()
    assert tree(machine.output) == expected(repo)


def test_selections_of_one_version_do_not_mix(machine: Machine, hub: Hub, repo: Repo) -> None:
    machine.pull(include=["*.json"])
    assert set(tree(machine.output)) == {"config.json"}
    machine.pull(exclude=["*.safetensors"], output=machine.home / "other")
    assert set(tree(machine.home / "other")) == {"config.json", "data/vocab.txt"}
    with pytest.raises(NotInCache):
        machine.pull(offline_mode=True)
    with pytest.raises(VersionRefused, match=r"^org/model@main: none of the 3 files"):
        machine.pull(include=["*.nothing"])


def test_offline_serves_what_was_pulled_and_nothing_else(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    machine.pull()
    hub.clear()
    report = machine.pull(offline_mode=True, mirrors=(), output=machine.home / "other")
    assert tree(machine.home / "other") == expected(repo)
    assert (hub.count(), report.site) == (0, None)
    machine.blobs()[0].unlink()
    with pytest.raises(NotInCache, match="lacks some of its files"):
        machine.pull(offline_mode=True)
    with pytest.raises(NotInCache, match="does not hold it"):
        machine.pull("org/never", offline_mode=True)


def test_a_moved_tag_is_followed(machine: Machine, repo: Repo) -> None:
    repo.tag("v1", repo.head("main"))
    machine.pull(f"{REPO}@v1")
    repo.commit(files(seed=3))
    repo.tag("v1", repo.head("main"))
    machine.pull(f"{REPO}@v1")
    assert tree(machine.output) == expected(repo)


def test_what_does_not_exist_is_told_as_such(machine: Machine, repo: Repo) -> None:
    with pytest.raises(RepositoryNotFound) as told:
        machine.pull("org/nothing")
    assert "no token was given" in str(told.value.hint)
    with pytest.raises(Forbidden) as refused:
        machine.pull("org/nothing", token="t" * 20)
    assert "is the token right?" in str(refused.value.hint)
    with pytest.raises(RevisionNotFound):
        machine.pull(f"{REPO}@nothing")
    assert not machine.output.exists()


def test_a_certificate_that_nobody_trusts_is_told_with_a_way_out(tmp_path: Path) -> None:
    context = serving(make_certificate(tmp_path))
    with open_door(context=lambda: context) as door:
        site = {"url": f"https://127.0.0.1:{door.port}"}
        transfer, pull = {"attempts": 1}, {"model": REPO, "cache": str(tmp_path / "cache")}
        loader = ModelLoader({"mirror_sites": [site], "transfer": transfer, "pull": pull})
        with pytest.raises(OriginUnavailable, match="not trusted") as told:
            loader.download_and_verify()
    assert "pull.ca_file" in str(told.value.hint)


def test_no_mirror_that_answers_is_told_as_such(machine: Machine) -> None:
    with pytest.raises(OriginUnavailable) as told:
        machine.pull(mirrors=["http://127.0.0.1:9"])
    assert "--offline" in str(told.value.hint)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mirrors": ()}, "no mirror site"),
        ({"mirrors": ["ftp://x"]}, "not an http"),
        ({"connections": 0}, "0 connections"),
        ({"bandwidth": "fast"}, "bandwidth"),
        ({"repo_type": "kernel"}, "kind of repository"),
        ({"model": "../etc"}, "no name of a model"),
        ({"model": "a/b/c"}, "no name of a model"),
        ({"model": f"{REPO}@a b"}, "no version"),
        ({"model": f"{REPO}@a", "version": "b"}, "two versions"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_touched(
    machine: Machine, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        machine.pull(**options)  # type: ignore[arg-type]
    assert list(machine.home.iterdir()) == []


# -- two mirrors ---------------------------------------------------------------------------


@pytest.fixture
def other(repo: Repo) -> Iterator[Hub]:
    """A second mirror with the same commit."""
    with Hub() as found:
        twin = found.repo(REPO)
        twin.commit(files())
        assert twin.head("main") == repo.head("main")
        yield found


def test_a_mirror_that_dies_in_mid_file_is_replaced_by_the_next(
    machine: Machine, hub: Hub, other: Hub, repo: Repo
) -> None:
    hub.faults.add(Fault("cdn", Reset(2 * MIB), times=None))
    report = machine.pull(mirrors=[hub.endpoint, other.endpoint])
    assert tree(machine.output) == expected(repo)
    assert 0 < hub.bytes_sent("cdn") < 12 * MIB
    assert other.bytes_sent("cdn") > 0
    failures = {one["url"]: one["failures"] for one in report.endpoints}
    assert failures[hub.endpoint] > 0
    assert failures[other.endpoint] == 0


def test_a_mirror_that_is_gone_is_passed_over(machine: Machine, hub: Hub, repo: Repo) -> None:
    report = machine.pull(mirrors=["http://127.0.0.1:9", hub.endpoint])
    assert tree(machine.output) == expected(repo)
    assert report.site == hub.endpoint


def test_a_mirror_that_sends_wrong_bytes_is_found_out(
    machine: Machine, hub: Hub, other: Hub, repo: Repo
) -> None:
    hub.faults.add(Fault("cdn", Corrupt(MIB), times=None))
    machine.pull(mirrors=[hub.endpoint, other.endpoint])
    assert tree(machine.output) == expected(repo)
    assert other.bytes_sent("cdn") >= 12 * MIB


def test_wrong_bytes_from_everybody_fail_and_place_nothing(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    hub.faults.add(Fault("cdn", Corrupt(MIB), times=None))
    with pytest.raises(DigestMismatch):
        machine.pull()
    assert not machine.output.exists()


def test_a_mirror_that_lies_about_its_listing_is_passed_over(
    machine: Machine, hub: Hub, other: Hub, repo: Repo
) -> None:
    hub.faults.add(Fault("tree", ReplaceBody(b'[{"type": "file"}]'), times=None))
    machine.pull(mirrors=[hub.endpoint, other.endpoint])
    assert tree(machine.output) == expected(repo)


def test_priorities_of_the_yaml_stand_above_its_order(
    machine: Machine, hub: Hub, other: Hub, repo: Repo
) -> None:
    sites = [
        {"name": "far", "url": other.endpoint, "priority": 2},
        {"name": "near", "url": hub.endpoint, "priority": 1},
    ]
    report = machine.pull(config={"mirror_sites": sites}, mirrors=())
    assert report.site == "near"
    assert other.count() == 0


def test_each_mirror_gets_its_own_token_and_no_other(
    machine: Machine, hub: Hub, other: Hub, repo: Repo
) -> None:
    """The second has its own, the first the common one; the CDN behind them gets none."""
    hub.tokens, other.tokens = {"common-1"}, {"theirs-1"}
    hub.faults.add(Fault("resolve", Status(503), times=None))
    sites = [{"url": hub.endpoint}, {"url": other.endpoint, "token": "theirs-1"}]
    machine.pull(config={"mirror_sites": sites, "pull": {"token": "common-1"}}, mirrors=())
    sent = {one.authorization for one in hub.authorized()}
    assert sent == {"Bearer common-1"}
    assert {one.authorization for one in other.authorized()} == {"Bearer theirs-1"}
    assert not hub.authorized("cdn")
    assert not other.authorized("cdn")


# -- what a gateway of ours adds -----------------------------------------------------------


def with_digests(repo: Repo, **wrong: str) -> ReplaceBody:
    """The tree as a gateway of ours lists it; `wrong` are digests that are not so."""
    items = []
    for path in expected(repo):
        blob = repo.blob(path)
        sha256 = wrong.get(path.partition(".")[0], blob.sha256)
        item = {"type": "file", "path": path, "size": blob.size, "oid": blob.oid, "sha256": sha256}
        if blob.lfs:
            item["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 1}
        items.append(item)
    return ReplaceBody(json.dumps(items).encode())


def test_a_listing_with_sha256_proves_small_files_too(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    """Another repository's small files are known by their digest then."""
    hub.faults.add(Fault("tree", with_digests(repo), times=None))
    machine.pull()
    hub.repo("org/twin").commit(files())
    hub.clear()
    report = machine.pull("org/twin", output=machine.home / "twin")
    assert report.bytes.fetched == 0


def test_a_small_file_that_is_not_its_sha256_is_refused(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    hub.faults.add(Fault("tree", with_digests(repo, config="0" * 64), times=None))
    with pytest.raises(DigestMismatch):
        machine.pull(include=["config.json"])


def test_many_small_files_are_placed(machine: Machine, hub: Hub) -> None:
    hub.repo("org/many").commit({f"d{n % 7}/f{n}.json": b"%d" % n for n in range(500)})
    report = machine.pull("org/many")
    assert (report.files, report.outcome.linked) == (500, 500)
    assert machine.pull("org/many").outcome.kept == 500


def test_a_dataset_and_a_model_of_one_name_are_two_things(machine: Machine, hub: Hub) -> None:
    hub.repo("org/x").commit({"m.json": b"model"})
    hub.repo("org/x", "dataset").commit({"d.json": b"dataset"})
    machine.pull("org/x")
    machine.pull("org/x", repo_type="dataset", output=machine.home / "data")
    assert (machine.output / "m.json").read_bytes() == b"model"
    assert (machine.home / "data" / "d.json").read_bytes() == b"dataset"


def test_names_that_no_mirror_store_could_have_are_pulled(machine: Machine, hub: Hub) -> None:
    hub.repo("_org/_model").commit({"a b#%20+.json": b"odd", "ünï/日本.txt": b"code"})
    machine.pull("_org/_model")
    assert (machine.output / "a b#%20+.json").read_bytes() == b"odd"
    assert (machine.output / "ünï" / "日本.txt").read_bytes() == b"code"


def test_no_room_is_told_before_a_byte_is_fetched(machine: Machine, hub: Hub, repo: Repo) -> None:
    lfs = {"oid": "1" * 64, "size": 2**40, "pointerSize": 134}
    item = {"type": "file", "path": "huge.bin", "size": 2**40, "oid": "1" * 40, "lfs": lfs}
    repo.raw_tree_item(item)
    with pytest.raises(VersionRefused, match="are free in"):
        machine.pull()
    assert hub.count("cdn") == 0
