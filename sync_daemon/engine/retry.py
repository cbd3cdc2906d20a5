"""The one retry policy: exponential backoff with jitter, bounded in attempts and in time.

`Unavailable` is tried again, and so is an origin's lie: a proxy's page or one wrong server of
many is gone a moment later. Wrong bytes are not: the file begins anew, which is not for this
module to do. The server's own wish (`retry_after`) is honoured. The SDKs' own retries are
switched off in the adapters, so that attempts do not multiply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    wait_exponential_jitter,
)

from sync_daemon.domain.errors import (
    DigestMismatch,
    Interrupted,
    OriginLied,
    OriginUnavailable,
    Unavailable,
)
from sync_daemon.domain.events import RequestRetried
from sync_daemon.ports import Clock, Emit

T = TypeVar("T")

FIRST_WAIT = 1.0
"""Seconds of the first wait; each one doubles, and up to a second is added by chance."""

LONGEST_WAIT = 60.0
"""Seconds that backoff never exceeds; a server may ask for more."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Call something until it works. `attempts` counts the first try; `total` is in seconds."""

    attempts: int
    emit: Emit
    clock: Clock
    total: float = 900.0

    def __call__(
        self,
        what: str,
        work: Callable[[], T],
        *,
        heals: Callable[[BaseException], bool] | None = None,
    ) -> T:
        """Return what `work` returns; `heals` tells which errors another try may mend.

        Raises its last error when patience has run out, one that cannot heal at once, and
        Interrupted when the stop event is set while waiting.
        """
        backoff = wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT)

        began = self.clock.monotonic()

        def spent(state: RetryCallState) -> bool:
            elapsed = self.clock.monotonic() - began
            late = elapsed + state.upcoming_sleep >= self.total
            return late or state.attempt_number >= self.attempts

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            wish = error.retry_after if isinstance(error, Unavailable) else None
            return max(backoff(state), wish or 0.0)

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.emit(
                RequestRetried(
                    what=what,
                    attempt=state.attempt_number,
                    wait=round(state.upcoming_sleep, 3),
                    error=str(error),
                )
            )

        retrying = Retrying(
            stop=spent,
            wait=wait,
            retry=retry_if_exception(heals or can_heal),
            sleep=self._sleep,
            before_sleep=tell,
            reraise=True,
        )
        return retrying(work)

    def _sleep(self, seconds: float) -> None:
        if self.clock.wait(seconds):
            message = "interrupted while waiting to try again"
            raise Interrupted(message)


def can_heal(error: BaseException) -> bool:
    """Tell whether another attempt may do better."""
    if isinstance(error, DigestMismatch):
        return False
    return isinstance(error, Unavailable | OriginLied)


def origin_can_heal(error: BaseException) -> bool:
    """Tell it of an origin's errors only: for work whose other parts try again themselves."""
    return can_heal(error) and isinstance(error, OriginUnavailable | OriginLied)
