"""Alerts reach services, and services that do not answer hold up nobody."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sync_daemon.domain.alerts import Alert, Finding
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import AlertUndelivered
from sync_daemon.observers.alertmanager import Alertmanager
from sync_daemon.observers.apprise_sink import AppriseSink, compose
from sync_daemon.observers.delivery import Delivery, Patience, Undelivered
from tests.support.certificates import make_certificate, serving
from tests.support.fakes import Recorder
from tests.support.proxy import ForwardProxy
from tests.support.sinks import AlertSink, alert_sink
from tests.support.waiting import wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALERT = Alert(Finding("refused", (("model", "m"), ("version", "1")), 2, 0, "m@1 was refused"), NOW)
OVER = replace(ALERT, ended=NOW + timedelta(hours=1))
QUICK = Patience(gather=0.02, first=0.02, longest=0.05, give_up=5, refresh=0)
SECRET = "s3cret-t0ken"


def manager(sink: AlertSink, user: str = "") -> Alertmanager:
    url = f"http://{user}{sink.place}/base"
    return Alertmanager(url, {"store": "s3://b"}, timedelta(days=2), lambda: NOW)


class Counting:
    """A sink in memory that fails `failures` times, or waits for `gate`."""

    name = "counting"
    forgets = True

    def __init__(self, failures: int = 0, gate: threading.Event | None = None) -> None:
        self.failures, self.gate = failures, gate
        self.batches: list[tuple[Alert, ...]] = []

    def deliver(self, alerts: Sequence[Alert]) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        if self.failures:
            self.failures -= 1
            raise OSError(f"https://{SECRET}@host is down")
        self.batches.append(tuple(alerts))


def test_apprise_posts_one_message_about_all_that_comes_at_once() -> None:
    with alert_sink() as sink:
        delivery = Delivery([AppriseSink(0, f"json://{sink.place}/{SECRET}")], QUICK)
        delivery.send([ALERT])
        delivery.send([OVER])
        assert delivery.close(10) == frozenset()
        ((path, _, body),) = sink.posts
    assert path == f"/{SECRET}"
    assert body["title"] == "sync-daemon: 1 firing, 1 resolved"
    assert "firing, warning, refused: m@1 was refused" in body["message"]
    assert "resolved, warning, refused: over: m@1 was refused" in body["message"]
    assert body["type"] == "warning"


def test_an_alertmanager_gets_labels_times_and_the_password_of_its_url() -> None:
    with alert_sink() as sink:
        manager(sink, f"me:{SECRET}@").deliver([ALERT, OVER])
        ((path, headers, (firing, over)),) = sink.posts
    assert path == "/base/api/v2/alerts"
    assert headers["Authorization"].startswith("Basic ")
    assert firing == {
        "labels": {
            "store": "s3://b",
            "alertname": "refused",
            "severity": "warning",
            "model": "m",
            "version": "1",
        },
        "annotations": {"summary": "m@1 was refused", "value": "2", "threshold": "0"},
        "startsAt": "2026-01-01T00:00:00.000+00:00",
        "endsAt": "2026-01-03T00:00:00.000+00:00",
    }
    assert over["endsAt"] == "2026-01-01T01:00:00.000+00:00"


def test_a_failed_delivery_is_tried_again_until_it_works() -> None:
    told, sink = Recorder(), Counting(failures=3)
    delivery = Delivery([sink], QUICK)
    delivery.attach(told)
    delivery.send([ALERT])
    wait_until(lambda: sink.batches)
    assert delivery.close(5) == frozenset()
    assert sink.batches == [(ALERT,)]
    assert told.events == []


def test_at_the_end_there_is_time_for_more_than_one_try() -> None:
    told, sink = Recorder(), Counting(failures=3)
    delivery = Delivery([sink], QUICK)
    delivery.attach(told)
    delivery.send([ALERT])
    delivery.refresh([OVER])
    assert delivery.close(5) == frozenset()
    assert (ALERT,) in sink.batches
    assert told.events == []


def test_who_never_takes_it_is_given_up_and_nothing_of_his_words_is_repeated() -> None:
    told, sink = Recorder(), Counting(failures=10_000)
    delivery = Delivery([sink], replace(QUICK, give_up=0.2))
    delivery.attach(told)
    delivery.send([ALERT, ALERT])
    wait_until(lambda: told.events)
    (event,) = told.events
    assert isinstance(event, AlertUndelivered)
    assert (event.sink, event.alerts, event.error) == ("counting", 2, "OSError")
    assert event.attempts > 1
    assert delivery.close(5) == {ALERT.finding.key}
    assert SECRET not in str(told.events)


def test_a_sink_that_hangs_blocks_neither_sending_nor_others_nor_the_end() -> None:
    gate, told = threading.Event(), Recorder()
    dead, sound = Counting(gate=gate), Counting()
    delivery = Delivery([dead, sound], replace(QUICK, room=50))
    delivery.attach(told)
    began = time.monotonic()
    for _ in range(200):
        delivery.send([ALERT])
        delivery.refresh([ALERT])
    assert time.monotonic() - began < 1
    assert delivery.close(0.3) == frozenset(), "one of the two took it"
    assert time.monotonic() - began < 3
    assert any(isinstance(e, AlertUndelivered) and e.sink == "counting" for e in told.events)
    assert sound.batches
    gate.set()


def test_a_queue_that_is_full_drops_the_oldest_and_says_so() -> None:
    gate, told = threading.Event(), Recorder()
    sink = Counting(gate=gate)
    delivery = Delivery([sink], replace(QUICK, room=3))
    delivery.attach(told)
    delivery.send([ALERT])
    time.sleep(0.1)
    delivery.send([ALERT] * 5)
    gate.set()
    delivery.close(5)
    assert sum(len(batch) for batch in sink.batches) == 4
    (event,) = told.events
    assert isinstance(event, AlertUndelivered)
    assert (event.alerts, event.error) == (2, "too many alerts are waiting")


def test_who_forgets_is_reminded_and_nobody_else() -> None:
    forgetful, other = Counting(), Counting()
    other.forgets = False  # type: ignore[misc]
    delivery = Delivery([forgetful, other], QUICK)
    delivery.refresh([ALERT])
    wait_until(lambda: forgetful.batches)
    delivery.close(5)
    assert forgetful.batches == [(ALERT,)]
    assert other.batches == []


@pytest.mark.parametrize("status", [301, 400, 500])
def test_an_answer_that_is_no_success_is_a_failure(status: int) -> None:
    with alert_sink() as sink:
        sink.status = status
        with pytest.raises(Undelivered, match=str(status)):
            manager(sink).deliver([ALERT])
        if status != 301:
            with pytest.raises(Undelivered):
                AppriseSink(0, f"json://{sink.place}").deliver([ALERT])


def test_a_server_that_is_not_there_is_a_failure_without_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://u:{SECRET}@127.0.0.1:{port}"
    sink = Alertmanager(url, {}, timedelta(days=1), lambda: NOW)
    with pytest.raises(Undelivered) as caught:
        sink.deliver([ALERT])
    assert str(caught.value) == "no answer: ConnectionRefusedError"
    assert caught.value.__cause__ is None


def test_apprise_says_nothing_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Undelivered) as caught:
        AppriseSink(0, f"json://127.0.0.1:{port}/{SECRET}").deliver([ALERT])
    assert SECRET not in caplog.text + str(caught.value)


def test_a_url_that_apprise_does_not_know_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AppriseSink(1, SECRET)
    assert "alerts.urls[1]" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_url_without_apprise_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigurationError) as caught:
        AppriseSink(0, "json://h")
    assert "'.[alerts]'" in str(caught.value.hint)


def test_a_long_message_names_some_and_counts_the_rest() -> None:
    title, body = compose([ALERT] * 25)
    assert title == "sync-daemon: 25 firing, 0 resolved"
    assert body.splitlines()[-1] == "and 5 more; see the log"
    assert len(body.splitlines()) == 21


# -- the way to the Alertmanager -----------------------------------------------------------------


def reach(url: str, **way: str | None) -> Alertmanager:
    return Alertmanager(url, {"store": "s3://b"}, timedelta(days=2), lambda: NOW, **way)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[AlertSink, Path]]:
    """A sink behind TLS, and the certificate that proves it."""
    certificate = make_certificate(tmp_path)
    with alert_sink(serving(certificate)) as sink:
        yield sink, certificate


def test_the_certificate_of_an_alertmanager_must_be_believed(
    secure: tuple[AlertSink, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, certificate = secure
    with pytest.raises(Undelivered, match="SSLCertVerificationError"):
        reach(f"https://{sink.place}").deliver([ALERT])
    reach(f"https://{sink.place}", ca_file=str(certificate)).deliver([ALERT])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    reach(f"https://{sink.place}").deliver([ALERT])
    assert len(sink.posts) == 2


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_a_proxy_leads_to_an_alertmanager(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with alert_sink() as sink, ForwardProxy(wants="Basic bWU6cEBzcw==") as proxy:
        url = f"http://me:p%40ss@{proxy.authority}"
        if by == "variable":
            monkeypatch.setenv("http_proxy", url)
            monkeypatch.setenv("no_proxy", "")
        port = sink.place.rpartition(":")[2]
        reach(f"http://alerts.invalid:{port}", proxy=None if by == "variable" else url).deliver(
            [ALERT]
        )
        assert proxy.passed == [("POST", f"http://alerts.invalid:{port}/api/v2/alerts")]
        assert len(sink.posts) == 1


def test_a_tunnel_leads_to_an_alertmanager_behind_tls(secure: tuple[AlertSink, Path]) -> None:
    sink, certificate = secure
    port = sink.place.rpartition(":")[2]
    with ForwardProxy(wants="Basic bWU6cEBzcw==") as proxy:
        way = {"proxy": f"http://me:p%40ss@{proxy.authority}", "ca_file": str(certificate)}
        reach(f"https://models.invalid:{port}", **way).deliver([ALERT])
        assert proxy.passed == [("CONNECT", f"models.invalid:{port}")]


def test_off_ignores_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with alert_sink() as sink:
        reach(f"http://{sink.place}", proxy="off").deliver([ALERT])
        assert len(sink.posts) == 1


def test_a_variable_that_names_no_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"socks5://me:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(Undelivered, match="http_proxy: a proxy of the kind 'socks5'") as caught:
        reach("http://alerts.invalid").deliver([ALERT])
    assert SECRET not in str(caught.value)
