"""One budget of requests, as numbers: what is known of it, and how long the next one waits.

A server tells in each answer how many requests are left and until when. Requests that are
under way may or may not be counted in that number, so they are taken off it: the budget is
never overdrawn by those who ask at once. While much is left nobody waits; when little is
left it is spread over the rest of the window, so that it does not end in a wall that
everybody hits. After a wait for a whole window one request goes first, and the others when
it was answered: the server's clock and ours need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from sync_daemon.wire.limits import Limit

LONGEST = 900.0
"""Seconds that a request is kept waiting; who is told to wait longer fails at once instead."""

POLL = 0.02
"""Seconds between two looks for an answer that others wait for."""

PATIENCE = 2.0
"""Seconds that others wait for the answer of the one that went first."""

MEAGRE = 0.1
"""Share of a policy's own rate below which what is left must be spread."""

_ROUNDING = 1.0
"""Seconds by which two answers may tell the same moment differently: they tell whole ones."""

Reason = Literal["retry_after", "used_up", "spread", "request_rate", "answer"]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait, why, and how long the cause lasts at the most; in seconds."""

    seconds: float
    reason: Reason
    lasts: float


@dataclass(slots=True)
class Budget:
    """Not locked: the governor does. `few` is how many requests may go out at once.

    `queue` is how many wait for it or pass it now; `turnstile` lets one of them look at a time.
    """

    name: str
    few: int
    queue: int = 0
    turnstile: Lock = field(default_factory=Lock)
    _left: int | None = None
    _quota: int | None = None
    _window: float | None = None
    _reset: float = 0.0
    _learned: float = 0.0
    _last: float = 0.0
    _held: float = 0.0
    _held_since: float = 0.0
    _why: Reason = "retry_after"
    _careful: bool = False
    _first: float | None = None

    def wait(self, now: float, pending: int) -> Wait | None:
        """Return how long the next request waits, None for not at all.

        `pending` requests of this budget have not been answered yet.
        """
        if now < min(self._held, self._held_since + LONGEST):
            return Wait(self._held - now, self._why, self._held - now)
        if self._careful and pending and self._first is not None and now < self._first + PATIENCE:
            return Wait(POLL, "answer", PATIENCE)
        self._roll(now)
        if self._left is None:
            return None
        free = self._left - pending
        if free > 0:
            return self._spread(now, free)
        if pending:
            return Wait(POLL, "answer", PATIENCE)
        self._hold(self._reset, now, "used_up")
        return Wait(self._reset - now, "used_up", self._reset - now)

    def take(self, now: float) -> bool:
        """Note that a request goes out; return whether it is one that goes first."""
        self._last = now
        if not self._careful:
            return False
        self._first = now
        return True

    def arrive(self) -> None:
        """Note that the one that went first is back."""
        self._careful, self._first = False, None

    def learn(self, limit: Limit, now: float) -> None:
        """Take what an answer says; of the answers of one window, the least."""
        end = now + max(limit.seconds, _ROUNDING if not limit.left else 0.0)
        self._learned = now
        self._quota, self._window = limit.quota or self._quota, limit.window or self._window
        margin = max(_ROUNDING, (self._window or 0.0) / 2)
        if self._left is None or now >= self._reset or end > self._reset + margin:
            self._left, self._reset = limit.left, end
            return
        self._left, self._reset = min(self._left, limit.left), min(self._reset, end)

    def hold(self, seconds: float, now: float) -> None:
        """Let nobody ask for so long, because the server said so."""
        self._hold(now + seconds, now, "retry_after")

    def _hold(self, end: float, now: float, why: Reason) -> None:
        held = now < self._held
        if not held or end > self._held + _ROUNDING:
            self._held, self._why = end, why
        if not held:
            self._held_since = now
        self._careful, self._first = True, None

    def _roll(self, now: float) -> None:
        """Begin a new window when the old one is over, or too long ago to be believed."""
        if self._left is None or now < min(self._reset, self._learned + LONGEST):
            return
        self._left = self._quota if self._window else None
        self._reset, self._learned = now + (self._window or 0.0), now

    def _spread(self, now: float, free: int) -> Wait | None:
        ahead = self._reset - now
        few = min(self.few, self._quota // 4) if self._quota else self.few
        usual = self._quota / self._window if self._quota and self._window else 0.0
        if free >= few and free >= MEAGRE * usual * ahead:
            return None
        pause = self._last + ahead / (free + 1) - now
        return Wait(pause, "spread", ahead) if pause > 0 else None
