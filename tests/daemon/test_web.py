"""The daemon's HTTP server: metrics and health for few clients, cheap to refuse to the others."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse

import pytest

from sync_daemon.config.units import parse_address
from sync_daemon.daemon.health import (
    Makeable,
    Punctuality,
    Remembered,
    health_routes,
    reach,
)
from sync_daemon.daemon.http_limits import LARGEST_BODY, LARGEST_HEAD, LONGEST_LINE
from sync_daemon.daemon.room import COUNT_EVERY, Room
from sync_daemon.daemon.web import Answer, Request, Routes, Web, serve
from sync_daemon.domain.errors import ConfigurationError, StoreUnavailable
from sync_daemon.domain.events import (
    BlobStored,
    BytesMoved,
    ConfigInvalid,
    Event,
    RequestRetried,
    RunFailed,
    RunFinished,
    RunStarted,
    StoreMeasured,
    VerifyFinished,
)
from sync_daemon.ports import StoreCapacity
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock
from tests.support.metrics_story import told
from tests.support.stores import StoreThatMayBeDown
from tests.support.waiting import wait_until

Get = Callable[..., HTTPResponse]


def fail(request: Request) -> Answer:
    raise RuntimeError(request.path)


def echo(request: Request) -> Answer:
    return Answer.text(f"{request.method} {request.query} {request.body.decode()}")


ROUTES: Routes = {
    **health_routes(told().exposition, {}),
    ("POST", "/echo"): echo,
    ("GET", "/echo"): echo,
    ("GET", "/fail"): fail,
}


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def web(complaints: list[str]) -> Iterator[Web]:
    with Web(
        "127.0.0.1", 0, ROUTES, complain=complaints.append, connections=4, deadline=0.5
    ) as running:
        yield running


def ask(
    web: Web, path: str, method: str = "GET", body: bytes | None = None, host: str = "127.0.0.1"
) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection(host, web.port, timeout=5)) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response, response.read()


def send(web: Web, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are; return the whole answer."""
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=5)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # it has heard enough
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
        return answer


def test_metrics_are_served_as_prometheus_reads_them(web: Web) -> None:
    response, body = ask(web, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'sync_daemon_runs_total{status="partial"} 1.0' in body


def test_healthz_says_that_the_process_is_alive(web: Web) -> None:
    response, body = ask(web, "/healthz?verbose")
    assert (response.status, body) == (200, b"alive\n")
    assert response.headers["Cache-Control"] == "no-store"


def test_head_has_the_headers_of_get_and_no_body(web: Web) -> None:
    response, body = ask(web, "/healthz", "HEAD")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "6")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/x", "/metrics/../x", "//metrics/x", "/%2f"])
def test_an_unknown_path_is_404(web: Web, path: str) -> None:
    assert ask(web, path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_an_unknown_method_is_405_and_says_which_are_known(web: Web, method: str) -> None:
    response, body = ask(web, "/healthz", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert b"BREW" not in body


def test_a_route_may_take_a_body(web: Web) -> None:
    response, body = ask(web, "/echo?a=1", "POST", b"hello")
    assert (response.status, body) == (200, b"POST a=1 hello\n")


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"", 411),
        (b"-1", 411),
        (b"1e3", 411),
        (b"9" * 5000, 431),
        (b"9" * 4000, 413),
        (b"%d" % (LARGEST_BODY + 1), 413),
        (b"5", 408),
    ],
)
def test_a_body_of_no_or_an_absurd_length_is_refused(web: Web, length: bytes, status: int) -> None:
    answer = send(web, b"POST /echo HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\nab")
    assert answer.startswith(b"HTTP/1.0 %d " % status)


def test_a_handler_that_fails_is_told_to_the_operator_and_not_to_the_client(
    web: Web, complaints: list[str]
) -> None:
    response, body = ask(web, "/fail")
    assert (response.status, body) == (500, b"internal error\n")
    assert complaints == ["GET /fail failed: RuntimeError('/fail')"]
    assert ask(web, "/healthz")[0].status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * LONGEST_LINE + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * LONGEST_LINE + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * (LARGEST_HEAD // 6) + b"\r\n",
    ],
    ids=["line", "header", "headers"],
)
def test_a_head_that_is_too_large_is_refused(web: Web, request_bytes: bytes) -> None:
    answer = send(web, request_bytes)
    assert answer[:13] in {b"HTTP/1.0 431 ", b""}, "or reset, while the rest was still coming"
    assert ask(web, "/healthz")[0].status == 200


@pytest.mark.parametrize(
    "request_bytes", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff\x00\r\n\r\n"]
)
def test_nonsense_is_refused_without_an_echo(web: Web, request_bytes: bytes) -> None:
    answer = send(web, request_bytes)
    assert not answer or b" 40" in answer or b" 505 " in answer
    assert b"\xff" not in answer
    assert ask(web, "/healthz")[0].status == 200


def test_a_request_that_drips_is_given_up_at_its_deadline(web: Web) -> None:
    began = time.monotonic()
    answer = send(web, *[b"G"] * 12, pause=0.1)
    assert b" 408 " in answer or answer == b""
    assert time.monotonic() - began < 3


def test_one_connection_too_many_is_told_so_and_the_others_are_served_on(web: Web) -> None:
    with closing(HTTPConnection("127.0.0.1", web.port, timeout=5)) as first:
        first.connect()
        idle = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(3)]
        time.sleep(0.2)
        assert b" 503 " in send(web)
        first.request("GET", "/healthz")
        assert first.getresponse().status == 200
        for connection in idle:
            connection.close()
    wait_until(lambda: ask(web, "/healthz")[0].status == 200)


def test_a_port_in_use_is_an_error_of_the_configuration(web: Web) -> None:
    with (
        pytest.raises(ConfigurationError, match=f"127.0.0.1:{web.port}") as caught,
        Web("127.0.0.1", web.port, ROUTES, complain=print),
    ):
        pass
    assert "already running" in caught.value.hint or "running already" in caught.value.hint


def test_an_address_that_is_not_ours_is_an_error_of_the_configuration() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"metrics\.listen"),
        Web("192.0.2.1", 0, ROUTES, complain=print),
    ):
        pass


def test_an_ipv6_literal_of_the_yaml_is_listened_on() -> None:
    with serve(parse_address("[::1]:0"), ROUTES, print) as web:
        assert web is not None
        assert ask(web, "/healthz", host="::1")[0].status == 200


def test_off_listens_nowhere() -> None:
    with serve(None, ROUTES, print) as web:
        assert web is None


def test_the_port_is_free_again_after_the_block_and_idle_clients_do_not_hold_it() -> None:
    with Web("127.0.0.1", 0, ROUTES, complain=print) as web:
        port = web.port
        idle = socket.create_connection(("127.0.0.1", port))
    began = time.monotonic()
    with Web("127.0.0.1", port, ROUTES, complain=print) as again:
        assert ask(again, "/healthz")[0].status == 200
    assert time.monotonic() - began < 2
    idle.close()


# -- readiness -------------------------------------------------------------------------


def readiness(**checks: Callable[[], str | None]) -> Answer:
    return health_routes(lambda: b"", checks)["GET", "/readyz"](Request("GET", "/readyz"))


def test_ready_is_who_has_no_reason_not_to_be() -> None:
    answer = readiness(store=lambda: None, runs=lambda: None)
    assert (answer.status, answer.body) == (200, b"ready\n")


def test_not_ready_says_every_reason() -> None:
    answer = readiness(store=lambda: "refused", runs=lambda: "late", config=lambda: None)
    assert (answer.status, answer.body) == (503, b"store: refused\nruns: late\n")


def test_a_store_is_reached_whether_or_not_a_mirror_is_in_it() -> None:
    assert reach(MemoryStore())() is None
    down = StoreThatMayBeDown(StoreUnavailable("mirror.json: connection refused"), "mirror.json")
    assert reach(down)() == "mirror.json: connection refused"


class Seconds:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_check_is_not_made_again_for_a_while() -> None:
    clock, results = Seconds(), iter([None, "down"])
    check = Remembered(lambda: next(results), clock, seconds=5)
    assert [check(), check()] == [None, None]
    clock.now += 5
    assert [check(), check()] == ["down", "down"]


def test_a_slow_check_holds_up_one_probe_only() -> None:
    clock, begun, go_on = Seconds(), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(10)

    check = Remembered(slow, clock)
    thread = threading.Thread(target=check)
    thread.start()
    begun.wait(10)
    assert check() == "is asked for the first time"
    go_on.set()
    thread.join()
    assert check() is None


def test_runs_are_punctual_while_they_come_or_go_on() -> None:
    clock = Seconds()
    runs = Punctuality(clock, timedelta(hours=2))
    clock.now += 7200
    assert runs.check() is None
    clock.now += 1
    assert runs.check() == (
        "no run has ended or moved anything for 7,201 seconds; 7,200 are allowed"
    )
    runs(BytesMoved("m", "v", 1, "hf"))
    assert runs.check() is None
    runs.allow(timedelta(minutes=1))
    clock.now += 61
    runs(RequestRetried("list", 1, 1.0, "reset"))
    runs(ConfigInvalid(()))
    assert runs.check() is not None, "retries and a wrong configuration are no progress"


def test_a_run_that_cannot_be_made_is_a_reason_until_one_finishes() -> None:
    runs = Makeable()
    assert readiness(runs=runs.check).status == 200
    runs(RunFailed("incremental", "store_refused", "this is no mirror"))
    runs(RunStarted("r", "full", 1))
    runs(VerifyFinished("verify", 1, 1, 1, 0, 1.0))
    answer = readiness(runs=runs.check)
    assert (answer.status, answer.body) == (503, b"runs: incremental: this is no mirror\n")
    runs(RunFinished("r", "ok", 1.0, 0, 1, 0))
    assert readiness(runs=runs.check).status == 200


def test_a_failed_verification_is_a_reason_until_it_finishes() -> None:
    runs = Makeable()
    runs(RunFailed("verify", "store_unavailable", "no answer"))
    assert runs.check() == "verify: no answer"
    runs(VerifyFinished("verify", 1, 1, 1, 0, 1.0))
    assert runs.check() is None


# -- space -----------------------------------------------------------------------------


class SizedStore(MemoryStore):
    """A store that knows its size, and perhaps what is in it."""

    def __init__(self, capacity: StoreCapacity) -> None:
        super().__init__()
        self._capacity = capacity

    def capacity(self) -> StoreCapacity | None:
        return self._capacity


def room(clock: FakeClock | None = None) -> Room:
    return Room((clock or FakeClock()).monotonic)


@pytest.mark.parametrize(
    ("capacity", "measured"),
    [
        (StoreCapacity(100, 30, 70), StoreMeasured(30, 70, 100)),
        (StoreCapacity(100), StoreMeasured(20, 80, 100)),
        (StoreCapacity(100, free=50), StoreMeasured(20, 50, 100)),
    ],
)
def test_the_room_of_the_store_is_told_as_it_says_or_counted(
    capacity: StoreCapacity, measured: StoreMeasured
) -> None:
    events: list[Event] = []
    store = SizedStore(capacity)
    store.put("blobs/a", b"x" * 20)
    room().tell(store, events.append)
    assert events == [measured]


def test_a_store_is_listed_a_few_times_a_day_and_what_is_stored_here_is_added() -> None:
    clock, events = FakeClock(), list[Event]()
    counting, store = room(clock), SizedStore(StoreCapacity(100))
    store.put("blobs/a", b"x" * 20)
    counting.tell(store, events.append)
    store.put("blobs/b", b"x" * 30)
    counting(BlobStored("m", "p", "0" * 64, 5, 1.0))
    clock.wait(60)
    counting.tell(store, events.append)
    clock.wait(COUNT_EVERY)
    counting.tell(store, events.append)
    assert [event.fields()["used"] for event in events] == [20, 25, 50]


def test_a_store_that_cannot_be_asked_for_its_room_is_no_failure() -> None:
    events: list[Event] = []
    room().tell(StoreThatMayBeDown(StoreUnavailable("refused")), events.append)
    assert events == []
