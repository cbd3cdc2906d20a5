"""Looks again and again at what may change, in a thread.

What is published has one of its own, tokens and certificates have another: a look at a large
library may take long, and fail for reasons that have nothing to do with tokens. A revoked token
must not wait for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sync_daemon.domain.errors import Interrupted
from sync_daemon.ports import Clock

Look = Callable[[], object]


class Keeper:
    """Calls each of `looks`, and again after `pause()` seconds.

    One that fails is called again the next time, and keeps none of the others from being
    called; who reads the store besides says that it does not answer.
    """

    def __init__(
        self, name: str, looks: Sequence[Look], pause: Callable[[], float], clock: Clock
    ) -> None:
        """`clock.wait` returning True ends it. `name` is the thread's."""
        self._looks = tuple(looks)
        self._pause = pause
        self._clock = clock
        self._first = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, first: float = 0.0) -> None:
        """Begin, with a look after `first` seconds."""
        self._first = first
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for its end, which the clock's stop event brings; return whether it came."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = self._first
        while not self._clock.wait(pause):
            try:
                self._look()
            except Interrupted:
                return
            pause = self._pause()

    def _look(self) -> None:
        for look in self._looks:
            try:
                look()
            except Interrupted:
                raise
            except Exception:  # noqa: BLE001, S112 - the next look may go well; who looks tells
                continue
