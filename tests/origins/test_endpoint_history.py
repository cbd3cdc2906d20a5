"""Which endpoint is asked first: the failures of a day, and the reports that tell of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sync_daemon.domain.past import parse_past
from sync_daemon.domain.report import EndpointTally, PastTally
from sync_daemon.origins.endpoint import LONGEST_REST
from sync_daemon.origins.endpoints import FailureRule
from tests.support.endpoint_servers import A, B, Servers, servers
from tests.support.fakes import FakeClock


def past(failures: int, requests: int, *, hours: float = 1, url: str = A) -> PastTally:
    ended = FakeClock().now() - timedelta(hours=hours)
    return PastTally(ended, EndpointTally("hf", url, requests, failures))


def begin(some: Servers, *tallies: PastTally) -> list[datetime]:
    """Begin a run after these; return when somebody asked for them."""
    asked: list[datetime] = []

    def history(since: datetime) -> Iterable[PastTally]:
        asked.append(since)
        return tallies

    some.endpoints.begin(history)
    return asked


def test_more_than_a_fifth_of_failures_within_a_day_makes_another_endpoint_the_first() -> None:
    some = servers(A, B)
    begin(some, past(27, 100))
    assert some.ask(2) == [B, B]
    assert some.switches() == [(B, "27 of 100 requests failed within a day")]
    assert some.rests() == []


@pytest.mark.parametrize(
    ("failures", "requests", "first"),
    [(20, 100, A), (21, 100, B), (19, 19, A), (5, 20, B), (4, 20, A)],
)
def test_it_takes_more_than_the_share_and_twenty_requests(
    failures: int, requests: int, first: str
) -> None:
    some = servers(A, B)
    begin(some, past(failures, requests))
    assert some.ask() == [first]


def test_failures_of_several_runs_and_of_this_one_add_up() -> None:
    some = servers(A, B)
    begin(some, past(3, 9, hours=20), past(2, 10, hours=3))
    assert some.ask() == [A], "5 of 19 are too few to tell"
    assert some.ask() == [B], "5 of 20"


def test_what_is_older_than_the_window_counts_no_more() -> None:
    some = servers(A, B)
    begin(some, past(50, 50, hours=25))
    assert some.ask() == [A]
    begin(some, past(50, 50, hours=20))
    assert some.ask() == [B]
    some.clock.wait(5 * 3600)
    assert some.ask() == [A]
    assert some.switches()[-1] == (A, "answers again, and comes first by its priority")


def test_the_rule_works_within_one_run_too() -> None:
    some = servers(A, B)
    some.ask(15)
    some.fail(A, 5)
    some.clock.wait(LONGEST_REST + 1)
    assert some.ask() == [B]


@pytest.mark.parametrize("endpoint", ["https://gone.example", B])
def test_what_was_counted_of_others_does_not_matter(endpoint: str) -> None:
    some = servers(A, B)
    begin(some, past(50, 50, url=endpoint))
    assert some.ask() == [A]
    foreign = PastTally(some.clock.now(), EndpointTally("other", A, 50, 50))
    begin(some, foreign)
    assert some.ask() == [A]


def test_if_all_fail_too_often_their_priority_decides() -> None:
    some = servers(A, B)
    begin(some, past(50, 50), past(50, 50, url=B))
    assert some.ask() == [A]


def test_the_rule_is_the_files() -> None:
    never = servers(A, B, rule=FailureRule(switch=False))
    begin(never, past(50, 50))
    assert never.ask() == [A]
    strict = servers(A, B, rule=FailureRule(above=0.01, within=timedelta(hours=6)))
    begin(strict, past(1, 50, hours=5), past(50, 50, hours=7))
    assert strict.ask() == [B]
    assert strict.switches() == [(B, "1 of 50 requests failed within 6 h")]


def test_the_history_is_read_once_a_run_and_only_when_somebody_asks() -> None:
    some = servers(A, B)
    asked = begin(some, past(1, 2))
    assert asked == []
    some.ask(5)
    assert asked == [some.clock.now() - timedelta(days=1)]


def test_a_new_run_counts_anew() -> None:
    some = servers(A, B)
    some.ask(3)
    begin(some)
    some.ask()
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 1, 0),)


def stored_report(**other: Any) -> bytes:
    """The bytes of a report of an older release, with some fields replaced."""
    report = {"run_id": "r", "mode": "full", "status": "ok", "models": [], "unchanged": 0}
    report |= {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.5}
    return json.dumps(report | other).encode()


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        stored_report(started=5),
        stored_report(started="2026-01-01T00:00:00"),
        stored_report(endpoints=5),
        stored_report(endpoints=[{"origin": "hf"}]),
        stored_report(endpoints=[{"origin": "hf", "endpoint": "x", "requests": 1, "failures": 2}]),
        stored_report(seconds=float("inf")),
    ],
)
def test_what_is_no_report_is_said_to_be_none(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_past(record)


def test_a_report_from_before_endpoints_were_counted_says_nothing() -> None:
    assert parse_past(stored_report()).tallies == ()
