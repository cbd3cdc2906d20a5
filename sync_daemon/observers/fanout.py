"""One stream of events, many listeners: none of them can stop the work or the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from sync_daemon.domain.events import Event

Listener = Callable[[Event], None]


class Fanout:
    """An `Emit` for any number of threads; listeners are called one event at a time.

    A listener that raises is dropped, and `complain` is told once.
    """

    def __init__(self, listeners: Iterable[Listener], complain: Callable[[str], None]) -> None:
        self._listeners = tuple(listeners)
        self._complain = complain
        self._lock = threading.RLock()

    def __call__(self, event: Event, /) -> None:
        """Tell every listener."""
        with self._lock:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - telling must never stop the work
                    self._drop(listener, error)

    def _drop(self, listener: Listener, error: Exception) -> None:
        self._listeners = tuple(one for one in self._listeners if one is not listener)
        name = getattr(listener, "__qualname__", type(listener).__name__)
        with suppress(Exception):
            self._complain(f"{name} failed and is not told anything more: {error!r}")
