"""Locks: one holder at a time, judged by the store's clock; the dead do not keep them."""

import json
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.errors import LockedElsewhere, LockLost, StoreUnavailable
from sync_daemon.engine import locks as module
from sync_daemon.engine.locks import EXPIRY, SILENCE, Locks
from sync_daemon.engine.owner import Owner, is_gone, this_process
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, StoreTime, running, wanted


def make(store: MemoryStore, clock: FakeClock | None = None) -> tuple[Locks, Recorder]:
    clock, told = clock or FakeClock(), Recorder()
    return Locks(store, Retry(1, told, clock), clock, told), told


def foreign(store: MemoryStore, scope: str, **owner: object) -> None:
    """Leave a lock in the store as another process would."""
    here = {"host": "elsewhere/1", "boot": "b", "pid": 1, "start": 1} | owner
    body = {"scope": scope, "id": "x", "state": "held", "beat": 0, "owner": here}
    store.put(keys.lock(scope), json.dumps(body).encode())


def test_a_lock_has_one_holder_and_is_free_again_after_it() -> None:
    store = MemoryStore()
    first, _ = make(store)
    second, _ = make(store)
    with (
        first.hold("m@1"),
        pytest.raises(LockedElsewhere, match="m@1 is locked by"),
        second.hold("m@1"),
    ):
        pass
    with second.hold("m@1"):
        pass


def test_a_release_writes_and_never_deletes() -> None:
    store = MemoryStore()
    locks, _ = make(store)
    with locks.hold("m@1"):
        pass
    assert json.loads(store.get(keys.lock("m@1")).data)["state"] == "released"


def test_a_lock_is_stale_by_the_stores_clock_alone() -> None:
    time = StoreTime()
    store = MemoryStore(now=time)
    foreign(store, "m@1")
    locks, told = make(store)
    time.pass_seconds(EXPIRY - 1)
    with pytest.raises(LockedElsewhere), locks.hold("m@1"):
        pass
    time.pass_seconds(2)
    with locks.hold("m@1"):
        pass
    assert "not refreshed" in told.named("lock.taken_over")[0].fields()["reason"]


def test_the_lock_of_a_process_that_is_gone_from_here_is_taken_at_once() -> None:
    store, here = MemoryStore(), this_process()
    for gone in (
        {"pid": here.pid, "start": here.start - 1},
        {"pid": 2**22 + 1, "start": 5},
        {"boot": "older"},
    ):
        foreign(store, "m@1", **({"host": here.host, "boot": here.boot} | gone))
        locks, told = make(store)
        with locks.hold("m@1"):
            pass
        assert told.named("lock.taken_over")


def test_a_living_process_of_this_host_keeps_its_lock() -> None:
    here = this_process()
    assert not is_gone(here, here)
    assert not is_gone(Owner("elsewhere/1", "b", 1, 1), here)


def test_a_lock_that_was_taken_away_stops_publishing() -> None:
    store = MemoryStore()
    locks, told = make(store)
    with locks.hold("m@1") as lock:
        foreign(store, "m@1")
        locks._refresh(lock)
        with pytest.raises(LockLost):
            locks.check(lock)
    assert json.loads(store.get(keys.lock("m@1")).data)["id"] == "x", "theirs is not overwritten"
    assert told.named("lock.lost")


def test_silence_stops_publishing_before_the_lock_expires() -> None:
    clock = FakeClock()
    locks, _ = make(MemoryStore(), clock)
    with locks.hold("m@1") as lock:
        locks.check(lock)
        clock.wait(SILENCE + 1)
        with pytest.raises(LockLost, match="could not be refreshed"):
            locks.check(lock)


def test_a_refresh_whose_answer_was_lost_is_recognised() -> None:
    store = MemoryStore()
    locks, _ = make(store)
    with locks.hold("m@1") as lock:
        before = lock.etag
        locks._refresh(lock)
        lock.etag = before
        locks._refresh(lock)
        locks.check(lock)


def test_the_heart_refreshes_held_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    store, clock = MemoryStore(), FakeClock()
    locks, _ = make(store, clock)
    with locks.hold("m@1") as lock:
        etag, tries = lock.etag, 0
        while lock.etag == etag and tries < 500:
            clock.stop.wait(0.01)
            tries += 1
        assert lock.beat > 0
    locks.close()


def test_a_version_that_another_works_on_is_skipped() -> None:
    store, origin = MemoryStore(), FakeOrigin()
    origin.commit("org/m", {"a": b"1"})
    foreign(store, "m@main")
    store.put(keys.MARKER, b'{"format":1}\n')
    with running(store, origin) as engine:
        report = engine.run((wanted(),), How())
    assert report.versions[0].status == "skipped"
    assert "locked by elsewhere" in report.versions[0].reasons[0]
    assert report.exit_code == 5


def test_a_lock_that_cannot_be_read_expires_like_any_other() -> None:
    time = StoreTime()
    store = MemoryStore(now=time)
    store.put(keys.lock("m@1"), b"{what?")
    locks, _ = make(store)
    with pytest.raises(LockedElsewhere), locks.hold("m@1"):
        pass
    time.pass_seconds(EXPIRY + 1)
    with locks.hold("m@1"):
        pass


def test_a_take_over_whose_answer_was_lost_is_ours() -> None:
    store = MemoryStore()
    foreign(store, "m@1", host=this_process().host, boot="older")
    put, lost = store.put, [1]

    def lose_the_answer(*args: Any, **kwargs: Any) -> str:
        etag = put(*args, **kwargs)
        if kwargs.get("if_match") and lost:
            lost.pop()
            raise StoreUnavailable("reset")
        return etag

    store.put = lose_the_answer  # type: ignore[method-assign]
    retrying = Locks(store, Retry(3, Recorder(), FakeClock()), FakeClock(), Recorder())
    with retrying.hold("m@1") as lock:
        retrying.check(lock)


def test_in_the_last_moment_of_a_process_its_locks_are_released_and_it_publishes_nothing() -> None:
    """Its thread may hang in a read; another host need not wait for the lock to expire."""
    store = MemoryStore()
    locks, told = make(store)
    other, _ = make(store)
    with locks.hold("m@1") as lock:
        locks.give_up()
        with other.hold("m@1"), pytest.raises(LockLost, match="m@1"):
            locks.check(lock)
    assert json.loads(store.get(keys.lock("m@1")).data)["state"] == "released"
    assert told.events == []
