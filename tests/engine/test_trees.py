"""Plain copies: what lies in their folders after every kind of change, and after every break."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.names import GroupName, ModelName, VersionName
from sync_daemon.domain.report import RunReport, VersionReport
from sync_daemon.domain.selection import Selection
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.locks import EXPIRY
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.engine.verify import Verifier
from sync_daemon.ports import ObjectStore, Traits
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import (
    BreakingStore,
    FakeClock,
    FakeOrigin,
    Recorder,
    StoreTime,
    running,
    wanted,
)
from tests.support.invariants import check_store, read_all

FILES = {
    "config.json": b'{"a": 1}',
    "empty": b"",
    "sub/é 🦙#+%20.txt": b"odd",
    "model.bin": os.urandom(4000),
}
NEXT = FILES | {"config.json": b'{"a": 2}', "new/one.bin": os.urandom(2000)}
LATER = {name: data for name, data in NEXT.items() if name != "empty"}
FULL = How(full=True)
ACCEPT = How(accept=True)


def with_tree(entry: Wanted | None = None, group: str | None = None) -> Wanted:
    return replace(entry or wanted(), trees=True, group=GroupName(group) if group else None)


def run(
    store: ObjectStore, origin: FakeOrigin, *entries: Wanted | WantedTags, how: How | None = None
) -> RunReport:
    with running(store, origin, attempts=1) as engine:
        return engine.run(entries or (with_tree(),), how or How())


def one(report: RunReport) -> VersionReport:
    (version,) = report.versions
    return version


def folder(store: ObjectStore, key: str) -> dict[str, bytes]:
    return {
        info.key.removeprefix(key): read_all(store, info.key) if info.size else b""
        for info in store.list(key)
    }


def pointer(store: ObjectStore, version: str = "main", model: str = "m") -> dict[str, object]:
    data = store.get(keys.current(ModelName(model), VersionName(version))).data
    return dict(json.loads(data))


def pinned(origin: FakeOrigin, files: dict[str, bytes], tag: str = "v1") -> Wanted:
    origin.tag("org/m", tag, origin.commit("org/m", files))
    return with_tree(wanted(version="1", revision=tag))


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


# -- breaks ----------------------------------------------------------------------------


def make_two(store: ObjectStore, origin: FakeOrigin, how: How | None = None) -> RunReport | None:
    entries = (with_tree(), with_tree(wanted(version="1", revision="v1")))
    with running(store, origin, attempts=1) as engine:
        try:
            return engine.run(entries, how or How())
        except StoreUnavailable:
            return None


def check_trees(store: ObjectStore, files: dict[str, bytes], head: str) -> None:
    assert folder(store, "trees/m/1/") == files
    assert folder(store, f"trees/m/main@{head[:12]}/") == files


@pytest.mark.parametrize("late", [False, True], ids=["before the call", "after the call"])
def test_a_store_that_breaks_at_any_call_has_whole_trees_after_the_next_run(*, late: bool) -> None:
    """I4: what a pointer calls whole is whole at every moment; an `accept` is broken, too."""
    broken = 0
    while True:
        time, origin = StoreTime(), FakeOrigin()
        store = MemoryStore(now=time)
        old = origin.commit("org/m", FILES)
        origin.tag("org/m", "v1", old)
        make_two(store, origin)
        new = origin.commit("org/m", LATER)
        origin.tag("org/m", "v1", new)
        time.pass_seconds(5)
        breaking = BreakingStore(store, broken, late=late)
        report = make_two(breaking, origin, ACCEPT)
        check_whole(store)
        if not breaking.broke:
            break
        broken += 1
        time.pass_seconds(EXPIRY + 1)
        final = make_two(store, origin, ACCEPT if needs_accept(store, new) else How())
        assert final is not None
        assert {one.status for one in final.versions} <= {"published", "unchanged"}, broken
        check_trees(store, LATER, new)
        assert folder(store, f"trees/m/main@{old[:12]}/") == FILES
        check_whole(store)
    assert report is not None
    assert broken > 30


def needs_accept(store: ObjectStore, commit: str) -> bool:
    return pointer(store, "1")["commit"] != commit


def check_whole(store: ObjectStore, *versions: str) -> None:
    """Assert that each folder that a pointer calls whole holds its manifest's files."""
    check_store(store)
    for version in versions or ("main", "1"):
        tree = pointer(store, version).get("tree")
        if not isinstance(tree, dict) or not tree["whole"]:
            continue
        key = f"models/m/{version}/manifests/{tree['manifest']}.json"
        entries = {one["path"]: one["sha256"] for one in json.loads(store.get(key).data)["files"]}
        found = {path: str(Digest.of(data)) for path, data in folder(store, tree["key"]).items()}
        assert found == entries, tree


def test_an_interrupted_tree_goes_on_and_copies_nothing_twice() -> None:
    time, origin = StoreTime(), FakeOrigin()
    store = MemoryStore(now=time)
    files = {f"f{n}": b"%d" % n * 2000 for n in range(60)}
    origin.tag("org/m", "v1", origin.commit("org/m", files))
    pin = with_tree(wanted(version="1", revision="v1"))
    run(store, origin, replace(pin, trees=False))
    time.pass_seconds(5)
    run(BreakingStore(store, 40), origin, pin)
    there = len(folder(store, "trees/m/1/"))
    assert 0 < there < len(files)
    time.pass_seconds(EXPIRY + 1)
    report = one(run(store, origin, pin))
    assert report.files.copied == len(files) - there
    assert folder(store, "trees/m/1/") == files


def test_what_lay_in_the_folder_before_is_not_taken_for_the_version() -> None:
    """The same size, and older than the version: somebody else's."""
    time, origin = StoreTime(), FakeOrigin()
    store = MemoryStore(now=time)
    origin.commit("org/m", FILES)
    run(store, origin, wanted("other"))
    store.put("trees/m/1/config.json", b'{"a": 0}')
    time.pass_seconds(5)
    run(store, origin, pinned(origin, FILES))
    assert folder(store, "trees/m/1/") == FILES


class Picky(MemoryStore):
    """Refuses to make copies of some names."""

    def __init__(self, error: Exception, *names: str) -> None:
        super().__init__()
        self.error, self.names, self.asked = error, names, 0

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        self.asked += 1
        if target.endswith(self.names):
            raise self.error
        return super().share(source, target, size, stopped)


def test_a_tree_that_cannot_be_made_fails_a_version_that_stays_published() -> None:
    """I6: it is not reported as success, and neither the other files nor versions suffer."""
    store, origin = Picky(StoreRefused("no right", hint="ask"), "config.json"), FakeOrigin()
    origin.commit("org/n", FILES)
    pin = pinned(origin, FILES)
    report = run(store, origin, pin, wanted("n", repo="org/n"))
    failed, other = report.versions
    assert (failed.status, other.status, report.exit_code) == ("failed", "published", 1)
    assert failed.error
    assert failed.error.kind == "store_refused"
    assert failed.error.message == ("published, but its tree trees/m/1/ is not whole: no right")
    assert failed.manifest is not None
    assert failed.tree is None
    assert len(folder(store, "trees/m/1/")) == len(FILES) - 1
    check_store(store)
    store.names = ("nothing",)
    assert one(run(store, origin, pin)).status == "unchanged"
    assert folder(store, "trees/m/1/") == FILES


def test_a_full_disk_ends_the_copying_at_once() -> None:
    files = {f"f{n:03}": b"%03d" % n for n in range(300)}
    store, origin = Picky(StoreFull("no space"), *files), FakeOrigin()
    report = one(run(store, origin, pinned(origin, files)))
    assert report.status == "failed"
    assert report.error
    assert report.error.kind == "store_full"
    assert store.asked < 100
    assert folder(store, "trees/") == {}


def test_a_full_run_that_could_not_mend_a_tree_leaves_it_to_the_next_run_of_any_kind() -> None:
    store, origin = Picky(StoreRefused("no right"), "nothing"), FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    store.delete("trees/m/1/config.json")
    store.names = ("config.json",)
    failed = one(run(store, origin, pin, how=FULL))
    assert failed.error
    assert "it stays as it was published, but its tree trees/m/1/" in failed.error.message
    check_whole(store, "1")
    store.names = ("nothing",)
    assert one(run(store, origin, pin)).files.copied == 1
    assert folder(store, "trees/m/1/") == FILES


def test_a_blob_that_is_gone_is_named_and_a_full_run_mends_both() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, replace(pin, trees=False))
    store.delete(keys.blob(Digest.of(FILES["model.bin"])))
    report = one(run(store, origin, pin))
    assert report.status == "failed"
    assert report.error
    assert "model.bin: its blob" in report.error.message
    assert "--full" in str(report.error.hint)
    assert one(run(store, origin, pin, how=FULL)).status == "unchanged"
    assert folder(store, "trees/m/1/") == FILES


def test_a_stop_ends_a_tree_between_two_files_and_the_next_run_goes_on() -> None:
    clock, origin = FakeClock(), FakeOrigin()
    files = {f"f{n:03}": b"%03d" % n for n in range(300)}

    class Stopping(MemoryStore):
        def share(
            self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
        ) -> int:
            clock.stop.set()
            return super().share(source, target, size, stopped)

    store, pin = Stopping(), pinned(origin, files)
    with running(store, origin, clock=clock) as engine:
        report = engine.run((pin,), How())
    assert (one(report).status, report.exit_code) == ("interrupted", 130)
    assert 0 < len(folder(store, "trees/m/1/")) < len(files)
    clock.stop.clear()
    assert one(run(store, origin, pin)).status == "unchanged"
    assert folder(store, "trees/m/1/") == files


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
