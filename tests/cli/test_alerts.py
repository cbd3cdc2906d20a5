"""`alerts test`, and alerts around runs of the command line's own parts."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

from sync_daemon.bootstrap import alerting
from sync_daemon.config import load
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import VersionRefused
from sync_daemon.engine.clock import SystemClock
from sync_daemon.stores.local import LocalStore
from tests.cli.conftest import Cli
from tests.support.fakes import Recorder
from tests.support.sinks import alert_sink

SECRET = "s3cret-t0ken"
MODEL = {"name": "m", "repo": "org/m"}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_one_alert_goes_to_everybody_and_an_alertmanager_hears_its_end(cli: Cli) -> None:
    with alert_sink() as hook, alert_sink() as manager:
        manager_url = f"http://u:{SECRET}@{manager.place}"
        urls = [f"json://{hook.place}/{SECRET}"]
        cli.write(MODEL, alerts={"urls": urls, "alertmanager": manager_url})
        ran = cli("alerts", "test", "--json")
        assert ran.code == 0, ran.err
        assert ran.json == {
            "sinks": [
                {"sink": "alerts.urls[0]", "delivered": True, "error": None},
                {"sink": "alertmanager", "delivered": True, "error": None},
            ]
        }
        assert len(hook.posts) == 1
        first, last = (body[0] for _, _, body in manager.posts)
        assert first["labels"]["alertname"] == last["labels"]["alertname"] == "test"
        assert last["endsAt"] < first["endsAt"]
    line = json.loads(ran.err)
    assert (line["event"], line["alert"], line["state"]) == ("alert", "test", "firing")
    assert SECRET not in ran.out + ran.err
    assert not cli.store.exists()


def test_who_does_not_take_it_is_named_but_not_his_address(cli: Cli) -> None:
    place = f"127.0.0.1:{closed_port()}"
    alerts = {"urls": [f"json://{place}/{SECRET}"], "alertmanager": f"http://{place}/{SECRET}"}
    cli.write(MODEL, alerts=alerts)
    ran = cli("alerts", "test", "--log-level", "debug")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "alerts.urls[0]: the service did not take it",
        "alertmanager: no answer: ConnectionRefusedError",
    ]
    assert SECRET not in ran.err
    assert place not in ran.out + ran.err


def test_nobody_to_tell_is_no_failure(cli: Cli) -> None:
    ran = cli("alerts", "test")
    assert (ran.code, ran.out) == (
        0,
        "no alerts.urls and no alerts.alertmanager: alerts are log lines only\n",
    )


def test_an_unknown_service_is_a_configuration_error(cli: Cli) -> None:
    cli.write(MODEL, alerts={"urls": [SECRET]})
    ran = cli("alerts", "test")
    assert (ran.code, ran.out) == (2, "")
    assert "alerts.urls[0]" in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("url", ["ftp://h", "http://h/?a=b", f"http://{SECRET}:x/", "http://***@h"])
def test_a_wrong_alertmanager_is_told_without_its_text(cli: Cli, url: str) -> None:
    cli.write(MODEL, alerts={"alertmanager": url})
    ran = cli("config", "validate")
    assert ran.code == 2
    assert "alerts.alertmanager" in ran.err
    assert SECRET not in ran.err


def test_the_alertmanager_may_be_left_out_by_a_variable_or_mounted(cli: Cli) -> None:
    cli.write(MODEL, alerts={"alertmanager": "${NOBODY:-}"})
    assert cli("config", "validate").code == 0
    mounted = cli.folder / "url"
    mounted.write_text(f"http://u:{SECRET}@127.0.0.1:9093\n")
    cli.write(MODEL, alerts={"alertmanager_file": str(mounted)})
    settings = load(cli.config.read_bytes(), environ={})
    assert settings.alerts.alertmanager is not None
    assert settings.alerts.alertmanager.reveal().startswith("http://u:")
    shown = cli("config", "show")
    assert shown.code == 0, shown.err
    assert SECRET not in shown.out


def test_repeating_all_the_time_is_refused(cli: Cli) -> None:
    cli.write(MODEL, alerts={"repeat": "5s"})
    ran = cli("config", "validate")
    assert ran.code == 2
    assert "alerts.repeat" in ran.err


def alerted(cli: Cli, alerts: dict[str, Any]) -> list[str]:
    """One process: a version is refused, the run ends, the alerts are told and kept."""
    cli.write(MODEL, alerts=alerts)
    settings = load(cli.config.read_bytes(), environ={})
    clock, store, told = SystemClock(threading.Event()), LocalStore(cli.store), Recorder()
    found = alerting.open_alerts(settings, clock)
    found.attach(told)
    found.begin(store, alerting.facts(store, clock, free_bytes=lambda: None))
    found(VersionRefused("m", "main", (f"reason with {SECRET[:3]}",)))
    found.tick()
    found.close(1)
    return [event.name for event in told.events]


def test_what_nobody_took_is_told_again_by_the_next_process_and_then_no_more(cli: Cli) -> None:
    assert cli("run-once").code == 0
    dead = {"urls": [f"json://127.0.0.1:{closed_port()}"]}
    assert alerted(cli, dead) == ["alert", "alert.undelivered"]
    with alert_sink() as sink:
        assert alerted(cli, {"urls": [f"json://{sink.place}"]}) == ["alert"]
        assert alerted(cli, {"urls": [f"json://{sink.place}"]}) == []
        assert len(sink.posts) == 1
    assert SECRET not in (cli.store / "alerts.json").read_text()


def test_alerts_cannot_be_opened_with_a_url_that_nobody_knows(cli: Cli) -> None:
    cli.write(MODEL, alerts={"urls": ["nothing"]})
    settings = load(cli.config.read_bytes(), environ={})
    with pytest.raises(ConfigurationError):
        alerting.open_alerts(settings, SystemClock(threading.Event()))
