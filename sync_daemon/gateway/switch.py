"""The application behind the server, which can be replaced while requests are under way.

Each request is answered by the application that is in force when it begins, to its end. What an
application reads from is let go when another has taken its place and its last request has ended.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from typing import Generic, Protocol, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send


class Ends(Protocol):
    """What requests read from."""

    def retire(self) -> None:
        """Prepare the end: no new request comes."""

    def close(self) -> object:
        """Let go of everything; may wait a moment."""


R = TypeVar("R", bound=Ends)


class Switch(Generic[R]):
    """An ASGI application that stands for the newest one. `turn` may be called by any thread."""

    def __init__(self, app: ASGIApp, reading: R) -> None:
        self._lock = threading.Lock()  # held for a few instructions, never while anything waits
        self._now = app, reading
        self._busy: Counter[R] = Counter()
        self._former: set[R] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request by what is in force now."""
        app, reading = self._enter()
        try:
            await app(scope, receive, send)
        finally:
            self._leave(reading)

    def turn(self, app: ASGIApp, reading: R) -> None:
        """Let the next request find another application, which may read from the same."""
        with self._lock:
            former = self._now[1]
            self._now = app, reading
            if former is reading:
                return
            self._former.add(former)
        former.retire()
        self._end_idle(former)

    def close(self) -> None:
        """Let go of what former applications read from, whoever still uses it."""
        with self._lock:
            former, self._former = self._former, set()
        for one in former:
            one.close()

    def _enter(self) -> tuple[ASGIApp, R]:
        with self._lock:
            self._busy[self._now[1]] += 1
            return self._now

    def _leave(self, reading: R) -> None:
        with self._lock:
            self._busy[reading] -= 1
            if self._busy[reading]:
                return
            del self._busy[reading]
            over = reading in self._former
        if over:  # not here: closing may wait, and this is the event loop
            end = self._end_later
            threading.Thread(target=end, args=(reading,), name="former", daemon=True).start()

    def _end_idle(self, reading: R) -> None:
        with self._lock:
            if reading not in self._former or self._busy[reading]:
                return
            self._former.discard(reading)
        reading.close()

    def _end_later(self, reading: R) -> None:
        self._end_idle(reading)
        gc.collect()  # what it knew is in circles, which Python finds late
