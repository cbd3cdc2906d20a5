"""Lets requests out to origins no faster than their servers, and the operator, allow.

There is one governor in a process, and all jobs share it, because servers count what comes
from one address or token and not who asks. It is asked before each request, every hop of a
redirect included, and learns from each answer (`limits`):

- 429 and 503 with a wish to wait: nobody asks before that time. A wait of more than
  `budget.LONGEST` is no wait but an error, for the caller to handle.
- `RateLimit` headers: `budget` keeps the requests within what is left.

Budgets are per host and per the server's own name of them ("api", "resolvers"). Which of
them a request belongs to is known once a request of its kind was answered; the kind is the
path's segment after `api` (models, datasets, resolve-cache), or none. What an answer does
not name holds for the whole host.

The operator's limit is one for all hosts: so many requests a second, and half a second's
worth of them at once.

Waiting ends at once when the process is to stop. No lock is held but the turnstile of the
budget, at which those who wait for the same thing stand in line.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self

from sync_daemon.domain.errors import Interrupted, OriginUnavailable
from sync_daemon.domain.events import OriginThrottled
from sync_daemon.ports import Clock, Emit
from sync_daemon.wire.answers import Fields, retry_after
from sync_daemon.wire.budget import LONGEST, Budget, Wait
from sync_daemon.wire.limits import Limit, read_limits
from sync_daemon.wire.places import AGAIN

_ALL_HOSTS = "all origins"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_BUSY = frozenset((429, 503))
_TOO_MANY = 429
_PAUSE = 1.0
"""Seconds of rest after a 429 that names none; the retry of the one it hit waits as long."""

_BURST = 0.5
"""Seconds of the operator's rate that may go out at once."""

_TOLD = 60.0
"""Seconds between two events about the operator's own limit."""

_WORTH_TELLING = 1.0
_MOST_HOSTS = 256
_MOST_KINDS = 64


@dataclass(slots=True)
class _Host:
    """What is known of a host; `names` tells the budgets of each kind of request."""

    name: str
    whole: Budget
    budgets: dict[str, Budget] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pending: Counter[str] = field(default_factory=Counter)

    def of(self, kind: str) -> tuple[Budget, ...]:
        """Return the budgets that a request must pass, the one to stand in line for last."""
        return (self.whole, *(self.budgets[name] for name in self.names.get(kind, ())))

    def unanswered(self, budget: Budget) -> int:
        """Return how many requests of a budget are under way."""
        if budget is self.whole:
            return self.pending.total()
        kinds = [kind for kind, names in self.names.items() if budget.name in names]
        return sum(self.pending[kind] for kind in kinds)


class Governor:
    """One for all origins of a process.

    `request_rate` is in requests per second, 0 for no limit of our own; `connections` is how
    many may ask at once.
    """

    def __init__(
        self, clock: Clock, emit: Emit, *, request_rate: float = 0.0, connections: int = 16
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._rate = request_rate
        self._connections = connections
        self._lock = threading.Lock()
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._free_at = clock.monotonic() - _BURST
        self._told: dict[tuple[str, str], float] = {}
        self._own = threading.local()

    @property
    def waited(self) -> float:
        """Seconds that this thread ever waited here, in line too: take two looks' difference."""
        seconds: float = getattr(self._own, "waited", 0.0)
        return seconds

    def before(self, host: str, target: str) -> Turn:
        """Wait until a request for `target` may go out to `host`.

        The turn that is returned must be ended, by its block or by `close`. Raises
        Interrupted when the process is to stop, OriginUnavailable when the server wants to
        be left alone for longer than anybody waits.
        """
        kind, began = kind_of(target), self._clock.monotonic()
        with self._lock:
            known = self._host(host)
            budget = known.of(kind)[-1]
            budget.queue += 1
        try:
            with budget.turnstile:
                return self._pass(known, kind, budget)
        finally:
            with self._lock:
                budget.queue -= 1
            self._own.waited = self.waited + self._clock.monotonic() - began

    def _pass(self, host: _Host, kind: str, line: Budget) -> Turn:
        slot: float | None = None
        while True:
            with self._lock:
                now = self._clock.monotonic()
                budgets = host.of(kind)
                waits = (one.wait(now, host.unanswered(one)) for one in budgets)
                wait = max(filter(None, waits), key=lambda one: one.seconds, default=None)
                if wait is None and slot is None:
                    slot = self._reserve(now)
                if wait is None and slot is not None and slot > now:
                    wait = Wait(slot - now, "request_rate", _TOLD)
                if wait is None:
                    host.pending[kind] += 1
                    first = tuple(one for one in budgets if one.take(now))
                    return Turn(self, host, kind, first)
            self._wait(host, line, wait)

    def end(
        self, host: _Host, kind: str, first: tuple[Budget, ...], answer: tuple[int, Fields] | None
    ) -> None:
        """Note that a request is over, and learn from its answer: the business of a `Turn`."""
        status, headers = answer or (0, _NO_HEADERS)
        limits = read_limits(headers, self._clock.now())
        wish = retry_after(headers) if status in _BUSY else None
        if wish is None and status == _TOO_MANY:
            wish = _PAUSE
        with self._lock:
            host.pending[kind] -= 1
            now = self._clock.monotonic()
            if answer is not None and status not in _BUSY:
                for budget in first:
                    budget.arrive()
            if names := tuple(limit.name for limit in limits if limit.name):
                host.names[kind] = names
            budgets = [self._note(host, limit, now) for limit in limits]
            used_up = [one for one, told in zip(budgets, limits, strict=True) if not told.left]
            for budget in (used_up or [host.whole]) if wish else []:
                budget.hold(wish or 0.0, now)

    def _note(self, host: _Host, limit: Limit, now: float) -> Budget:
        budget = host.whole
        if limit.name:
            budget = host.budgets.setdefault(limit.name, Budget(limit.name, self._connections))
        budget.learn(limit, now)
        return budget

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, Budget("", self._connections))
            if len(self._hosts) > _MOST_HOSTS:
                self._hosts.popitem(last=False)
        if len(host.names) > _MOST_KINDS or len(host.budgets) > _MOST_KINDS:
            host.names.clear()
            host.budgets.clear()
        self._hosts.move_to_end(name)
        return host

    def _reserve(self, now: float) -> float:
        """Return when the operator's limit lets this request out."""
        if not self._rate:
            return now
        slot = max(self._free_at, now - _BURST)
        self._free_at = slot + 1 / self._rate
        return slot

    def _wait(self, host: _Host, line: Budget, wait: Wait) -> None:
        if wait.reason == "spread":  # our own choice, and no reason to fail
            wait = replace(wait, seconds=min(wait.seconds, LONGEST))
        if wait.seconds > LONGEST:
            message = f"{host.name}: asks to be left alone for {wait.seconds:.0f} s"
            raise OriginUnavailable(message, hint=AGAIN, retry_after=wait.seconds)
        self._tell(host, line, wait)
        if self._clock.wait(wait.seconds):
            message = f"{host.name}: interrupted while waiting for its limit on requests"
            raise Interrupted(message)

    def _tell(self, host: _Host, line: Budget, wait: Wait) -> None:
        """Emit an event for a wait that is worth it, once for all who wait for the same."""
        in_line = wait.reason in {"spread", "request_rate"}
        seconds = wait.seconds * line.queue if in_line else wait.seconds
        if seconds <= _WORTH_TELLING or wait.reason == "answer":
            return
        own = wait.reason == "request_rate"
        key = (_ALL_HOSTS, "") if own else (host.name, line.name)
        with self._lock:
            now = self._clock.monotonic()
            if now < self._told.get(key, now):
                return
            self._told = {key: until for key, until in self._told.items() if until > now}
            self._told[key] = now + max(wait.lasts, seconds)
        self._emit(
            OriginThrottled(
                host=key[0],
                seconds=round(seconds, 3),
                reason=wait.reason,
                limit=line.name if not own and line.name else None,
            )
        )


class Turn:
    """One request that may go out now. It is over with its answer's headers, or at the end of
    the block if none came."""

    def __init__(
        self, governor: Governor, host: _Host, kind: str, first: tuple[Budget, ...]
    ) -> None:
        self._governor = governor
        self._host = host
        self._kind = kind
        self._first = first
        self._open = True

    def after(self, status: int, headers: Fields) -> None:
        """Learn from the answer."""
        self._end((status, headers))

    def close(self) -> None:
        """Give the turn up if no answer came."""
        self._end(None)

    def _end(self, answer: tuple[int, Fields] | None) -> None:
        if self._open:
            self._open = False
            self._governor.end(self._host, self._kind, self._first, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def kind_of(target: str) -> str:
    """Return the kind of request: what follows `api` in its path, or nothing.

    An endpoint may have a path of its own before it.
    """
    segments = target.partition("?")[0].split("/")
    if "api" not in segments:
        return ""
    return "/".join(segments[segments.index("api") :][:2])
