"""Journals: an interrupted file goes on where it was, on any host, and nothing is read back."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import OriginUnavailable, StoreUnavailable, UploadGone
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import ModelName, RepoPath
from sync_daemon.engine.blob import Fetch
from sync_daemon.engine.journal import ABANDONED, STALE
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.sha256 import new_sha256, resume_sha256
from sync_daemon.engine.throttle import Throttle
from sync_daemon.engine.transfer import Transfer
from sync_daemon.meter import Meter
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, StoreTime

REPO = Repository("org/m")
DATA = os.urandom(10 * MIB + 77)
IDENTITY = Digest.of(DATA)


class Patient(FakeClock):
    """A clock whose every look takes a second, so that journals are always due."""

    def monotonic(self) -> float:
        self._time += 1.0
        return self._time


class Scene:
    """A store with its own clock, an origin of one file, and runs that break."""

    def __init__(self, *, promise: bool = True) -> None:
        self.time = StoreTime()
        self.store = MemoryStore(now=self.time)
        self.origin = FakeOrigin()
        self.commit = self.origin.commit(REPO.name, {"f": DATA})
        self.told = Recorder()
        self.promise = promise
        self.broken_after: int | None = None
        self.origin.on_open = self._break

    def _break(self, path: str) -> None:
        if self.broken_after is not None and len(self.origin.opened) >= self.broken_after:
            raise OriginUnavailable("the line is dead")

    def fetch(self, commit: CommitId | None = None, path: str = "f") -> Fetch:
        digest = IDENTITY if self.promise else None
        token = None if self.promise else "etag"
        file = RemoteFile(RepoPath(path), len(DATA), sha256=digest, token=token)
        where = commit or self.commit
        return Fetch(ModelName("m"), "1", self.origin, REPO, where, file, Meter())

    @contextmanager
    def transfer(self) -> Iterator[Transfer]:
        clock = Patient()
        with Transfer(
            self.store,
            Limits(connections=1, part_size=MIB, memory=8 * MIB),
            throttle=Throttle(lambda: None, clock),
            retry=Retry(1, self.told, clock),
            clock=clock,
            emit=self.told,
            stop=clock.stop,
        ) as moving:
            moving.journals.refresh()
            yield moving

    def move(self, fetch: Fetch | None = None) -> tuple[BaseException | None, int]:
        """Run once; return what went wrong and how many bytes were fetched."""
        fetch = fetch or self.fetch()
        with self.transfer() as moving:
            future, _ = moving.submit(fetch)
        return future.exception(), fetch.meter.fetched_bytes

    def break_after(self, parts: int) -> None:
        self.broken_after = parts
        error, _ = self.move()
        assert isinstance(error, OriginUnavailable)
        self.broken_after = None
        self.origin.opened.clear()

    def journal(self) -> dict[str, Any]:
        (info,) = self.store.list(keys.UPLOADS)
        document: dict[str, Any] = json.loads(self.store.get(info.key).data)
        return document

    def rewrite_journal(self, **changes: Any) -> None:
        (info,) = self.store.list(keys.UPLOADS)
        self.store.put(info.key, json.dumps(self.journal() | changes).encode())

    def check_done(self) -> None:
        assert self.store.get(keys.blob(IDENTITY)).data == DATA
        assert list(self.store.list(keys.UPLOADS)) == []
        assert list(self.store.list(keys.STAGING)) == []
        assert self.store._uploads == {}


@pytest.mark.parametrize("promise", [True, False], ids=["promised", "staged"])
def test_a_broken_file_goes_on_where_it_was(*, promise: bool) -> None:
    scene = Scene(promise=promise)
    scene.break_after(6)
    assert scene.journal()["done"] == 6
    error, fetched = scene.move()
    assert error is None
    assert fetched == len(DATA) - 6 * MIB
    assert scene.told.named("blob.resumed")[0].fields()["bytes"] == 6 * MIB
    scene.check_done()


def test_the_journal_is_there_before_the_first_part_is() -> None:
    """An upload that nobody remembers would be invisible on MinIO."""
    scene = Scene()
    scene.break_after(1)
    put_part = scene.store.put_part
    seen: list[int] = []

    def watch(*args: Any) -> Any:
        seen.append(len(list(scene.store.list(keys.UPLOADS))))
        return put_part(*args)

    scene.store.put_part = watch  # type: ignore[method-assign]
    scene.move()
    assert set(seen) == {1}


def test_a_new_commit_with_the_same_shard_keeps_the_work() -> None:
    scene = Scene()
    scene.break_after(4)
    commit = scene.origin.commit(REPO.name, {"renamed": DATA, "more": b"x"})
    error, fetched = scene.move(scene.fetch(commit, "renamed"))
    assert error is None
    assert fetched == len(DATA) - 4 * MIB
    scene.check_done()


def test_another_hosts_journal_is_adopted_only_when_it_is_silent() -> None:
    scene = Scene()
    scene.break_after(5)
    theirs = {"host": "elsewhere/1", "boot": "b", "pid": 1, "start": 1}
    scene.rewrite_journal(owner=theirs)
    scene.broken_after = 0
    scene.move()
    assert not scene.told.named("blob.resumed"), "they may be at work"
    scene.broken_after = None
    scene.time.pass_seconds(STALE.total_seconds() + 1)
    error, fetched = scene.move()
    assert (error, fetched) == (None, len(DATA) - 5 * MIB)
    scene.check_done()


def test_parts_that_are_not_the_ones_remembered_are_not_trusted() -> None:
    scene = Scene()
    scene.break_after(5)
    journal = scene.journal()
    scene.store.put_part(journal["key"], journal["upload"], 2, MIB, bytes(MIB))
    error, fetched = scene.move()
    assert (error, fetched) == (None, len(DATA))
    scene.check_done()


@pytest.mark.parametrize(
    "change", [{"state": "00"}, {"state": "x"}, {"done": "many"}, {"surprise": 1}, {"owner": 5}]
)
def test_a_journal_that_makes_no_sense_costs_only_the_work(change: dict[str, Any]) -> None:
    scene = Scene()
    scene.break_after(3)
    scene.rewrite_journal(**change)
    error, fetched = scene.move()
    assert (error, fetched) == (None, len(DATA))
    assert scene.store.get(keys.blob(IDENTITY)).data == DATA


def test_a_hash_state_that_lies_is_caught_by_the_digest() -> None:
    """The state is 112 bytes that anyone could have written: the promise still decides."""
    scene = Scene()
    scene.break_after(3)
    scene.rewrite_journal(state=new_sha256_state())
    error, _ = scene.move()
    assert error is None
    assert scene.told.named("blob.restarted")[0].fields()["kind"] == "digest_mismatch"
    scene.check_done()


def new_sha256_state() -> str:
    state = new_sha256().state()
    assert state is not None, "this machine's OpenSSL keeps the state of a hash"
    return state.hex()


def test_an_upload_that_the_store_forgot_begins_again() -> None:
    scene = Scene()
    scene.break_after(6)
    scene.store._uploads.clear()
    error, fetched = scene.move()
    assert (error, fetched) == (None, len(DATA))
    scene.check_done()


def test_an_upload_that_is_aborted_under_us_begins_again_once_and_tells() -> None:
    """MinIO aborts uploads 24 hours after they began, even while parts arrive."""
    scene = Scene()
    put_part, calls = scene.store.put_part, []

    def forgetful(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            scene.store._uploads.clear()
        return put_part(*args)

    scene.store.put_part = forgetful  # type: ignore[method-assign]
    error, _ = scene.move()
    assert error is None
    assert scene.told.named("blob.restarted")[0].fields()["kind"] == UploadGone("").kind
    scene.check_done()


def test_wrong_bytes_leave_neither_upload_nor_journal() -> None:
    scene = Scene()
    scene.origin.corrupt = {"f": 99}
    error, _ = scene.move()
    assert error is not None
    assert list(scene.store.list("")) == []
    assert scene.store._uploads == {}


def test_a_full_run_removes_what_nobody_will_finish() -> None:
    scene = Scene()
    scene.break_after(2)
    scene.store.put("staging/old", b"x")
    with scene.transfer() as moving:
        assert moving.journals.sweep() == 0, "somebody may still come"
    scene.time.pass_seconds(ABANDONED.total_seconds() + 1)
    scene.store.put("staging/new", b"x")
    with scene.transfer() as moving:
        assert moving.journals.sweep() == 2
    assert [info.key for info in scene.store.list("")] == ["staging/new"]
    assert scene.store._uploads == {}
    assert timedelta(days=1) < ABANDONED


def test_a_hash_goes_on_from_its_state() -> None:
    data = bytearray(os.urandom(5000))
    first = new_sha256()
    first.update(memoryview(data)[:1234])
    second = resume_sha256(bytes.fromhex(new_sha256_state()))
    assert second is not None
    second.update(memoryview(data))
    assert second.hexdigest() == Digest.of(data)
    state = first.state()
    assert state is not None
    third = resume_sha256(state)
    assert third is not None
    third.update(memoryview(data)[1234:])
    assert third.hexdigest() == Digest.of(data)
    assert first.hexdigest() == Digest.of(data[:1234]), "asking does not change it"


def test_a_second_try_in_the_same_run_goes_on_too() -> None:
    """What failed for one version is asked for again by the next: nothing is left behind."""
    scene = Scene()
    with scene.transfer() as moving:
        scene.broken_after = 4
        assert isinstance(moving.submit(scene.fetch())[0].exception(), OriginUnavailable)
        scene.broken_after = None
        again = scene.fetch()
        assert moving.submit(again)[0].result().size == len(DATA)
    assert again.meter.fetched_bytes == len(DATA) - 4 * MIB
    scene.check_done()


def test_a_fault_while_looking_for_journals_reaches_whoever_waits() -> None:
    scene = Scene()
    scene.break_after(3)

    def explode(key: str) -> None:
        raise ZeroDivisionError(key)

    with scene.transfer() as moving:
        scene.store.delete = explode  # type: ignore[method-assign]
        assert isinstance(moving.submit(scene.fetch())[0].exception(timeout=10), ZeroDivisionError)


def test_a_journal_that_was_just_written_is_not_taken_by_an_old_listing() -> None:
    """Its age is asked when it is read, not when the run began."""
    scene = Scene()
    scene.break_after(5)
    scene.rewrite_journal(owner={"host": "elsewhere/1", "boot": "b", "pid": 1, "start": 1})
    with scene.transfer() as moving:
        scene.time.pass_seconds(STALE.total_seconds() + 100)
        scene.rewrite_journal()
        assert moving.submit(scene.fetch())[0].result()
    assert not scene.told.named("blob.resumed")


def test_a_store_that_fails_during_adoption_loses_no_work() -> None:
    scene = Scene()
    scene.break_after(6)
    parts, broken = scene.store.parts, [1]

    def fail_once(*args: Any) -> Any:
        if broken:
            broken.pop()
            raise StoreUnavailable("503")
        return parts(*args)

    scene.store.parts = fail_once  # type: ignore[method-assign]
    error, _ = scene.move()
    assert error is None
    assert scene.told.named("journal.lost")


def test_a_blob_that_somebody_else_completed_is_not_fetched_again() -> None:
    scene = Scene()
    put_part, calls = scene.store.put_part, []

    def complete_elsewhere(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 8:
            scene.store._uploads.clear()
            scene.store.put(keys.blob(IDENTITY), DATA)
        return put_part(*args)

    scene.store.put_part = complete_elsewhere  # type: ignore[method-assign]
    error, fetched = scene.move()
    assert error is None
    assert fetched <= 8 * MIB
    scene.check_done()


def test_an_adopted_part_size_fits_the_memory_or_is_not_adopted() -> None:
    scene = Scene()
    scene.break_after(3)
    scene.rewrite_journal(part_size=20 * MIB, done=0, etags=Digest.of(b""))
    error, fetched = scene.move()
    assert (error, fetched) == (None, len(DATA))
    scene.check_done()


def test_a_file_whose_every_part_is_there_is_only_completed() -> None:
    """The last part is shorter than the others; nothing of it is fetched again."""
    scene = Scene()
    complete = scene.store.complete_upload

    def fail(*args: Any) -> None:
        raise StoreUnavailable("503")

    scene.store.complete_upload = fail  # type: ignore[method-assign]
    error, _ = scene.move()
    assert isinstance(error, StoreUnavailable)
    assert scene.journal()["done"] == 11
    scene.store.complete_upload = complete  # type: ignore[method-assign]
    assert scene.move() == (None, 0)
    scene.check_done()


def test_a_stop_that_comes_with_the_last_part_does_not_undo_the_file() -> None:
    scene = Scene()
    with scene.transfer() as moving:
        stop = moving._queue._stop
        scene.origin.on_open = lambda _: stop.set() if len(scene.origin.opened) == 10 else None
        future, _ = moving.submit(scene.fetch())
    assert future.result().size == len(DATA)
    scene.check_done()
