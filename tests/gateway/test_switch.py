"""The switch behind the server: who answers, and when what is read from is let go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from sync_daemon.gateway.switch import Switch
from tests.support.waiting import wait_until


class Source:
    """What is read from, and what became of it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def retire(self) -> None:
        self.told.append("retired")

    def close(self) -> None:
        self.told.append(f"closed by {threading.current_thread().name}")


def named(name: str, log: list[str], before: Callable[[], object] = bool) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before()
        await asyncio.sleep(0)
        log.append(name)

    return app


def ask(switch: Switch[Source]) -> None:
    async def receive() -> dict[str, object]:
        return {}

    async def send(message: object) -> None:
        pass

    asyncio.run(switch({"type": "http"}, receive, send))


def test_a_request_ends_by_what_it_began_with_and_only_then_that_is_closed() -> None:
    log: list[str] = []
    old, new = Source(), Source()

    def turn() -> None:
        switch.turn(named("new", log), new)
        assert old.told == ["retired"], "somebody still reads from it"

    switch = Switch(named("old", log, turn), old)
    ask(switch)
    assert log == ["old"]
    wait_until(lambda: len(old.told) == 2)
    assert old.told == ["retired", "closed by former"], "never by the event loop"
    ask(switch)
    assert log == ["old", "new"]
    assert new.told == []


def test_what_nobody_reads_from_is_closed_at_once() -> None:
    old = Source()
    switch = Switch(named("old", []), old)
    ask(switch)
    switch.turn(named("new", []), Source())
    assert [one.partition(" ")[0] for one in old.told] == ["retired", "closed"]


def test_another_application_of_the_same_source_closes_nothing() -> None:
    log: list[str] = []
    source = Source()
    switch = Switch(named("old", log), source)
    switch.turn(named("new", log), source)
    ask(switch)
    assert (log, source.told) == (["new"], [])


def test_a_request_that_fails_is_over_as_well() -> None:
    old = Source()

    def fail() -> None:
        switch.turn(named("new", []), Source())
        raise OSError

    switch = Switch(named("old", [], fail), old)
    try:
        ask(switch)
    except OSError:
        wait_until(lambda: len(old.told) == 2)
    assert old.told[0] == "retired"


def test_the_end_closes_what_is_still_read_from_once() -> None:
    old = Source()

    def turn() -> None:
        switch.turn(named("new", []), Source())
        switch.close()

    switch = Switch(named("old", [], turn), old)
    ask(switch)
    assert len(old.told) == 2
