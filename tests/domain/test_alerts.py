"""The book of alerts: told once, told again, over; and what the store keeps of it."""

from datetime import UTC, datetime, timedelta

import pytest

from sync_daemon.domain.alert_rules import Thresholds, judge_attempts, judge_refusal
from sync_daemon.domain.alerts import MOST, Book, Finding, parse_book
from sync_daemon.domain.past import PastRun, find_successes, parse_past
from sync_daemon.domain.report import Selected

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def finding(name: str = "stale", value: float = 1, **labels: str) -> Finding:
    return Finding(name, tuple(sorted(labels.items())), value, 0, "m")


def test_it_is_told_once_then_after_the_interval_and_when_it_is_over() -> None:
    book, told = Book().raised(finding(), NOW)
    assert [(a.state, a.since) for a in told] == [("firing", NOW)]
    book, told = book.raised(finding(value=2), NOW + HOUR)
    assert told == ()
    book, told = book.repeated(NOW + HOUR, DAY)
    assert told == ()
    book, told = book.repeated(NOW + DAY, DAY)
    assert [(a.state, a.since, a.finding.value) for a in told] == [("firing", NOW, 2)]
    assert book.repeated(NOW + DAY + HOUR, DAY) == (book, ())
    book, told = book.resolved([finding().key], NOW + DAY + HOUR)
    assert [(a.state, a.ended) for a in told] == [("resolved", NOW + DAY + HOUR)]
    assert told[0].message == f"over: {finding().message}"
    assert book.resolved([finding().key], NOW) == (book, ())


def test_a_rule_that_finds_less_than_before_resolves_the_rest_and_no_other_rule() -> None:
    book = Book()
    for one in (finding(model="a"), finding(model="b"), finding("refused")):
        book, _ = book.raised(one, NOW)
    book, told = book.settled("stale", [finding(model="b"), finding(model="c")], NOW)
    assert [(a.state, dict(a.finding.labels)) for a in told] == [
        ("resolved", {"model": "a"}),
        ("firing", {"model": "c"}),
    ]
    assert ("refused", ()) in book.firing


def test_there_are_never_more_than_can_be_read() -> None:
    book = Book()
    for number in range(MOST + 5):
        book, _ = book.raised(finding(model=str(number)), NOW)
    assert len(book.firing) == MOST


def test_a_book_comes_back_from_the_store_as_it_was() -> None:
    book, _ = Book({}, {"hf": 2}, {("m", "1"): NOW}).raised(finding("slow_transfer", 5.5), NOW)
    again = parse_book(book.to_record())
    assert again == book
    assert again.alerts[0].finding.value == 5.5
    untold = book.untold([finding("slow_transfer").key])
    assert parse_book(untold.to_record()).repeated(NOW, DAY)[1]


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"{}", b'{"format":2}', b'{"format":1,"firing":[{}],"slow":{},"behind":[]}'],
)
def test_what_is_no_book_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_book(record)


def test_what_two_hosts_did_at_once_is_put_together() -> None:
    base, _ = Book().raised(finding(model="a"), NOW)
    ours, _ = base.raised(finding(model="ours"), NOW)
    theirs, _ = base.raised(finding(model="theirs"), NOW)
    theirs, _ = theirs.resolved([finding(model="a").key], NOW)
    merged = ours.merged(base, theirs)
    assert {dict(labels)["model"] for _, labels in merged.firing} == {"ours", "theirs"}


def run(hours: float, results: dict[tuple[str, str], str], unchanged: int = 0) -> PastRun:
    return PastRun(NOW - timedelta(hours=hours), (), results, unchanged)


def test_a_version_that_a_report_does_not_name_was_unchanged_if_it_was_selected() -> None:
    part = PastRun(NOW, (), {}, 3, Selected(models=("other",)))
    runs = [part, run(1, {("m", "1"): "failed"}, 4), run(2, {}, 5), run(3, {("m", "1"): "held"})]
    assert find_successes([("m", "1")], runs) == {("m", "1"): NOW - 2 * HOUR}


def test_the_rate_of_failures_counts_what_was_unchanged_and_not_what_was_skipped() -> None:
    runs = [run(1, {("m", str(n)): "failed" for n in range(5)}, 14)]
    assert judge_attempts(runs, Thresholds()) == ()
    skipped = run(2, {("m", "x"): "skipped"})
    assert judge_attempts([*runs, skipped], Thresholds()) == ()
    one = run(2, {("m", "x"): "published"})
    (found,) = judge_attempts([*runs, one], Thresholds())
    assert (found.value, found.threshold) == (0.25, 0.2)


def test_only_a_tag_that_moved_is_called_so() -> None:
    moved = "tag v1 moved upstream: a would become b; accept"
    assert judge_refusal(("m", "1"), (moved,)).name == "tag_moved"
    branch = "branch tag moved upstream: a would become b"
    assert judge_refusal(("m", "1"), (branch, "file name 'x'")).name == "refused"


def test_a_report_of_an_older_release_still_counts() -> None:
    past = parse_past(
        b'{"run_id": "r", "mode": "full", "status": "ok", "models": [], "unchanged": 0,'
        b' "started": "2026-01-01T00:00:00+00:00", "seconds": 1.5}'
    )
    assert (past.results, past.unchanged, past.tallies) == ({}, 0, ())
