"""Plain copies after breaks: a store that fails, a full disk, a stop, a blob that is gone."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.locks import EXPIRY
from sync_daemon.engine.tools import How
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import (
    BreakingStore,
    FakeClock,
    FakeOrigin,
    StoreTime,
    running,
    wanted,
)
from tests.support.invariants import check_store
from tests.support.trees import (
    ACCEPT,
    FILES,
    FULL,
    LATER,
    folder,
    one,
    pinned,
    pointer,
    run,
    with_tree,
)


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
