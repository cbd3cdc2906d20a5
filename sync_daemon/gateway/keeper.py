"""Looks at tokens and certificates again and again, apart from what is published.

A look at a large library may take long, and fail for reasons that have nothing to do with
tokens. A revoked token must not wait for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from sync_daemon.domain.errors import Interrupted
from sync_daemon.ports import Clock


class Keeper:
    """Calls each of `looks` every so often, in a thread of its own.

    One that fails is called again the next time, and keeps none of the others from being
    called; who reads the store besides says that it does not answer.
    """

    def __init__(
        self, looks: Sequence[Callable[[], object]], every: timedelta, clock: Clock
    ) -> None:
        """`clock.wait` returning True ends it."""
        self._looks = tuple(looks)
        self._every = every.total_seconds()
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for its end, which the clock's stop event brings; return whether it came."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = 0.0
        while not self._clock.wait(pause):
            try:
                self._look()
            except Interrupted:
                return
            pause = self._every

    def _look(self) -> None:
        for look in self._looks:
            try:
                look()
            except Interrupted:
                raise
            except Exception:  # noqa: BLE001, S112 - the next look may go well; Tokens see to it
                continue
