"""Plain copies: what lies in their folders after every kind of change."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import GroupName, ModelName, VersionName
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import WantedTags
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.engine.verify import Verifier
from sync_daemon.ports import ObjectStore, Traits
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import (
    FakeClock,
    FakeOrigin,
    Recorder,
    running,
    wanted,
)
from tests.support.invariants import check_store, read_all
from tests.support.trees import (
    ACCEPT,
    FILES,
    FULL,
    LATER,
    NEXT,
    folder,
    one,
    pinned,
    pointer,
    run,
    with_tree,
)


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


def test_a_pinned_version_has_a_plain_folder_and_the_next_run_costs_nothing_more(
    store: ObjectStore,
) -> None:
    origin = FakeOrigin()
    pin = pinned(origin, FILES)
    report = one(run(store, origin, pin))
    assert (report.status, report.tree) == ("published", "trees/m/1/")
    assert folder(store, "trees/") == {f"m/1/{path}": data for path, data in FILES.items()}
    assert report.files.copied == len(FILES)
    check_store(store)
    again = one(run(store, origin, pin))
    assert (again.status, again.tree, again.store_requests) == ("unchanged", "trees/m/1/", 1)


def test_a_followed_version_has_a_folder_for_each_commit(store: ObjectStore) -> None:
    origin = FakeOrigin()
    first = origin.commit("org/m", FILES)
    run(store, origin)
    second = origin.commit("org/m", LATER)
    report = one(run(store, origin))
    assert folder(store, f"trees/m/main@{first[:12]}/") == FILES, "the old folder stays"
    assert folder(store, f"trees/m/main@{second[:12]}/") == LATER
    assert report.tree == f"trees/m/main@{second[:12]}/"
    assert pointer(store)["tree"] == {
        "key": report.tree,
        "manifest": pointer(store)["manifest"],
        "whole": True,
    }


def test_a_reader_of_the_pointer_finds_a_whole_folder_while_the_next_one_grows() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    first = origin.commit("org/m", FILES)
    run(store, origin)
    origin.commit("org/m", NEXT)
    seen: list[object] = []

    class Watched(MemoryStore):
        def __getattribute__(self, name: str) -> object:
            if name == "share":
                seen.append(pointer(store)["tree"])
            return getattr(store, name)

    run(Watched(), origin)
    assert seen
    assert {json.dumps(one) for one in seen} == {
        json.dumps(
            {"key": f"trees/m/main@{first[:12]}/", "manifest": seen_manifest(store, first)}
            | {"whole": True}
        )
    }


def seen_manifest(store: ObjectStore, commit: str) -> str:
    for info in store.list("models/m/main/manifests/"):
        if json.loads(store.get(info.key).data)["origin"]["commit"] == commit:
            return info.key.rpartition("/")[2].removesuffix(".json")
    raise AssertionError(commit)


def test_a_group_is_a_folder_above_the_model(store: ObjectStore) -> None:
    origin = FakeOrigin()
    origin.tag("org/m", "v1", origin.commit("org/m", FILES))
    entry = wanted("meta/llama", "1", revision="v1")
    assert one(run(store, origin, with_tree(entry, "nlp"))).tree == "trees/nlp/meta/llama/1/"
    assert folder(store, "trees/nlp/meta/llama/1/") == FILES


def test_versions_that_tags_give_have_trees_too() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.tag("org/m", "r/v1", origin.commit("org/m", FILES))
    tags = WantedTags(
        *(ModelName("m"), "hf", Repository("org/m"), "r/*", None, Selection()),
        trees=True,
        group=GroupName("cv"),
    )
    assert one(run(store, origin, tags)).tree == "trees/cv/m/r%2Fv1/"


def test_two_models_and_two_versions_share_blobs_and_each_has_its_tree(store: ObjectStore) -> None:
    origin = FakeOrigin()
    for repo in ("org/a", "org/b"):
        origin.tag(repo, "v1", origin.commit(repo, FILES))
        origin.commit(repo, NEXT)
    entries = [
        with_tree(wanted(model, version, f"org/{model}", revision))
        for model in ("a", "b")
        for version, revision in (("1", "v1"), ("main", "main"))
    ]
    run(store, origin, *entries)
    head = origin.branches["org/a"]["main"][:12]
    for model in ("a", "b"):
        assert folder(store, f"trees/{model}/1/") == FILES
        assert folder(store, f"trees/{model}/main@{head}/") == NEXT


def test_after_accept_only_what_differs_is_copied_and_what_is_gone_is_removed(
    store: ObjectStore,
) -> None:
    origin = FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    moved = pinned(origin, LATER)
    refused = one(run(store, origin, moved))
    assert refused.status == "refused"
    assert folder(store, "trees/m/1/") == FILES
    report = one(run(store, origin, moved, how=ACCEPT))
    assert (report.status, report.files.copied) == ("published", 2)
    assert folder(store, "trees/m/1/") == LATER


def test_a_file_that_became_a_folder_takes_its_place(store: ObjectStore) -> None:
    origin = FakeOrigin()
    run(store, origin, pinned(origin, {"a": b"1", "b/c": b"2"}))
    run(store, origin, pinned(origin, {"a/x": b"1", "b": b"2"}), how=ACCEPT)
    assert folder(store, "trees/m/1/") == {"a/x": b"1", "b": b"2"}


def test_files_of_the_same_size_are_told_apart(store: ObjectStore) -> None:
    """Sizes do not tell: the manifest that the folder was made from does."""
    origin = FakeOrigin()
    run(store, origin, pinned(origin, {"a": b"1111", "b": b"same"}))
    report = one(run(store, origin, pinned(origin, {"a": b"2222", "b": b"same"}), how=ACCEPT))
    assert report.files.copied == 1
    assert folder(store, "trees/m/1/") == {"a": b"2222", "b": b"same"}


def test_a_model_whose_trees_are_switched_on_later_gets_them_without_a_transfer(
    store: ObjectStore,
) -> None:
    origin, told = FakeOrigin(), Recorder()
    commit = origin.commit("org/m", FILES)
    run(store, origin, wanted())
    origin.opened.clear()
    with running(store, origin, emit=told) as engine:
        report = one(engine.run((with_tree(),), How()))
    assert (report.status, report.bytes.fetched, origin.opened) == ("unchanged", 0, [])
    assert folder(store, f"trees/m/main@{commit[:12]}/") == FILES
    assert report.reasons == (
        f"its tree trees/m/main@{commit[:12]}/ was completed: 4 files copied, 0 removed",
    )
    (event,) = told.named("tree.published")
    assert event.fields()["copied"] == len(FILES)


def test_trees_that_are_switched_off_stay_and_a_full_run_says_so(store: ObjectStore) -> None:
    origin = FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    off = replace(pin, trees=False)
    assert one(run(store, origin, off)).warnings == ()
    report = one(run(store, origin, off, how=FULL))
    assert report.warnings == ("`trees` is off, and trees/m/1/ is still there",)
    assert folder(store, "trees/m/1/") == FILES


def test_trees_that_were_off_for_an_accept_are_right_when_they_are_on_again(
    store: ObjectStore,
) -> None:
    origin = FakeOrigin()
    run(store, origin, pinned(origin, {"a": b"1111", "b": b"same"}))
    run(
        store,
        origin,
        replace(pinned(origin, {"a": b"2222", "b": b"same"}), trees=False),
        how=ACCEPT,
    )
    assert folder(store, "trees/m/1/") == {"a": b"1111", "b": b"same"}
    assert one(run(store, origin, with_tree(wanted(version="1", revision="v1")))).files.copied == 1
    assert folder(store, "trees/m/1/") == {"a": b"2222", "b": b"same"}


def test_a_full_run_mends_a_tree_and_an_incremental_one_does_not_look(store: ObjectStore) -> None:
    origin = FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    store.delete("trees/m/1/config.json")
    store.put("trees/m/1/model.bin", b"cut")
    store.put("trees/m/1/.cache/foreign", b"x")
    assert one(run(store, origin, pin)).files.copied == 0
    report = one(run(store, origin, pin, how=FULL))
    assert (report.status, report.files.copied) == ("unchanged", 2)
    assert folder(store, "trees/m/1/") == FILES
    assert one(run(store, origin, pin, how=FULL)).reasons == ()


def test_a_version_that_a_rollback_holds_has_the_tree_of_what_it_is_held_at() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    first = origin.commit("org/m", FILES)
    run(store, origin)
    old = pointer(store)
    origin.commit("org/m", NEXT)
    run(store, origin)
    key = keys.current(ModelName("m"), VersionName("main"))
    held = pointer(store) | {"commit": old["commit"], "manifest": old["manifest"], "hold": True}
    store.put(key, json.dumps(held).encode())
    report = one(run(store, origin))
    assert (report.status, report.files.copied) == ("held", 0)
    assert report.tree == f"trees/m/main@{first[:12]}/"
    assert dict(pointer(store)["tree"])["key"] == report.tree  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("path", "why"), [("d/" * 480 + "x", "bytes too many"), ("x" * 256, "longer than 255 bytes")]
)
def test_what_a_tree_cannot_hold_is_refused_before_a_byte_moves(path: str, why: str) -> None:
    class Tight(MemoryStore):
        traits = Traits(key_bytes=970)  # type: ignore[assignment]

    store, origin = Tight(), FakeOrigin()
    origin.commit("org/m", {path: b"1"})
    for how in (How(apply=False), How()):
        report = one(run(store, origin, how=how))
        assert report.status == "refused"
        assert why in report.reasons[0]
    assert origin.opened == []
    assert one(run(store, origin, wanted())).status == "published", "without a tree"
    assert one(run(store, origin, how=How(apply=False))).status == "refused"
    report = one(run(store, origin))
    assert report.status == "failed"
    assert report.error
    assert why in report.error.message


# -- plan -----------------------------------------------------------------------------


def test_a_plan_counts_the_copies_their_space_and_their_requests() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    pin = pinned(origin, FILES)
    planned = one(run(store, origin, pin, how=How(apply=False)))
    assert planned.plan
    assert planned.plan.tree
    tree = planned.to_json()["plan"]["tree"]
    size = sum(map(len, FILES.values()))
    assert tree == {"key": "trees/m/1/", "copy": 4, "remove": 0, "bytes": size, "requests": 5}
    done = one(run(store, origin, pin))
    assert planned.origin_requests + planned.plan.cost.origin == done.origin_requests
    assert planned.store_requests + planned.plan.cost.store == done.store_requests
    assert one(run(store, origin, pin, how=How(apply=False))).status == "unchanged"


def test_a_directory_needs_no_space_for_a_tree(tmp_path: Path) -> None:
    origin = FakeOrigin()
    store = LocalStore(tmp_path)
    planned = one(run(store, origin, pinned(origin, FILES), how=How(apply=False)))
    assert planned.to_json()["plan"]["tree"]["bytes"] == 0


def test_a_plan_tells_of_a_tree_that_an_unchanged_version_lacks() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", FILES)
    run(store, origin, wanted())
    before = {info.key: info.etag for info in store.list("")}
    planned = one(run(store, origin, how=How(apply=False)))
    assert before == {info.key: info.etag for info in store.list("")}
    assert planned.status == "planned"
    assert planned.plan
    assert planned.plan.fetches == ()
    assert planned.plan.tree
    assert len(planned.plan.tree.copies) == len(FILES)
    done = one(run(store, origin))
    assert planned.store_requests + planned.plan.cost.store >= done.store_requests


# -- a directory ----------------------------------------------------------------------


def test_a_directory_stores_nothing_twice_and_its_links_are_read_only(tmp_path: Path) -> None:
    origin = FakeOrigin()
    run(LocalStore(tmp_path), origin, pinned(origin, FILES))
    for path, data in FILES.items():
        copy = (tmp_path / "trees/m/1" / path).stat()
        blob = (tmp_path / keys.blob(Digest.of(data))).stat()
        assert (copy.st_ino, copy.st_dev) == (blob.st_ino, blob.st_dev)
        assert copy.st_mode & 0o222 == 0


def test_a_blob_that_was_replaced_is_linked_again_by_a_full_run(tmp_path: Path) -> None:
    """Somebody edited through a link, and the blob was repaired: the link must not stay."""
    origin = FakeOrigin()
    store = LocalStore(tmp_path)
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    copy = tmp_path / "trees/m/1/config.json"
    copy.chmod(0o644)
    copy.write_bytes(b'{"a": 9}')
    store.put(keys.blob(Digest.of(FILES["config.json"])), FILES["config.json"])
    run(store, origin, pin, how=FULL)
    assert copy.read_bytes() == FILES["config.json"]
    assert folder(store, "trees/m/1/") == FILES


class Unlinked(LocalStore):
    """A directory on a file system that can neither link nor share blocks."""

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        self.put(target, read_all(self, source) if size else b"")
        return size


def test_where_nothing_can_be_linked_files_are_copied_and_somebody_is_told(tmp_path: Path) -> None:
    origin = FakeOrigin()
    store = Unlinked(tmp_path)
    pin = pinned(origin, FILES)
    report = one(run(store, origin, pin))
    assert report.status == "published"
    assert report.bytes.copied == sum(map(len, FILES.values()))
    assert "cannot link" in report.warnings[0]
    assert folder(store, "trees/m/1/") == FILES
    again = one(run(store, origin, pin, how=FULL))
    assert (again.files.copied, again.bytes.copied) == (0, 0)


# -- verify ----------------------------------------------------------------------------


def test_verify_finds_plain_copies_that_are_missing_or_cut(store: ObjectStore) -> None:
    origin, clock = FakeOrigin(), FakeClock()
    run(store, origin, pinned(origin, FILES))
    verifier = Verifier(store, Retry(1, Recorder(), clock), clock, clock.stop)
    assert verifier.verify().damage == ()
    store.delete("trees/m/1/config.json")
    store.put("trees/m/1/model.bin", b"cut")
    damage = verifier.verify().damage
    assert [(one.kind, one.key, one.found) for one in damage] == [
        ("missing", "trees/m/1/config.json", None),
        ("wrong_size", "trees/m/1/model.bin", 3),
    ]
    assert {str(use.version) for one in damage for use in one.uses} == {"1"}
