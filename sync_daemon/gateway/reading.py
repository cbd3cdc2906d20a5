"""What one store says, read again and again: what is published, and whose tokens are good.

It outlives a change of the rules by which it is served, and when another store takes its place
it ends with the last request that began with it: looking ends at once, and the store is closed
once nobody reads from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.domain.names import ModelName
from sync_daemon.engine.clock import SystemClock
from sync_daemon.gateway.access.tokens import TokenBook, Tokens
from sync_daemon.gateway.keeper import Keeper, Look
from sync_daemon.gateway.published.library import Library
from sync_daemon.gateway.published.refresher import Refresher
from sync_daemon.ports import Emit, ObjectStore

PATIENCE = 10.0
"""Seconds in which a request to the store is tried again: a client waits for the answer."""

ATTEMPTS = 2
"""Tries of such a request: the next look, or the client itself, tries again anyway."""

FIRST_LOOK = 5.0
"""Seconds for which the start waits for the first look, to tell how much there is to serve."""


class _Clock(SystemClock):
    """The machine's clock, whose waits can be ended before their time."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self._ended = stop
        self._turns = threading.Condition()
        self._turn = 0

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or somebody calls; return whether this is the end."""
        with self._turns:
            turn = self._turn
            self._turns.wait_for(lambda: self._turn != turn or self._ended.is_set(), seconds)
        return self._ended.is_set()

    def call(self) -> None:
        """End every wait that goes on."""
        with self._turns:
            self._turn += 1
            self._turns.notify_all()


class Reading:
    """Reads one store in two threads. `close`, if there is one, lets go of that store.

    `more` is looked at whenever the library is, `looks` whenever the tokens are.
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        emit: Emit,
        *,
        more: Sequence[Look] = (),
        looks: Sequence[Look] = (),
        close: Callable[[], object] | None = None,
    ) -> None:
        rules = settings.gateway
        self.store = store
        self._close = close
        self._retired, self._ending = threading.Event(), threading.Event()
        self._closing = threading.Lock()
        self._clock = clock = _Clock(self._retired)
        retry = bootstrap.retry(settings, emit, self._ending)
        retry = replace(retry, attempts=min(retry.attempts, ATTEMPTS), total=PATIENCE)
        self.library = Library(store, retry, order=_order(settings))
        self.tokens = Tokens(TokenBook(store, retry), clock, emit)
        self.refresher = Refresher(self.library, rules.refresh, clock, emit, more=more)
        self._every = rules.refresh.total_seconds()
        self._keeper = Keeper("keeper", [self.tokens.refresh, *looks], lambda: self._every, clock)

    def load(self) -> None:
        """Read everything once. Raises StoreUnavailable, StoreRefused."""
        self.library.check()
        self.tokens.refresh()
        self.refresher.look()

    def start(self) -> None:
        """Look again and again from now on."""
        self.refresher.start()
        self._keeper.start()

    def wait(self) -> None:
        """Wait a moment for the first look, whether the store answers it or not."""
        self.refresher.wait(FIRST_LOOK)

    def follow(self, settings: Settings) -> None:
        """Go on by other settings of the same store, and look at it at once."""
        every = settings.gateway.refresh
        self._every = every.total_seconds()
        self.refresher.every(every)
        self.library.arrange(_order(settings))
        self._clock.call()

    def retire(self) -> None:
        """Begin no other look; what was read can still be served."""
        self._retired.set()
        self._clock.call()

    def interrupt(self) -> None:
        """Try nothing again from now on."""
        self.retire()
        self._ending.set()

    def close(self, seconds: float = 1.0) -> bool:
        """End, and let go of the store; return whether both threads have ended."""
        self.interrupt()
        ended = [self.refresher.join(seconds), self._keeper.join(seconds)]
        with self._closing:
            close, self._close = self._close, None
            if close is not None:
                close()
        return all(ended)


def _order(settings: Settings) -> tuple[ModelName, ...]:
    return tuple(ModelName(model.name) for model in settings.models)
