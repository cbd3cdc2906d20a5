"""Tokens and certificates are looked at by themselves, whatever else fails."""

from __future__ import annotations

import threading

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.engine.clock import SystemClock
from sync_daemon.gateway.keeper import Keeper


def test_what_fails_is_looked_at_again_and_keeps_nobody_else_from_it() -> None:
    stop, calls = threading.Event(), list[str]()

    def fail() -> None:
        calls.append("fail")
        raise StoreUnavailable("no answer")

    def count() -> None:
        calls.append("count")
        if calls.count("count") == 3:
            stop.set()

    keeper = Keeper("keeper", [fail, count], lambda: 0.001, SystemClock(stop))
    keeper.start()
    assert keeper.join(5)
    assert calls == ["fail", "count"] * 3
