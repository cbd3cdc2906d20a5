"""How much one client may ask for: requests in a minute, and requests at a time.

Clients are counted by the token that they showed, or else by their address. The count of a
minute is told in the headers that huggingface_hub reads: it waits until the window ends, and
asks again (`RateLimit: "api";r=0;t=17`, measured with 2.4). Memory is bounded: of clients that
came long ago nothing is known.

Everything here is called from the one thread of the event loop, but `allow` from any.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 60
"""Seconds over which requests are counted."""

CLIENTS = 10_000
"""Clients whose requests are counted; the one that came longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How a client stands: `left` of `limit` requests, for `seconds` from now."""

    limit: int
    left: int
    seconds: int
    refused: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what tells the client so."""
        told = [
            (b"ratelimit", f'"api";r={self.left};t={self.seconds}'.encode()),
            (b"ratelimit-policy", f'"fixed window";"api";q={self.limit};w={WINDOW}'.encode()),
        ]
        if self.refused:
            told.append((b"retry-after", str(self.seconds).encode()))
        return told


@dataclass(slots=True)
class _Window:
    ends: float
    used: int = 0


class Rates:
    """Counts the requests of each client in windows of a minute, which begin with its first."""

    def __init__(
        self, per_second: float, monotonic: Callable[[], float], clients: int = CLIENTS
    ) -> None:
        self.allow(per_second)
        self._monotonic = monotonic
        self._most = clients
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def allow(self, per_second: float) -> None:
        """Allow so many from now on; what was counted in the windows that run stays."""
        self._limit = max(1, round(per_second * WINDOW)) if per_second else 0

    def take(self, client: str) -> Quota | None:
        """Count one request; None where there is no limit."""
        limit = self._limit  # another thread may change it
        if not limit:
            return None
        now = self._monotonic()
        window = self._windows.get(client)
        if window is None or window.ends <= now:
            window = self._windows[client] = _Window(now + WINDOW)
        self._windows.move_to_end(client)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)
        refused = window.used >= limit
        window.used += not refused
        seconds = max(1, math.ceil(window.ends - now))
        return Quota(limit, max(0, limit - window.used), seconds, refused)


class Crowd:
    """Counts what goes on at the same time: of one client, and of all."""

    def __init__(self, each: int, total: int | None = None) -> None:
        self._each = each
        self._most = total
        self._by_client: dict[str, int] = {}
        self._all = 0

    def allow(self, each: int, total: int | None = None) -> None:
        """Allow so much from now on; whoever is in stays."""
        self._each, self._most = each, total

    @property
    def total(self) -> int:
        """What goes on now, of all clients."""
        return self._all

    def enter(self, client: str | None) -> bool:
        """Count one more, and tell whether there was room; None: a client without a limit.

        Whoever was let in calls `leave` once.
        """
        if self._most is not None and self._all >= self._most:
            return False
        if client is not None:
            count = self._by_client.get(client, 0)
            if count >= self._each:
                return False
            self._by_client[client] = count + 1
        self._all += 1
        return True

    def leave(self, client: str | None) -> None:
        """Count one less."""
        self._all -= 1
        if client is None:
            return
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]
