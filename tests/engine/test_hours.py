"""The off-peak window: large files wait for it, and stop at its edge without losing their work."""

import os
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import OriginRefused
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeOrigin, Recorder, running, wanted

LIMITS = Limits(connections=2, part_size=MIB, memory=8 * MIB)
BIG = os.urandom(20 * MIB)


@dataclass
class Window:
    """Open or not, as the test says."""

    open: bool = False
    hours: Hours = field(init=False)

    def __post_init__(self) -> None:
        self.hours = Hours(lambda: self.open, 2 * MIB, "22:00-06:00")


def test_outside_the_window_the_small_files_of_a_version_move() -> None:
    """Those that can be told to be here in the next run, so that nothing moves twice."""
    store, origin, told, window = MemoryStore(), FakeOrigin(), Recorder(), Window()
    origin.commit("org/m", {"big": BIG, "small": os.urandom(2 * MIB), "config": b"{}"})
    with running(store, origin, emit=told, limits=LIMITS, hours=window.hours) as engine:
        (report,) = (first := engine.run([wanted()], How())).versions
        assert (report.status, first.status, first.exit_code) == ("skipped", "ok", 0)
        (reason,) = report.reasons
        assert reason == "2 files wait, the first: org/m/big: outside the window 22:00-06:00"
        assert report.bytes.fetched == 2 * MIB
        assert told.named("blob.failed") == []
        window.open = True
        (report,) = engine.run([wanted()], How()).versions
    assert (report.status, report.bytes.fetched) == ("published", len(BIG) + 2)


def test_at_the_edge_a_large_file_stops_and_in_the_next_window_goes_on() -> None:
    """Parts that were under way are kept, and nothing is fetched twice."""
    store, told, window = MemoryStore(), Recorder(), Window(open=True)
    origin = FakeOrigin()
    origin.commit("org/m", {"big": BIG})
    origin.on_open = lambda path: setattr(window, "open", len(origin.opened) < 6)
    with running(store, origin, emit=told, limits=LIMITS, hours=window.hours) as engine:
        (report,) = engine.run([wanted()], How()).versions
        assert report.status == "skipped"
        assert 5 * MIB <= report.bytes.fetched <= 8 * MIB
        assert len(list(store.list(keys.UPLOADS))) == 1
        origin.on_open = lambda path: None
        window.open = True
        (again,) = engine.run([wanted()], How()).versions
    assert again.status == "published"
    assert report.bytes.fetched + again.bytes.fetched == len(BIG)
    assert store.get(keys.blob(Digest.of(BIG))).data == BIG
    assert list(store.list(keys.UPLOADS)) == []


def test_a_file_that_no_later_run_could_take_up_is_ended_beyond_the_edge() -> None:
    """Nobody promised its content, so that there is no journal: stopped, it would be lost."""
    store, window = MemoryStore(), Window(open=True)
    origin = FakeOrigin(promise=False, ranges=False)
    origin.commit("org/m", {"big": BIG})
    origin.on_open = lambda path: setattr(window, "open", False)
    with running(store, origin, limits=LIMITS, hours=window.hours) as engine:
        (report,) = engine.run([wanted()], How()).versions
    assert report.status == "published"
    assert report.bytes.fetched == len(BIG)


def test_a_failure_is_not_hidden_behind_files_that_wait() -> None:
    store, window, origin = MemoryStore(), Window(), FakeOrigin()
    origin.commit("org/m", {"big": BIG, "gone": b"x" * 5000})

    def refuse(path: str) -> None:
        raise OriginRefused(f"{path} is not for you")

    origin.on_open = refuse
    with running(store, origin, limits=LIMITS, hours=window.hours) as engine:
        (report,) = engine.run([wanted()], How()).versions
    assert report.status == "failed"
    assert report.error is not None
    assert "gone is not for you" in report.error.message


@pytest.mark.parametrize("closes_at", range(1, 21, 3))
def test_wherever_the_edge_falls_the_file_is_whole_in_the_end(closes_at: int) -> None:
    """Several short windows, each a few ranges long."""
    store, origin, window = MemoryStore(), FakeOrigin(), Window()
    origin.commit("org/m", {"big": BIG})
    lock, opened = threading.Lock(), [0]

    def count(path: str) -> None:
        with lock:
            opened[0] += 1
            window.open = opened[0] < closes_at

    origin.on_open = count
    fetched, runs = 0, 0
    report: Any = None
    with running(store, origin, limits=LIMITS, hours=window.hours) as engine:
        while report is None or report.status == "skipped":
            window.open, opened[0], runs = True, 0, runs + 1
            (report,) = engine.run([wanted()], How()).versions
            fetched += report.bytes.fetched
            assert runs < 40
    assert report.status == "published"
    assert store.get(keys.blob(Digest.of(BIG))).data == BIG
    assert fetched <= len(BIG) + runs * 2 * MIB


def test_whatever_is_small_is_never_asked_for_the_time() -> None:
    def ask() -> bool:
        raise AssertionError("it was asked")

    hours = Hours(ask, 10, "w")
    assert not hours.hold_back(10)
    with pytest.raises(AssertionError):
        hours.hold_back(11)
