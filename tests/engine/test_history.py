"""What former runs counted of endpoints is read back from their reports, within bounds."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.domain.report import EndpointTally, PastTally, RunReport
from sync_daemon.engine.history import MOST_REPORTS, PastRuns
from sync_daemon.engine.tools import How
from sync_daemon.ports import Content, History
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, FakeOrigin, running, wanted
from tests.support.stores import CountingStore, StoreThatMayBeDown

NOW = FakeClock().now() + timedelta(hours=13)
DAY = timedelta(days=1)


def clock() -> FakeClock:
    made = FakeClock()
    made.wait((NOW - made.now()).total_seconds())
    return made


def keep(store: MemoryStore, started: datetime, number: int = 1) -> str:
    tally = EndpointTally("hf", "https://a.example", number, 0)
    run_id = f"{started:%Y%m%dT%H%M%S}-{number:04}"
    key = keys.run(run_id, started)
    store.put(key, RunReport(run_id, "full", started, 60.0, (), (tally,)).to_record())
    return key


def test_the_reports_within_the_window_are_read_and_no_others() -> None:
    store = CountingStore()
    for hours in (1, 12, 23, 25, 50):
        keep(store, NOW - timedelta(hours=hours), hours)
    found = PastRuns(store, clock())(NOW - DAY)
    assert sorted(one.tally.requests for one in found) == [1, 12, 23]
    assert {one.ended - NOW for one in found if one.tally.requests == 1} == {
        timedelta(hours=-1, seconds=60)
    }
    assert store.listed == ["runs/2026/01/01/", "runs/2025/12/31/"]


def test_the_newest_reports_are_read_and_not_more_than_the_most() -> None:
    store = CountingStore()
    for number in range(1, 101):
        keep(store, NOW - timedelta(minutes=number), number)
    found = PastRuns(store, clock())(NOW - DAY)
    assert sorted(one.tally.requests for one in found) == list(range(1, MOST_REPORTS + 1))
    assert len(store.got) == MOST_REPORTS
    assert len(store.listed) == 1, "older days are not even listed"


def test_a_long_window_does_not_list_years() -> None:
    store = CountingStore()
    assert PastRuns(store, clock())(NOW - 1000 * DAY) == ()
    assert len(store.listed) == 32


def test_what_cannot_be_read_is_left_out() -> None:
    store = CountingStore()
    broken = keep(store, NOW - timedelta(hours=2), 2)
    keep(store, NOW - timedelta(hours=3), 3)
    store.put(broken, b"{")
    old = {"run_id": "x", "started": NOW.isoformat(), "seconds": 1, "models": []}
    store.put(f"{keys.runs_of_day(NOW)}x.json", json.dumps(old).encode())
    assert [one.tally.requests for one in PastRuns(store, clock())(NOW - DAY)] == [3]


def test_a_store_that_fails_costs_the_history_and_nothing_else() -> None:
    class Forgetful(CountingStore):
        def get(self, key: str) -> Content:
            raise FileNotFoundError(key)

    store = Forgetful()
    keep(store, NOW)
    assert PastRuns(StoreThatMayBeDown(StoreUnavailable("down")), clock())(NOW - DAY) == ()
    assert PastRuns(store, clock())(NOW - DAY) == ()


def test_it_is_read_once_however_many_ask() -> None:
    store = CountingStore()
    keep(store, NOW - timedelta(hours=1))
    past = PastRuns(store, clock())
    assert past(NOW - DAY) == past(NOW - DAY)
    assert len(store.got) == 1


class Counted:
    """A record that reads the history, or does not."""

    def __init__(self, *, asks: bool) -> None:
        self.asks = asks
        self.past: list[PastTally] = []

    def begin(self, history: History) -> None:
        if self.asks:
            self.past += history(FakeClock().now() - DAY)

    def tallies(self) -> tuple[EndpointTally, ...]:
        return (EndpointTally("hf", "https://a.example", 7, 2),)


def test_a_run_keeps_its_counts_in_its_report_and_the_next_one_finds_them() -> None:
    store, origin = CountingStore(), FakeOrigin()
    origin.commit("org/m", {"config.json": b"{}"})
    origin.record = Counted(asks=True)
    with running(store, origin) as engine:
        first = engine.run([wanted()], How())
        assert first.to_json()["endpoints"] == [
            {"origin": "hf", "endpoint": "https://a.example", "requests": 7, "failures": 2}
        ]
        assert origin.record.past == []
    with running(store, origin) as engine:
        engine.run([wanted()], How())
    assert [one.tally for one in origin.record.past] == list(first.endpoints)


def test_nothing_is_read_when_nobody_asks() -> None:
    store, origin = CountingStore(), FakeOrigin()
    origin.commit("org/m", {"config.json": b"{}"})
    origin.record = Counted(asks=False)
    for _ in range(2):
        with running(store, origin) as engine:
            engine.run([wanted()], How())
    assert not [one for one in (*store.listed, *store.got) if one.startswith("runs/")]
