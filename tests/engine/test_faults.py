"""A store that breaks at its n-th call, for every n: the next run completes what is left."""

import os

import pytest

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.limits import MIB
from sync_daemon.engine.locks import EXPIRY
from sync_daemon.engine.tools import How
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import BreakingStore, FakeOrigin, StoreTime, running, wanted
from tests.support.invariants import check_store

OLD = {"config.json": b"{}", "small": b"s", "big.bin": os.urandom(11 * MIB)}
NEW = OLD | {"config.json": b"{ }", "big.bin": os.urandom(6 * MIB), "more.bin": os.urandom(5000)}


def sync(store: ObjectStore, origin: FakeOrigin, attempts: int = 1) -> RunReport | None:
    """Run as a process of its own would; None when the store could not even be opened."""
    with running(store, origin, attempts=attempts) as engine:
        try:
            return engine.run((wanted(), wanted(version="two")), How())
        except StoreUnavailable:
            return None


@pytest.mark.parametrize("late", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("promise", [True, False], ids=["promised", "staged"])
def test_a_store_that_breaks_at_any_call_stays_valid(*, late: bool, promise: bool) -> None:
    """I1, I2, I4: at every moment readers see a whole version, and the next run completes."""
    broken, n = 0, 0
    while True:
        time = StoreTime()
        store, origin = MemoryStore(now=time), FakeOrigin(promise=promise)
        origin.commit("org/m", OLD)
        sync(store, origin)
        origin.commit("org/m", NEW)
        breaking = BreakingStore(store, n, late=late)
        report = sync(breaking, origin)
        assert check_store(store) == 2, "both old or new versions stay readable"
        if not breaking.broke:
            break
        broken += 1
        assert report is None or report.status != "ok" or n > 0
        time.pass_seconds(EXPIRY + 1)  # the broken run could not release its locks
        final = sync(store, origin)
        assert final is not None
        assert {one.status for one in final.versions} <= {"published", "unchanged"}, n
        assert check_store(store) == 2
        n += 1
    assert broken > 20


def test_a_broken_call_is_never_reported_as_success() -> None:
    """I6: as long as the first version could not be written, the report does not say ok."""
    origin = FakeOrigin()
    origin.commit("org/m", OLD)
    for n in range(1, 12):
        store = MemoryStore()
        report = sync(BreakingStore(store, n), origin)
        if report is None:
            continue
        published = {one.version for one in report.versions if one.status == "published"}
        assert len(published) == check_store(store)


def test_what_was_moved_before_the_break_is_not_fetched_again() -> None:
    time = StoreTime()
    store, origin = MemoryStore(now=time), FakeOrigin()
    files = {f"f{n}": b"%d" % n * 2000 for n in range(20)}
    origin.commit("org/m", files)
    sync(BreakingStore(store, 60), origin)
    time.pass_seconds(EXPIRY + 1)
    kept = sum(info.size for info in store.list("blobs/"))
    assert kept > 0
    origin.opened.clear()
    report = sync(store, origin)
    assert report is not None
    missing = sum(map(len, files.values())) - kept
    assert sum(one.bytes.fetched for one in report.versions) == missing
