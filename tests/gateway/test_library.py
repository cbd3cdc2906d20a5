"""What the gateway knows of a store: repo ids, revisions, and how it keeps up with changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.shelf import Repository
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.published import MORNING, Publisher, no_retry, sha1


class CountingStore(MemoryStore):
    """Counts reads, and is down when it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.read: list[str] = []

    def get(self, key):  # type: ignore[no-untyped-def]
        self.read.append(key)
        return super().get(key)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        if self.down:
            raise StoreUnavailable("down")
        return super().list(prefix, start_after)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def publisher(store: CountingStore) -> Publisher:
    return Publisher(store)


def library_of(store: CountingStore, *order: str) -> Library:
    found = Library(store, no_retry(), order=tuple(map(ModelName, order)))
    found.refresh()
    return found


def repository(library: Library, name: str, kind: str = "model") -> Repository:
    found = library.shelf.repository(kind, name)
    assert found is not None
    return found


def version(library: Library, name: str, revision: str) -> str | None:
    found = repository(library, name).find(revision)
    return str(found) if found else None


FILES = {"config.json": b"{}"}


def test_a_model_answers_by_its_own_name_and_by_its_repository(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("llama", "1.0", FILES, repo="meta/llama")
    library = library_of(store)
    assert version(library, "llama", "1.0") == version(library, "meta/llama", "1.0") == "llama@1.0"
    assert library.shelf.repository("dataset", "llama") is None


def test_of_two_models_from_one_repository_the_first_of_the_yaml_answers(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES, repo="org/x")
    publisher.publish("b", "main", FILES, repo="org/x")
    assert version(library_of(store, "b", "a"), "org/x", "main") == "b@main"
    assert version(library_of(store), "org/x", "main") == "a@main"
    assert version(library_of(store, "b", "a"), "a", "main") == "a@main"


def test_a_model_of_that_very_name_comes_before_those_from_such_a_repository(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES, repo="gpt2")
    publisher.publish("gpt2", "main", FILES, repo="org/gpt2")
    assert version(library_of(store, "a", "gpt2"), "gpt2", "main") == "gpt2@main"


def test_a_revision_is_a_commit_a_version_an_alias_a_ref_or_the_beginning_of_a_commit(
    store: CountingStore, publisher: Publisher
) -> None:
    old, new = sha1("old"), sha1("new")
    publisher.publish("m", "1.0", FILES, revision="v1", commit=old, pin=True)
    publisher.publish("m", "release%2Fv2", FILES, revision="release/v2", commit=new, pin=True)
    publisher.alias("m", "stable", "1.0")
    library = library_of(store)
    for revision in (
        old,
        "1.0",
        "refs/tags/1.0",
        "stable",
        "v1",
        "refs/tags/v1",
        old[:7],
        old[:39],
    ):
        assert version(library, "m", revision) == "m@1.0", revision
    for revision in (new, "release%2Fv2", "release/v2", "refs/heads/release/v2"):
        assert version(library, "m", revision) == "m@release%2Fv2", revision
    for revision in ("v3", old[:6], old[:39] + "x", "", "0" * 40, "refs/pr/1"):
        assert version(library, "m", revision) is None, revision


def test_a_beginning_that_fits_two_commits_means_neither(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("m", "1", FILES, revision="a", commit="abcdef0" + "1" * 33)
    publisher.publish("m", "2", FILES, revision="b", commit="abcdef0" + "2" * 33)
    library = library_of(store)
    assert version(library, "m", "abcdef0") is None
    assert version(library, "m", "abcdef01") == "m@1"


def test_main_is_what_follows_main_and_otherwise_the_newest_version(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("m", "9.0", FILES, revision="v9", commit=sha1("9"))
    publisher.publish("m", "10.0", FILES, revision="v10", commit=sha1("10"))
    assert version(library_of(store), "m", "main") == "m@10.0"
    publisher.publish("m", "nightly", FILES, revision="main", commit=sha1("main"))
    assert version(library_of(store), "m", "main") == "m@nightly"


def test_two_versions_of_one_commit_with_different_files_have_different_commits_for_readers(
    store: CountingStore, publisher: Publisher
) -> None:
    commit = sha1("x")
    publisher.publish("m", "2", FILES, commit=commit, revision="t")
    publisher.publish("m", "1", {"w.gguf": b"g"}, commit=commit, revision="t", selection="gguf")
    publisher.publish("m", "0", FILES, commit=commit, revision="t")
    library = library_of(store)
    first, other, same = (repository(library, "m").find(name) for name in "210")
    assert first is not None
    assert other is not None
    assert same is not None
    assert first.commit == same.commit == commit
    assert other.commit != commit
    assert repository(library, "m").find(other.commit) == other
    assert set(library.snapshot(other).files) == {"w.gguf"}
    assert library.snapshot(other).edition.commit == other.commit
    assert other.source.commit == commit


def test_a_commit_that_a_version_had_before_is_still_found_with_its_files(
    store: CountingStore, publisher: Publisher
) -> None:
    before, after = sha1("1"), sha1("2")
    publisher.publish("m", "main", {"old.txt": b"1"}, commit=before)
    publisher.publish("m", "main", {"new.txt": b"2"}, commit=after)
    library = library_of(store)
    found = repository(library, "m")
    assert found.find(before) is None
    edition = library.find_former(found, before)
    assert edition is not None
    assert edition.commit == before
    assert set(library.snapshot(edition).files) == {"old.txt"}
    assert library.find_former(found, sha1("3")) is None
    store.read.clear()
    assert library.find_former(found, sha1("4")) is None
    assert store.read == []  # each former manifest is read once


def test_a_former_commit_that_was_asked_for_while_the_store_was_away_is_found_later(
    tmp_path: Path,
) -> None:
    """A directory that is not there is no damaged manifest, which is asked for once only."""
    store = LocalStore(tmp_path / "store")
    store.create()
    publisher = Publisher(store)
    for number in range(2):
        publisher.publish("m", "main", {"f": b"%d" % number}, commit=sha1(f"{number}"))
    library = Library(store, no_retry())
    library.refresh()
    found = repository(library, "m")
    (tmp_path / "store").rename(tmp_path / "away")
    for left in (False, True):
        if left:
            (tmp_path / "store").mkdir()
        with pytest.raises(StoreUnavailable):
            library.find_former(found, sha1("0"))
    (tmp_path / "store").rmdir()
    (tmp_path / "away").rename(tmp_path / "store")
    assert library.find_former(found, sha1("0")) is not None


def test_the_formers_of_a_version_are_sorted_the_newest_first(
    store: CountingStore, publisher: Publisher
) -> None:
    for number in range(3):
        publisher.publish("m", "main", {"f": b"%d" % number}, commit=sha1(f"{number}"))
    library = library_of(store)
    edition = repository(library, "m").find("main")
    assert edition is not None
    assert {one.commit for one in library.formers(edition)} == {sha1("0"), sha1("1")}
    times = [one.stored_at for one in library.formers(edition)]
    assert times == sorted(filter(None, times), reverse=True)


def test_only_what_moved_is_read_again(store: CountingStore, publisher: Publisher) -> None:
    publisher.publish("a", "main", FILES)
    publisher.publish("b", "main", FILES)
    library = library_of(store)
    store.read.clear()
    shelf = library.shelf
    assert library.refresh() is False
    assert store.read == []
    assert library.shelf is shelf  # answers that were made from it stay good
    publisher.publish("b", "main", FILES, commit=sha1("new"))
    store.read.clear()
    assert library.refresh() is True
    assert {key.split("/")[1] for key in store.read} == {"b"}


def test_a_version_that_was_removed_is_gone_after_the_next_look(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES)
    publisher.publish("b", "main", FILES)
    library = library_of(store)
    store.delete(keys.current(ModelName("b"), VersionName("main")))
    assert library.refresh() is True
    assert library.shelf.repository("model", "b") is None
    assert library.shelf.repository("model", "a") is not None


def test_a_store_that_is_down_leaves_the_shelf_as_it_was(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES)
    library = library_of(store)
    store.down = True
    with pytest.raises(StoreUnavailable):
        library.refresh()
    assert version(library, "a", "main") == "a@main"


def test_a_store_in_which_all_is_gone_with_its_marker_leaves_the_shelf_as_it_was(
    store: CountingStore, publisher: Publisher
) -> None:
    """A directory that is not mounted any more is empty, and looks so each time."""
    publisher.publish("a", "main", FILES)
    library = library_of(store)
    for info in tuple(store.list("")):
        store.delete(info.key)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=keys.MARKER) as raised:
            library.refresh()
        assert "mount" in str(raised.value.hint)
    assert version(library, "a", "main") == "a@main"


def test_the_last_version_that_was_removed_is_gone_while_the_marker_is_there(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES)
    library = library_of(store)
    for info in tuple(store.list(keys.MODELS)):
        store.delete(info.key)
    assert library.refresh() is True
    assert not library.shelf.models
    assert library.refresh() is False


def test_a_version_whose_new_manifest_is_missing_is_shown_as_it_was_until_it_heals(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES)
    publisher.publish("sound", "main", FILES)
    library = library_of(store)
    manifest = publisher.publish("a", "main", {"new": b"n"}, commit=sha1("new"))
    key = keys.manifest(manifest.model, manifest.version, Digest.of(manifest.encode()))
    data = store.get(key).data
    store.delete(key)
    library.refresh()
    assert set(library.shelf.problems) == {"a@main"}
    edition = repository(library, "a").find("main")
    assert edition is not None
    assert edition.commit == sha1("a main")
    store.put(key, data)
    library.refresh()
    assert library.shelf.problems == {}
    assert repository(library, "a").find(sha1("new")) is not None


def test_a_damaged_pointer_hides_its_version_and_no_other(
    store: CountingStore, publisher: Publisher
) -> None:
    publisher.publish("a", "main", FILES)
    publisher.publish("b", "main", FILES)
    store.put(keys.current(ModelName("b"), VersionName("main")), b"{")
    library = library_of(store)
    assert set(library.shelf.models) == {"a"}
    assert "not a current.json" in library.shelf.problems["b@main"]


def test_files_beyond_the_limit_leave_memory_and_are_read_again_when_asked_for(
    store: CountingStore, publisher: Publisher
) -> None:
    for name in "abc":
        publisher.publish(name, "main", {f"{name}{n}": b"x" for n in range(4)})
    library = Library(store, no_retry(), files_in_memory=8)
    library.refresh()
    editions = [one.newest for one in library.shelf.models.values()]
    assert sum(library.held(one) is not None for one in editions) == 2
    assert all(len(library.snapshot(one).files) == 4 for one in editions)


def test_folders_are_entries_as_well(store: CountingStore, publisher: Publisher) -> None:
    publisher.publish("m", "main", {"a/b/c": b"", "a/b/d": b"", "a.txt": b""})
    library = library_of(store)
    snapshot = library.snapshot(library.shelf.models[ModelName("m")].newest)
    assert snapshot.entries == ("a", "a.txt", "a/b", "a/b/c", "a/b/d")


def test_ids_are_found_without_regard_to_case(store: CountingStore, publisher: Publisher) -> None:
    publisher.publish("m", "main", FILES, repo="Org/Model")
    library = library_of(store)
    assert library.shelf.spelt("model", "oRG/model") == ("Org/Model",)
    assert library.shelf.spelt("dataset", "org/model") == ()


def test_the_formats_of_the_files_and_the_time_of_publication_are_known(
    store: CountingStore, publisher: Publisher
) -> None:
    at = MORNING + timedelta(days=1)
    publisher.publish("m", "main", {"a.safetensors": b"", "x/b.gguf": b"", "c.bin": b""}, at=at)
    edition = library_of(store).shelf.models[ModelName("m")].newest
    assert edition.formats == ("safetensors", "gguf")
    assert edition.published_at == at
    assert replace(edition, pointer=None).published_at == edition.stored_at
