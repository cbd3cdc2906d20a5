"""Reports of old runs go by themselves; nothing else does, and no error of it fails a run."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.expiry import remove_old_reports
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, Recorder, StoreTime, running, wanted

DAY = timedelta(days=1)
AGE = 90 * DAY
FOREIGN = (
    "runs/2026/01/01/notes.txt",
    "runs/2026/01/01/20260101T000000.000Z-0badcafe.json.bak",
    "runs/2026/01/02/20260101T000000.000Z-0badcafe.json",
    "runs/2026/01/01/x.json",
    "runs/README",
)


class Locked(MemoryStore):
    """Deletes nothing, as where the right to do so is missing."""

    def __init__(self, now: StoreTime) -> None:
        super().__init__(now=now)
        self._asking = threading.Lock()
        self.asked = 0

    def delete(self, key: str) -> None:
        with self._asking:
            self.asked += 1
        raise StoreRefused("no permission to delete")


@pytest.fixture
def time() -> StoreTime:
    found = StoreTime()
    found.now = datetime(2026, 1, 1, tzinfo=UTC)
    return found


def keep(store: MemoryStore, started: datetime) -> str:
    run_id = f"{started:%Y%m%dT%H%M%S}.000Z-0badcafe"
    key = keys.run(run_id, started)
    store.put(key, RunReport(run_id, "full", started, 1.0, ()).to_record())
    return key


def remove(store: MemoryStore, most: int = 1000) -> tuple[int, Recorder]:
    told = Recorder()
    retry = Retry(1, told, FakeClock())
    return remove_old_reports(store, AGE, "", retry, told, most=most), told


def kept(store: MemoryStore) -> set[str]:
    return {info.key for info in store.list("")}


def test_what_is_old_goes_and_what_is_young_stays(time: StoreTime) -> None:
    store = MemoryStore(now=time)
    made = []
    for _ in range(101):
        made.append(keep(store, time.now))
        time.now += DAY
    time.now -= DAY
    removed, told = remove(store)
    assert removed == 11
    assert kept(store) == set(made[11:])
    (event,) = told.events
    assert event.fields() == {"count": 11, "days": 90.0}
    assert remove(store)[0] == 0


def test_only_reports_are_removed(time: StoreTime) -> None:
    store = MemoryStore(now=time)
    others = {*FOREIGN, "mirror.json", "blobs/sha256/00/x", "models/m/1/current.json", "runsy/a"}
    for key in others:
        store.put(key, b"{}")
    keep(store, time.now)
    time.now += 1000 * DAY
    assert remove(store)[0] == 1
    assert kept(store) == others


def test_neither_a_wrong_clock_nor_a_restored_bucket_loses_what_is_new(time: StoreTime) -> None:
    """Old by its name but new in the store, or the other way about: it stays."""
    store = MemoryStore(now=time)
    restored = keep(store, time.now - 500 * DAY)
    ahead = keep(store, time.now + 500 * DAY)
    time.now += 10 * DAY
    assert remove(store)[0] == 0
    time.now += 200 * DAY
    assert remove(store)[0] == 1
    assert kept(store) == {ahead}
    assert restored not in kept(store)


def test_a_store_that_refuses_is_not_asked_for_every_report(time: StoreTime) -> None:
    store = Locked(time)
    for _ in range(300):
        keep(store, time.now)
        time.now += timedelta(hours=1)
    time.now += 1000 * DAY
    removed, told = remove(store)
    assert removed == 0
    assert store.asked == 100
    (event,) = told.named("cleanup.failed")
    assert "no permission to delete" in event.fields()["error"]


def test_one_run_removes_so_many_and_the_next_ones_the_rest(time: StoreTime) -> None:
    store = MemoryStore(now=time)
    for _ in range(600):
        keep(store, time.now)
        time.now += timedelta(hours=1)
    time.now += 1000 * DAY
    assert [remove(store, most=250)[0] for _ in range(4)] == [250, 250, 100, 0]


def test_only_a_full_run_removes_and_never_its_own_report() -> None:
    store, origin, clock, told = MemoryStore(), FakeOrigin(), FakeClock(), Recorder()
    origin.commit("org/m", {"a": b"a"})
    with running(store, origin, clock=clock, emit=told) as plain:
        engine = replace(plain, keep_reports=timedelta(microseconds=1))
        engine.run([wanted()], How())
        clock.wait(5)
        engine.run([wanted()], How(full=True, apply=False))
        engine.run([wanted()], How())
        assert len(list(store.list("runs/"))) == 2
        clock.wait(5)
        report = engine.run([wanted()], How(full=True))
    assert report.status == "ok"
    assert [i.key for i in store.list("runs/")] == [keys.run(report.run_id, report.started)]
    assert told.named("run.reports_removed")[0].fields()["count"] == 2


def test_a_run_does_not_fail_where_old_reports_stay(time: StoreTime) -> None:
    store, origin, told = Locked(time), FakeOrigin(), Recorder()
    origin.commit("org/m", {"a": b"a"})
    with running(store, origin) as engine:
        engine.run([wanted()], How())
    keep(store, time.now - 500 * DAY)
    time.now += 500 * DAY
    with running(store, origin, emit=told) as engine:
        report = replace(engine, keep_reports=AGE).run([wanted()], How(full=True))
    assert report.exit_code == 0
    assert len(told.named("cleanup.failed")) == 1
