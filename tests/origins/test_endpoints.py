"""Which endpoint is asked first: priority, rest and measurements."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

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
from sync_daemon.domain.report import EndpointTally
from sync_daemon.origins.endpoint import FRESH, LONGEST_REST, Endpoint
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.ports import Reader
from tests.support.endpoint_servers import DOWN, MIB, A, B, C, Servers, servers
from tests.support.fakes import BytesReader, FakeClock, Recorder

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


# -- addresses and threads ---------------------------------------------------------------


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
