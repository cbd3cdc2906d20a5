"""Which endpoint is asked first: priority, rest, measurements, and the failures of a day."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from sync_daemon.domain.errors import (
    ConfigurationError,
    DigestMismatch,
    Forbidden,
    Interrupted,
    OriginLied,
    OriginUnavailable,
    RepositoryNotFound,
    SyncError,
    TooSlow,
)
from sync_daemon.domain.past import parse_past
from sync_daemon.domain.report import EndpointTally, PastTally
from sync_daemon.origins.endpoint import FRESH, LONGEST_REST, Endpoint
from sync_daemon.origins.endpoints import Endpoints, FailureRule
from sync_daemon.ports import Reader
from tests.support.fakes import BytesReader, FakeClock, Recorder

A, B, C = "https://a.example", "https://b.example", "https://c.example"
MIB = 1024**2
BY_DEFAULT = FailureRule()
DOWN = OriginUnavailable("a.example: cannot connect (connection refused)")


@dataclass
class Servers:
    """Endpoints over a clock that stands still, and what happens at each of them."""

    endpoints: Endpoints
    clock: FakeClock
    told: Recorder
    trouble: dict[str, SyncError] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, times: int = 1) -> list[str]:
        """Ask for something small; return whom, in order."""
        self.asked.clear()
        for _ in range(times):
            self.endpoints.ask(self._answer)
        return list(self.asked)

    def _answer(self, url: str) -> str:
        self.asked.append(url)
        with self.endpoints.timed(url):
            self.clock.wait(self.delay.get(url, 0.0))
            if url in self.trouble:
                raise self.trouble[url]
        return url

    def read(
        self, size: int = 100, *, about: str = "file", breaks: SyncError | None = None
    ) -> list[str]:
        """Read a body of so many bytes, that may break at its end; return whom was asked."""
        self.asked.clear()

        def opened(url: str) -> Reader:
            self.asked.append(url)
            if url in self.trouble:
                raise self.trouble[url]
            return SlowReader(size, self.delay.get(url, 0.0), self.clock)

        with (
            suppress(OriginUnavailable, OriginLied, Interrupted),
            self.endpoints.open(opened, about, size) as reader,
        ):
            buffer = memoryview(bytearray(size))
            while reader.readinto(buffer):
                pass
            if breaks is not None:
                raise breaks
        return list(self.asked)

    def switches(self) -> list[tuple[str, str]]:
        return [(e.fields()["to_endpoint"], e.fields()["reason"]) for e in self.switched()]

    def switched(self) -> list:  # type: ignore[type-arg]
        return self.told.named("endpoint.switched")

    def notable(self) -> list[str]:
        """What is told besides each request."""
        return [event.name for event in self.told.events if event.level != "debug"]

    def rests(self) -> list[float]:
        return [e.fields()["seconds"] for e in self.told.named("endpoint.rested")]

    def fail(self, url: str, times: int) -> None:
        """Have an endpoint fail so often, each time when it does not rest."""
        self.trouble[url] = DOWN
        for _ in range(times):
            self.clock.wait(LONGEST_REST + 1)
            self.ask()
        del self.trouble[url]


class SlowReader(BytesReader):
    """A body that takes some seconds."""

    def __init__(self, size: int, seconds: float, clock: FakeClock) -> None:
        super().__init__(bytes(size))
        self._seconds, self._clock = seconds, clock

    def readinto(self, buffer: memoryview, /) -> int:
        self._clock.wait(self._seconds)
        self._seconds = 0.0
        return super().readinto(buffer)


def servers(*endpoints: str | tuple[str, int], rule: FailureRule = BY_DEFAULT) -> Servers:
    clock, told = FakeClock(), Recorder()
    made = [
        Endpoint(one, place) if isinstance(one, str) else Endpoint(*one)
        for place, one in enumerate(endpoints, 1)
    ]
    return Servers(Endpoints("hf", made, clock=clock, emit=told, rule=rule), clock, told)


# -- priority and rest -----------------------------------------------------------------


def test_the_lowest_priority_number_comes_first_whatever_the_order_in_the_file() -> None:
    some = servers((A, 3), (B, 1), (C, 2))
    assert some.endpoints.urls == (B, C, A)
    assert some.ask() == [B]


def test_an_endpoint_that_fails_rests_and_the_next_one_takes_over_with_the_reason() -> None:
    some = servers(A, B)
    some.trouble[A] = DOWN
    assert some.ask() == [A, B]
    assert some.ask(3) == [B, B, B]
    assert some.rests() == [30]
    assert some.switches() == [(B, f"resting after: {DOWN}")]


def test_a_rest_doubles_up_to_ten_minutes_and_a_success_ends_it() -> None:
    some = servers(A, B)
    some.trouble[A] = DOWN
    for _ in range(7):
        some.ask()
        some.clock.wait(some.rests()[-1])
    assert some.rests() == [30, 60, 120, 240, 480, 600, 600]
    del some.trouble[A]
    assert some.ask() == [A]
    some.trouble[A] = DOWN
    some.ask()
    assert some.rests()[-1] == 30


def test_after_its_rest_one_request_finds_out_and_the_others_stay_away() -> None:
    some = servers(A, B)
    some.trouble[A] = DOWN
    some.ask()
    some.clock.wait(31)
    del some.trouble[A]
    inside = []

    def look(url: str) -> str:
        if url == A:
            inside.append(some.ask())
        return url

    assert some.endpoints.ask(look) == A
    assert inside == [[B]], "while one asks, nobody else does"
    assert some.ask() == [A]
    assert some.switches()[-1] == (A, "answers again, and comes first by its priority")


def test_many_requests_that_fail_together_are_one_failure_to_rest_for() -> None:
    some = servers(A, B)
    together = threading.Barrier(8)

    def answer(url: str) -> str:
        if url == A:
            together.wait(5)
            raise DOWN
        return url

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(some.endpoints.ask, answer) for _ in range(8)]
        assert {one.result() for one in answers} == {B}
    assert some.rests() == [30]
    assert len(some.switches()) == 1
    assert some.endpoints.tallies()[0] == EndpointTally("hf", A, 8, 8)


def test_what_began_before_the_rest_does_not_end_it() -> None:
    some = servers(A, B)

    def slow(url: str) -> str:
        if url == A:
            some.clock.wait(1)
            some.trouble[A] = DOWN
            some.ask()
        return url

    assert some.endpoints.ask(slow) == A
    assert some.ask() == [B]


def test_a_servers_wish_makes_the_rest_longer_but_not_endless() -> None:
    for wish, rest in ((5, 30), (90, 90), (86_400, LONGEST_REST)):
        some = servers(A, B)
        some.trouble[A] = OriginUnavailable("429", retry_after=wish)
        some.ask()
        assert some.rests() == [rest]


def test_when_all_rest_they_are_asked_all_the_same() -> None:
    some = servers(A, B)
    some.trouble = {A: DOWN, B: OriginLied("a login page")}
    for _ in range(3):
        with pytest.raises(OriginUnavailable, match="connection refused"):
            some.ask()
    assert some.asked == [A, B]
    del some.trouble[B]
    assert some.ask() == [A, B]


def test_an_only_endpoint_neither_rests_nor_reads_the_history() -> None:
    some = servers(A)
    some.endpoints.begin(lambda since: pytest.fail("nobody asked for it"))
    some.trouble[A] = DOWN
    for _ in range(30):
        with pytest.raises(OriginUnavailable):
            some.ask()
    assert some.notable() == []
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 30, 30),)


# -- refusals --------------------------------------------------------------------------


def test_a_refusal_is_an_answer_and_no_failure() -> None:
    some = servers(A, B)
    some.trouble[A] = Forbidden("no")
    with pytest.raises(Forbidden):
        some.ask()
    assert some.asked == [A], "the first endpoint's word is final"
    assert some.notable() == []
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 1, 0),)


def test_every_request_is_told_with_its_endpoint_and_how_it_went() -> None:
    some = servers(A, B)
    some.delay[A] = 0.25
    some.ask()
    some.read(MIB, breaks=DOWN)
    some.trouble[A] = DOWN
    some.ask()
    told = [
        (e.fields()["endpoint"], e.fields()["failed"]) for e in some.told.named("endpoint.asked")
    ]
    assert told == [(A, False), (A, True), (A, True), (B, False)]
    measured = [e.fields()["seconds"] for e in some.told.named("endpoint.measured")]
    assert measured == [0.25, 0.0]


def test_with_equal_priorities_all_of_them_must_refuse() -> None:
    some = servers((A, 1), (B, 1), (C, 2))
    some.trouble[A] = RepositoryNotFound("not yet")
    assert some.ask() == [A, B]
    some.trouble[B] = RepositoryNotFound("neither")
    with pytest.raises(RepositoryNotFound):
        some.ask()
    assert C not in some.asked


def test_a_mirror_that_refuses_does_not_hide_that_the_first_one_was_down() -> None:
    some = servers(A, B)
    some.trouble = {A: DOWN, B: RepositoryNotFound("not here")}
    with pytest.raises(OriginUnavailable):
        some.ask()


# -- bodies ----------------------------------------------------------------------------


def test_a_break_after_some_progress_is_a_failure_that_rests_nobody() -> None:
    some = servers(A, B)
    assert some.read(MIB, breaks=DOWN) == [A]
    assert some.notable() == []
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 1, 1),)


def test_a_second_break_of_the_same_file_sends_it_to_the_next_endpoint() -> None:
    some = servers(A, B)
    some.read(MIB, breaks=DOWN)
    some.read(MIB, breaks=DOWN)
    assert some.rests() == [30]
    assert some.read(MIB) == [B]


def test_breaks_of_different_files_rest_nobody_while_the_bodies_between_end_well() -> None:
    some = servers(A, B)
    for number in range(10):
        some.read(MIB, about=f"file {number}", breaks=DOWN)
        some.read(MIB, about=f"file {number}")
    assert some.notable() == []


@pytest.mark.parametrize(
    ("size", "error"),
    [(100, DOWN), (MIB, TooSlow("a trickle")), (MIB, OriginLied("more than was asked for"))],
    ids=["no progress", "too slow", "a lie"],
)
def test_what_brings_nothing_crawls_or_lies_rests_at_once(size: int, error: SyncError) -> None:
    some = servers(A, B)
    some.read(size, breaks=error)
    assert some.rests() == [30]
    assert some.read() == [B]


def test_a_body_that_was_given_up_by_us_is_no_failure() -> None:
    some = servers(A, B)
    some.read(10, breaks=Interrupted("stopped"))
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 1, 0),)
    assert some.notable() == []


def test_who_sent_wrong_bytes_is_not_asked_for_that_file_again() -> None:
    some = servers(A, B)
    some.read(about="bad")
    some.endpoints.distrust("bad", DigestMismatch("wrong bytes"))
    assert some.rests() == [30]
    assert some.endpoints.tallies() == (EndpointTally("hf", A, 1, 1),)
    some.clock.wait(31)
    assert some.read(about="good") == [A]
    assert some.read(about="bad") == [B], "also after its rest"


def test_if_all_sent_some_of_the_wrong_bytes_who_sent_most_is_suspect() -> None:
    some = servers(A, B)
    some.read(100)
    some.trouble[A] = DOWN
    some.read(5000)
    del some.trouble[A]
    some.clock.wait(31)
    some.endpoints.distrust("file", DigestMismatch("wrong bytes"))
    assert some.read() == [A]


def test_a_file_that_all_send_wrong_is_still_asked_for() -> None:
    some = servers(A, B)
    for _ in range(3):
        some.read()
        some.endpoints.distrust("file", DigestMismatch("wrong bytes"))
    assert some.read() in ([A], [B])


# -- measurements ----------------------------------------------------------------------


def test_among_equals_the_lower_latency_wins_and_says_so() -> None:
    some = servers((A, 1), (B, 1))
    some.delay = {A: 0.18, B: 0.02}
    some.ask(6)
    assert some.ask(3) == [B, B, B]
    assert some.switches() == [(B, "lower latency 20 ms vs 180 ms")]


def test_among_equals_the_higher_speed_wins_over_the_lower_latency() -> None:
    some = servers((A, 1), (B, 1))
    some.delay = {A: 0.01, B: 0.1}
    some.ask(6)
    some.delay = {A: 10.0, B: 1.0}
    for _ in range(6):
        some.read(10 * MIB)
    assert some.read(10 * MIB) == [B]
    assert some.ask() == [B]
    assert some.switches() == [(B, "higher speed 10.5 MB/s vs 1.0 MB/s")]


def test_equal_servers_are_not_switched_because_one_is_busy_and_the_other_idle() -> None:
    """Sixteen bodies share the speed of the one in use; who measures the other is alone."""
    some = servers((A, 1), (B, 1))
    share_fairly(some, {A: 100.0 * MIB, B: 100.0 * MIB}, bodies=1500)
    assert some.switched() == []


def test_a_server_that_is_twice_as_fast_is_found_under_load() -> None:
    some = servers((A, 1), (B, 1))
    share_fairly(some, {A: 100.0 * MIB, B: 250.0 * MIB}, bodies=1500)
    assert [to for to, _ in some.switches()] == [B]


def share_fairly(some: Servers, speeds: dict[str, float], *, bodies: int) -> None:
    """Read bodies of 512 MiB, sixteen at once; those at one server share its speed."""
    size, left = 512 * MIB, {}
    while bodies > 0:
        while len(left) < 16:
            opened: list[str] = []
            body = some.endpoints.open(
                lambda url, opened=opened: opened.append(url) or BytesReader(b""),  # type: ignore[func-returns-value,misc]
                "file",
                size,
            )
            left[body] = [opened[0], float(size)]
        load = Counter(url for url, _ in left.values())
        step = min(rest * load[url] / speeds[url] for url, rest in left.values())
        some.clock.wait(step)
        for body, (url, rest) in list(left.items()):
            body.seconds += step  # type: ignore[attr-defined]
            left[body][1] = rest - step * speeds[url] / load[url]
            if left[body][1] < 1:
                body.size = size  # type: ignore[attr-defined]
                body.__exit__(None, None, None)
                del left[body]
                bodies -= 1


def test_our_own_wait_for_a_limit_is_no_latency() -> None:
    clock, told, waited = FakeClock(), Recorder(), [5.0]
    one = Endpoints("hf", [Endpoint(A)], clock=clock, emit=told, waited=lambda: waited[0])
    with one.timed(A):
        clock.wait(3.25)
        waited[0] += 3.0
    assert [e.fields()["seconds"] for e in told.named("endpoint.measured")] == [0.25]


def test_short_bodies_say_nothing_of_the_speed_and_spend_no_measurement() -> None:
    some = servers((A, 1), (B, 1))
    assert [some.read(1000)[0] for _ in range(4)] == [A] * 4
    assert [some.read(2 * MIB)[0] for _ in range(6)].count(B) == 3


def test_priority_beats_every_measurement() -> None:
    some = servers((A, 1), (B, 2))
    some.delay = {A: 5.0, B: 0.001}
    assert some.ask(10) == [A] * 10


def test_a_small_gain_makes_nobody_switch() -> None:
    some = servers((A, 1), (B, 1))
    some.delay = {A: 0.100, B: 0.080}
    some.ask(50)
    assert some.switches() == []
    assert some.ask() == [A]


def test_two_that_take_turns_in_being_faster_do_not_make_it_flap() -> None:
    some = servers((A, 1), (B, 1))
    for turn in range(200):
        some.delay = {A: 0.10, B: 0.12} if turn % 2 else {A: 0.12, B: 0.10}
        some.ask()
        some.clock.wait(60)
    assert some.switches() == []


def test_the_one_not_in_use_is_measured_again_every_ten_minutes_by_one_request() -> None:
    some = servers((A, 1), (B, 1))
    some.delay = {A: 0.02, B: 0.18}
    some.ask(6)
    assert B not in some.ask(20)
    some.clock.wait(FRESH + 1)
    assert some.ask(20).count(B) == 1


def test_one_that_became_faster_is_found_out() -> None:
    some = servers((A, 1), (B, 1))
    some.delay = {A: 0.1, B: 0.2}
    some.ask(6)
    some.delay = {A: 0.1, B: 0.001}
    for _ in range(20):
        some.clock.wait(FRESH + 1)
        some.ask(2)
    assert some.ask() == [B]
    assert len(some.switches()) == 1


# -- the failures of a day ---------------------------------------------------------------


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


# -- reports and addresses ---------------------------------------------------------------


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


def test_a_wrong_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="endpoint"):
        servers("ftp://x")


def test_a_final_slash_makes_no_other_endpoint() -> None:
    assert servers(A + "/").endpoints.urls == (A,)


def test_sixteen_threads_ask_and_read_at_once() -> None:
    some = servers((A, 1), (B, 1), C)

    def work(number: int) -> None:
        def opened(url: str) -> Reader:
            if number % 7 == 0 and url == A:
                raise DOWN
            return BytesReader(b"x" * 10)

        for _ in range(50):
            some.endpoints.ask(lambda url: url)
            with some.endpoints.open(opened, number % 5, 10) as reader:
                reader.readinto(memoryview(bytearray(10)))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    tallies = some.endpoints.tallies()
    assert sum(one.requests - one.failures for one in tallies) == 16 * 50 * 2
