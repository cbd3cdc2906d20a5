"""sd_notify: what is sent where, and nothing at all without a socket."""

import os
from pathlib import Path

import pytest

from sync_daemon.daemon.notify import Notifier
from tests.support.notify import NotifySocket
from tests.support.waiting import wait_until


@pytest.mark.parametrize("abstract", [True, False])
def test_messages_arrive_in_either_kind_of_socket(*, abstract: bool, tmp_path: Path) -> None:
    with NotifySocket(None if abstract else str(tmp_path / "notify")) as systemd:
        notifier = Notifier({"NOTIFY_SOCKET": systemd.name})
        notifier.ready()
        notifier.status("two\nlines")
        notifier.status("two\nlines")
        notifier.feed()
        notifier.stopping()
        wait_until(lambda: "STOPPING" in systemd.states())
    assert [lines for _, lines in systemd.messages] == [
        {"READY": "1"},
        {"STATUS": "two lines"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1"},
    ]


def test_without_a_socket_nothing_happens() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}):
        notifier = Notifier(environ | {"WATCHDOG_USEC": "0"})
        notifier.ready()
        notifier.reloading()
        assert notifier.watchdog is None


def test_the_watchdog_is_fed_at_half_of_its_time_if_it_is_ours() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000"}
    assert Notifier(environ).watchdog == 15.0
    assert Notifier(environ | {"WATCHDOG_PID": str(os.getpid())}).watchdog == 15.0
    assert Notifier(environ | {"WATCHDOG_PID": "1"}).watchdog is None
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog is None
