"""The governor: when requests may go out, told by a clock that nobody has to wait for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest

from sync_daemon.domain.errors import Interrupted, OriginUnavailable
from sync_daemon.domain.events import OriginThrottled
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.retry import Retry
from sync_daemon.wire.budget import LONGEST
from sync_daemon.wire.governor import Governor, Turn, kind_of
from sync_daemon.wire.limits import Limit, read_limits
from tests.support.fakes import FakeClock, Recorder

API, FILE = "/api/models/org/m", "/org/m/resolve/main/a.bin"
HUB = "hub.example"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """A governor on a fake clock."""

    def __init__(self, **options: float) -> None:
        self.clock, self.told = FakeClock(), Recorder()
        self.governor = Governor(
            self.clock,
            self.told,
            request_rate=options.get("request_rate", 0.0),
            connections=int(options.get("connections", 4)),
        )

    @property
    def time(self) -> float:
        return self.clock.monotonic()

    def go(self, target: str = API, host: str = HUB) -> Turn:
        return self.governor.before(host, target)

    def ask(self, target: str = API, status: int = 200, host: str = HUB, **headers: str) -> float:
        """Make a request that is answered so; return when it went out."""
        turn, began = self.go(target, host), self.time
        turn.after(status, {name.replace("_", "-"): value for name, value in headers.items()})
        return began

    def throttled(self) -> list[tuple[str, float, str, str | None]]:
        events = [event for event in self.told.events if isinstance(event, OriginThrottled)]
        return [(one.host, one.seconds, one.reason, one.limit) for one in events]


def limit(name: str, left: int, seconds: int) -> str:
    return f'"{name}";r={left};t={seconds}'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "RateLimit": '"api";r=12;t=34',
                "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
            },
            Limit("api", 12, 34, 500, 300),
        ),
        ({"RateLimit": '"api";r=12;t=34'}, Limit("api", 12, 34)),
        ({"RateLimit": '"a;r=9";t=1;r=2'}, Limit("a;r=9", 2, 1)),
        ({"RateLimit": "limit=500, remaining=12, reset=34"}, Limit("", 12, 34, 500)),
        ({"RateLimit-Remaining": "3", "RateLimit-Reset": "9"}, Limit("", 3, 9)),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "9"}, Limit("", 3, 9)),
        (
            {
                "X-RateLimit-Remaining": "3",
                "X-RateLimit-Reset": str(int(NOW.timestamp()) + 50),
                "X-RateLimit-Limit": "60",
            },
            Limit("", 3, 50, 60),
        ),
    ],
)
def test_every_usual_form_of_the_headers_is_read(headers: dict[str, str], expected: Limit) -> None:
    assert read_limits(headers, NOW) == (expected,)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit": "what"},
        {"RateLimit": '"api";r=-1;t=5'},
        {"RateLimit": '"api";r=1.5;t=5'},
        {"RateLimit": '"api";r=5'},
        {"RateLimit": '"' * 5000},
        {"X-RateLimit-Remaining": "soon", "X-RateLimit-Reset": "5"},
        {"X-RateLimit-Remaining": "9", "X-RateLimit-Reset": str(int(NOW.timestamp() + 30) * 1000)},
    ],
)
def test_headers_that_make_no_sense_say_nothing(headers: dict[str, str]) -> None:
    assert read_limits(headers, NOW) == ()


def test_several_limits_in_one_header_are_all_read() -> None:
    found = read_limits({"RateLimit": '"minute";r=5;t=60, "day";r=0;t=4000'}, NOW)
    assert found == (Limit("minute", 5, 60), Limit("day", 0, 4000))


def test_kinds_are_told_apart_by_the_path_after_api() -> None:
    assert kind_of("/api/models/org/m/tree/main?recursive=true") == "api/models"
    assert kind_of("/api/resolve-cache/models/org/m/x/a.txt") == "api/resolve-cache"
    assert kind_of("/below/api/models/org/m") == "api/models"
    assert kind_of(FILE) == kind_of("/a/b?x=/api/") == ""


def test_without_a_word_from_the_server_nobody_waits() -> None:
    bench = Bench()
    assert [bench.ask() for _ in range(100)] == [0.0] * 100
    assert bench.told.events == []


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wish", ["30", "date"])
def test_nobody_asks_before_the_time_that_a_refusal_names(status: int, wish: str) -> None:
    bench = Bench()
    moment = format_datetime(datetime.fromtimestamp(time.time() + 30, UTC), usegmt=True)
    bench.ask(status=status, Retry_After=moment if wish == "date" else wish)
    assert bench.ask(FILE, host="other.example") == 0.0
    assert bench.ask(FILE) == pytest.approx(30, abs=1.1)
    ((host, seconds, reason, name),) = bench.throttled()
    assert (host, reason, name) == (HUB, "retry_after", None)
    assert seconds == pytest.approx(30, abs=1.1)


def test_a_429_that_names_no_time_gives_the_host_a_second_of_rest() -> None:
    bench = Bench()
    bench.ask(status=429)
    assert bench.ask() == 1.0


def test_a_budget_that_is_used_up_stops_its_own_kind_of_requests_only() -> None:
    bench = Bench()
    bench.ask(FILE, RateLimit=limit("resolvers", 2999, 299))
    bench.ask(API, RateLimit=limit("api", 0, 40))
    assert bench.ask(FILE, RateLimit=limit("resolvers", 2998, 299)) == 0.0
    assert bench.ask(API) == 40.0
    assert bench.throttled() == [(HUB, 40.0, "used_up", "api")]


def test_a_429_that_names_its_budget_stops_that_budget_only() -> None:
    bench = Bench()
    bench.ask(FILE, RateLimit=limit("resolvers", 2999, 299))
    bench.ask(API, 429, RateLimit=limit("api", 0, 40), Retry_After="40")
    assert bench.ask(FILE) == 0.0
    assert bench.ask(API) == 40.0


def test_kinds_that_share_a_budget_wait_together() -> None:
    bench = Bench()
    bench.ask("/api/datasets/x", RateLimit=limit("api", 50, 40))
    bench.ask("/api/models/y", RateLimit=limit("api", 0, 40))
    assert bench.ask("/api/datasets/z") == 40.0


def test_requests_under_way_are_taken_off_what_is_left() -> None:
    """Two are left and two are under way: the third waits for an answer, not for the reset."""
    governor = Governor(SystemClock(threading.Event()), Recorder(), connections=1)
    with governor.before(HUB, API) as turn:
        turn.after(200, {"RateLimit": limit("api", 2, 60)})
    turns = [governor.before(HUB, API), governor.before(HUB, API)]
    passed = threading.Event()

    def third() -> None:
        governor.before(HUB, API).close()
        passed.set()

    thread = threading.Thread(target=third, daemon=True)
    thread.start()
    assert not passed.wait(0.1)
    turns[0].after(200, {"RateLimit": limit("api", 2, 60)})
    assert passed.wait(5)


def test_little_that_is_left_is_spread_over_the_rest_of_the_window() -> None:
    bench = Bench(connections=16)
    policy = '"fixed window";"api";q=500;w=300'
    bench.ask(RateLimit=limit("api", 9, 100), RateLimit_Policy=policy)
    gone = []
    for left in range(8, -1, -1):
        turn = bench.go()
        gone.append(bench.time)
        rest = round(100 - bench.time)
        turn.after(200, {"RateLimit": limit("api", left, rest), "RateLimit-Policy": policy})
    assert [later - sooner for sooner, later in pairwise(gone)] == pytest.approx([10.0] * 8, abs=1)
    assert gone[-1] < 100
    assert bench.ask() == pytest.approx(100, abs=1)
    assert [one[2] for one in bench.throttled()] == ["spread"], "once in a window"


def test_while_much_is_left_nobody_waits() -> None:
    bench = Bench(connections=16)
    policy = '"fixed window";"api";q=500;w=300'
    for left in range(499, 60, -1):
        assert bench.ask(RateLimit=limit("api", left, 290), RateLimit_Policy=policy) == 0.0


def test_a_new_window_begins_with_the_whole_quota() -> None:
    bench = Bench(connections=2)
    policy = '"api";q=40;w=10'
    bench.ask(RateLimit=limit("api", 0, 10), RateLimit_Policy=policy)
    assert bench.ask(RateLimit=limit("api", 39, 10), RateLimit_Policy=policy) == 10.0
    assert bench.ask(RateLimit=limit("api", 38, 10), RateLimit_Policy=policy) == 10.0


def test_after_a_wait_one_goes_first_and_the_others_when_it_was_answered() -> None:
    bench = Bench()
    bench.ask(status=429, Retry_After="5")
    first = bench.go()
    assert bench.time == 5.0
    second = bench.go()
    assert bench.time == pytest.approx(7.0, abs=0.1), "it is not waited for forever"
    first.after(200, {})
    third = bench.go()
    assert bench.time == pytest.approx(7.0, abs=0.1)
    second.close()
    third.close()


def test_a_first_one_that_fails_leaves_its_place_to_the_next() -> None:
    bench = Bench()
    bench.ask(status=503, Retry_After="5")
    bench.go().close()
    assert bench.ask() == 5.0


def test_who_is_told_to_wait_for_too_long_fails_at_once() -> None:
    bench = Bench()
    bench.ask(status=429, Retry_After="3600")
    with pytest.raises(OriginUnavailable, match="left alone for 3600 s") as caught:
        bench.go()
    assert caught.value.retry_after == 3600
    bench.clock.wait(901)
    assert bench.ask() == 901, "a wish of years does not close a host for years"


def test_to_spread_what_is_left_over_a_long_window_is_never_an_error() -> None:
    bench = Bench()
    said = {"RateLimit": limit("api", 3, 7000), "RateLimit_Policy": '"api";q=5000;w=7200'}
    bench.ask(**said)
    assert bench.ask(**said) == LONGEST, "a third of the window would be longer"


def test_a_stop_ends_the_wait() -> None:
    bench = Bench()
    bench.ask(status=429, Retry_After="30")
    bench.clock.stop.set()
    with pytest.raises(Interrupted):
        bench.go()
    bench.go(host="other.example").close()


def test_the_one_that_was_refused_waits_once() -> None:
    """Retry waits as long as the server asked; the governor then lets it pass."""
    bench = Bench()
    retry = Retry(3, bench.told, bench.clock)
    gone: list[float] = []

    def work() -> None:
        with bench.go() as turn:
            gone.append(bench.time)
            if len(gone) == 1:
                turn.after(429, {"Retry-After": "7"})
                raise OriginUnavailable("no", retry_after=7)

    retry("try", work)
    assert gone == [0.0, 7.0]
    assert bench.throttled() == []


def test_the_operators_rate_holds_for_all_hosts_together() -> None:
    bench = Bench(request_rate=10)
    gone = [bench.ask(host=f"{n % 3}.example") for n in range(46)]
    assert gone[5] == pytest.approx(0.0), "a small burst"
    assert gone[-1] == pytest.approx(4.0, abs=0.01)
    bench.clock.wait(100)
    again = [bench.ask() for _ in range(16)]
    assert again[-1] - again[0] == pytest.approx(1.0, abs=0.01), "rest earns no more than a burst"


def test_a_slow_rate_of_the_operator_is_told_now_and_then() -> None:
    bench = Bench(request_rate=0.25)
    for _ in range(31):
        bench.ask()
    reasons = bench.throttled()
    assert {(one[0], one[2]) for one in reasons} == {("all origins", "request_rate")}
    assert len(reasons) == 2, "once a minute"


def test_it_tells_each_thread_how_long_it_waited() -> None:
    bench = Bench()
    bench.ask(status=429, Retry_After="5")
    bench.ask()
    assert bench.governor.waited == 5.0


def test_who_stands_in_line_behind_another_waits_as_well() -> None:
    governor = Governor(SystemClock(threading.Event()), Recorder(), request_rate=10)
    waits: list[float] = []

    def ask() -> None:
        governor.before(HUB, FILE).close()
        waits.append(governor.waited)

    threads = [threading.Thread(target=ask) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert max(waits) > 0.25, "three tenths of a second went by, a tenth of them first in line"


def test_threads_that_wait_for_one_reset_do_not_stampede() -> None:
    """Of sixteen that wait for the same moment one asks first; a refusal stops all others."""
    governor = Governor(SystemClock(threading.Event()), Recorder())
    with governor.before(HUB, API) as turn:
        turn.after(429, {"Retry-After": "1"})
    began, asked = time.monotonic(), []

    def ask() -> None:
        with governor.before(HUB, API) as turn:
            asked.append(time.monotonic() - began)
            time.sleep(0.05)
            turn.after(*((429, {"Retry-After": "1"}) if len(asked) == 1 else (200, {})))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [round(moment) for moment in sorted(asked)] == [1] + [2] * 15
    assert max(asked) < 2.5


def test_a_stop_frees_all_who_stand_in_line() -> None:
    stop = threading.Event()
    governor = Governor(SystemClock(stop), Recorder())
    with governor.before(HUB, API) as turn:
        turn.after(429, {"Retry-After": "600"})
    ended: list[str] = []

    def ask() -> None:
        try:
            governor.before(HUB, API)
        except Interrupted:
            ended.append("interrupted")

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(5)
    assert ended == ["interrupted"] * 8
