"""`verify --deep` reads plain copies too, but not those that are the blob itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.verification import Verification
from sync_daemon.engine.verify import Verifier
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, wanted
from tests.support.invariants import read_all
from tests.support.trees import ACCEPT, FILES, FULL, NEXT, folder, one, pinned, run, with_tree

COPY = "trees/m/1/model.bin"
BAD = bytes([FILES["model.bin"][0] ^ 1]) + FILES["model.bin"][1:]
TOTAL = sum(map(len, FILES.values()))


class Readers:
    """A store that counts who is opened; `before` is called with each key, and may fail."""

    def __init__(self, store: ObjectStore, before: Callable[[str], None] | None = None) -> None:
        self._store, self._before = store, before
        self.opened: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def open(self, key: str, start: int, stop: int) -> Any:
        self.opened[key] += 1
        if self._before is not None:
            self._before(key)
        return self._store.open(key, start, stop)


class Counted:
    """A watch that adds up."""

    def __init__(self) -> None:
        self.announced, self.read = (0, 0), 0

    def begin(self, objects: int, size: int) -> None:
        self.announced = (objects, size)

    def advance(self, count: int) -> None:
        self.read += count


def verify(store: Any, watch: Counted | None = None) -> Verification:
    clock = FakeClock()
    verifier = Verifier(store, Retry(1, Recorder(), clock), clock, clock.stop, workers=1)
    return verifier.verify(deep=watch or Counted())


def test_each_blob_and_each_plain_copy_is_read_once() -> None:
    """All content has two keys in a bucket; the empty file needs no request."""
    store, origin, watch = MemoryStore(), FakeOrigin(), Counted()
    run(store, origin, pinned(origin, FILES))
    readers = Readers(store)
    found = verify(readers, watch)
    copies = {f"trees/m/1/{path}" for path, data in FILES.items() if data}
    blobs = {keys.blob(Digest.of(data)) for data in FILES.values() if data}
    assert readers.opened == Counter(copies | blobs)
    assert (found.damage, found.hashed) == ((), 2 * TOTAL)
    assert (watch.announced, watch.read) == ((2 * len(FILES), 2 * TOTAL), 2 * TOTAL)


def test_a_copy_with_other_bytes_is_named_with_what_to_do_and_that_mends_it() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    store.put(COPY, BAD)
    (damage,) = verify(store).damage
    assert (damage.kind, damage.key, damage.size) == ("corrupt", COPY, len(BAD))
    assert [(use.model, use.version, use.path) for use in damage.uses] == [("m", "1", "model.bin")]
    assert f"its bytes hash to {Digest.of(BAD)}" in damage.message
    assert "delete this plain copy" in damage.message
    assert "`sync-daemon run-once --full`" in damage.message
    store.delete(COPY)
    assert one(run(store, origin, pin, how=FULL)).files.copied == 1
    assert folder(store, "trees/m/1/") == FILES
    assert verify(store).damage == ()


def test_the_folder_of_a_commit_is_read_as_well() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    commit = origin.commit("org/m", FILES)
    run(store, origin)
    key = f"trees/m/main@{commit[:12]}/model.bin"
    store.put(key, BAD)
    assert [(one.kind, one.key) for one in verify(store).damage] == [("corrupt", key)]


def test_a_copy_that_vanishes_or_cannot_be_read_is_damage() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    run(store, origin, pinned(origin, FILES))

    def vanish(key: str) -> None:
        if key == COPY:
            store.delete(COPY)
        elif key == "trees/m/1/config.json":
            raise StoreUnavailable("bad sector")

    first, second = verify(Readers(store, vanish)).damage
    assert (first.kind, first.key) == ("unreadable", "trees/m/1/config.json")
    assert "bad sector" in first.message
    assert (second.kind, second.key) == ("missing", COPY)
    assert second.message.endswith("`sync-daemon run-once --full` mends the tree")


def test_a_tree_that_an_accept_changes_meanwhile_is_no_damage() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    run(store, origin, pinned(origin, FILES))
    pending = [pinned(origin, NEXT)]

    def accept(key: str) -> None:
        if key.startswith("trees/") and pending:
            run(store, origin, pending.pop(), how=ACCEPT)

    found = verify(Readers(store, accept))
    assert not pending
    assert found.damage == ()
    assert folder(store, "trees/m/1/") == NEXT


def test_a_tree_that_nobody_reads_costs_no_request_without_deep() -> None:
    store, origin, clock = MemoryStore(), FakeOrigin(), FakeClock()
    run(store, origin, pinned(origin, FILES))
    store.put(COPY, BAD)
    readers = Readers(store)
    verifier: Any = Verifier(readers, Retry(1, Recorder(), clock), clock, clock.stop)  # type: ignore[arg-type]
    assert verifier.verify().damage == ()
    assert not readers.opened


# -- a directory -----------------------------------------------------------------------


def test_hard_links_of_sound_blobs_are_not_read_again(tmp_path: Path) -> None:
    store, origin = LocalStore(tmp_path), FakeOrigin()
    run(store, origin, pinned(origin, FILES), with_tree(wanted("n", repo="org/m")))
    readers, watch = Readers(store), Counted()
    found = verify(readers, watch)
    assert not [key for key in readers.opened if key.startswith("trees/")]
    assert (found.damage, found.hashed) == ((), TOTAL)
    assert watch.announced == (len(FILES), TOTAL)


def test_a_file_that_took_the_place_of_a_link_is_read(tmp_path: Path) -> None:
    """Same size, another inode; a full run ties it to its blob again without being told."""
    store, origin = LocalStore(tmp_path), FakeOrigin()
    pin = pinned(origin, FILES)
    run(store, origin, pin)
    (tmp_path / COPY).unlink()
    (tmp_path / COPY).write_bytes(BAD)
    assert [(one.kind, one.key) for one in verify(store).damage] == [("corrupt", COPY)]
    run(store, origin, pin, how=FULL)
    assert folder(store, "trees/m/1/") == FILES
    assert verify(store).damage == ()


def test_edited_content_is_told_as_the_blob_that_it_is(tmp_path: Path) -> None:
    store, origin = LocalStore(tmp_path), FakeOrigin()
    run(store, origin, pinned(origin, FILES))
    (tmp_path / COPY).chmod(0o644)
    (tmp_path / COPY).write_bytes(BAD)
    blob = keys.blob(Digest.of(FILES["model.bin"]))
    assert [(one.kind, one.key) for one in verify(store).damage] == [("corrupt", blob)]


class Unlinked(LocalStore):
    """A directory on a file system that can neither link nor share blocks."""

    def share(
        self, source: str, target: str, size: int, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        self.put(target, read_all(self, source) if size else b"")
        return size


@pytest.mark.parametrize("damaged", [False, True])
def test_where_nothing_can_be_linked_copies_are_read(*, damaged: bool, tmp_path: Path) -> None:
    store, origin = Unlinked(tmp_path), FakeOrigin()
    run(store, origin, pinned(origin, FILES))
    if damaged:
        store.put(COPY, BAD)
    found = verify(store)
    assert [one.key for one in found.damage] == [COPY][: int(damaged)]
    assert found.hashed == 2 * TOTAL


def test_a_copy_whose_blob_is_gone_is_read(tmp_path: Path) -> None:
    store, origin = LocalStore(tmp_path), FakeOrigin()
    run(store, origin, pinned(origin, FILES))
    blob = keys.blob(Digest.of(FILES["model.bin"]))
    store.delete(blob)
    readers = Readers(store)
    assert [(one.kind, one.key) for one in verify(readers).damage] == [("missing", blob)]
    assert readers.opened[COPY] == 1
