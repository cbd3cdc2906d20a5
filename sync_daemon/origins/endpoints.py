"""The endpoints of one origin: which is asked first, and what is remembered of each.

A sample is one request: a question about a repository, or a file's body from its opening to
its end. OriginUnavailable, OriginLied and DigestMismatch are failures; a refusal is an answer.

Order: an endpoint that rests, or that failed too often within a day, comes after the others;
then the lower priority number; then, among equals, what was measured. Every request goes on
to the next endpoint when one fails, so that neither rest nor rank ever makes a run fail. A
body that breaks off after some progress is a failure, but only a second one of the same file
makes the endpoint rest and sends the file elsewhere: long bodies break now and then.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from sync_daemon import meter
from sync_daemon.domain.errors import (
    ConfigurationError,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    SyncError,
    TooSlow,
)
from sync_daemon.domain.events import (
    EndpointAsked,
    EndpointMeasured,
    EndpointRested,
    EndpointSwitched,
    Event,
)
from sync_daemon.domain.report import EndpointTally
from sync_daemon.origins.body import WatchedBody
from sync_daemon.origins.endpoint import PROBE, Average, Endpoint, Flight, State, Window
from sync_daemon.ports import Clock, Emit, History, Reader
from sync_daemon.wire.places import place_of

_T = TypeVar("_T")
_Failure = OriginUnavailable | OriginLied

LEAST_SAMPLES = 20
"""Requests without which a share of failures says nothing."""

_FAILURES = (OriginUnavailable, OriginLied)
_TRUSTED_BREAKS = 1
_PROGRESS = 64 * 1024
_LEAST_BODY = 1024 * 1024
_FILES_KEPT = 1024
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class FailureRule:
    """More than this share of failures makes another endpoint the first, if `switch`."""

    above: float = 0.2
    within: timedelta = _DAY
    switch: bool = True


@dataclass(slots=True)
class _FileRecord:
    """Who sent how many bytes of a file, and how often each endpoint broke off or lied."""

    sent: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)


class Endpoints:
    """Ranks the endpoints of an origin, and asks them in that order."""

    def __init__(
        self,
        origin: str,
        endpoints: Iterable[Endpoint],
        *,
        clock: Clock,
        emit: Emit,
        rule: FailureRule = FailureRule(),
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`waited` returns for how many seconds this thread ever kept its requests back."""
        self._origin = origin
        self._clock = clock
        self._emit = emit
        self._rule = rule
        self._waited = waited
        self._lock = threading.Lock()
        self._learning = threading.Lock()
        self._history: History | None = None
        self._files: OrderedDict[Hashable, _FileRecord] = OrderedDict()
        clean = [Endpoint(_clean(origin, one.url), one.priority) for one in endpoints]
        clean.sort(key=lambda one: one.priority)  # stable: their order in the YAML stays
        self._states = [State(one, Window(rule.within)) for one in clean]
        self._current = self._states[0]
        self._top = [one.url for one in clean if one.priority == clean[0].priority]

    @property
    def urls(self) -> tuple[str, ...]:
        """All of them, by priority."""
        return tuple(state.url for state in self._states)

    def begin(self, history: History) -> None:
        """Begin a run. `history` is called when the order first matters, if it ever does."""
        with self._lock:
            self._history = history if len(self._states) > 1 else None
            for state in self._states:
                state.window = Window(self._rule.within)
                state.requests = state.failures = 0

    def tallies(self) -> tuple[EndpointTally, ...]:
        """Return what was asked since `begin`; nothing of those that were not asked."""
        with self._lock:
            return tuple(
                EndpointTally(self._origin, one.url, one.requests, one.failures)
                for one in self._states
                if one.requests
            )

    def ask(self, work: Callable[[str], _T]) -> _T:
        """Return what `work` returns for the first endpoint at which it succeeds.

        Raises a refusal if every endpoint of the first priority refuses: a mirror that lacks
        a repository must not hide that the Hub was only down.
        """
        state, began, answer = self._try_each(work, self._order())
        self._succeed(state, began)
        return answer

    def open(self, work: Callable[[str], Reader], about: Hashable, size: int) -> Reader:
        """Open a body of the file `about`, as `ask` does; its end is judged as well.

        `size` is in bytes: a short body says nothing of the speed.
        """
        state, began, reader = self._try_each(work, self._order(about, size))
        with self._lock:
            flight = state.begin_body()

        def judge(body: WatchedBody, error: BaseException | None) -> None:
            self._judge_body(state, flight, body, error, about=about, began=began)

        return WatchedBody(reader, self._clock, judge)

    @contextmanager
    def timed(self, url: str) -> Iterator[None]:
        """Measure the latency of an endpoint by a request that is answered shortly.

        What we kept the request back for ourselves is no latency.
        """
        began, waited = self._clock.monotonic(), self._waited()
        yield
        seconds = max(0.0, self._clock.monotonic() - began - (self._waited() - waited))
        with self._lock:
            self._state(url).latency.add(seconds)
        self._tell(EndpointMeasured(self._origin, url, round(seconds, 6)))

    def distrust(self, about: Hashable, reason: SyncError) -> None:
        """Take note that the bytes of a file were wrong: it is for others to send it now.

        Who sent any of them is suspect; if that is everybody, who sent most.
        """
        events: list[Event | None] = []
        with self._lock:
            record = self._record(about)
            senders = [state for state in self._states if record.sent[state.url]]
            if len(senders) == len(self._states):
                senders = [max(senders, key=lambda state: record.sent[state.url])]
            record.sent.clear()
            for state in senders:
                record.strikes[state.url] += _TRUSTED_BREAKS + 1
                state.count(self._clock.now(), 0, 1)
                events.append(self._rest(state, reason))
        self._tell(*events)

    # -- asking ------------------------------------------------------------------------

    def _try_each(self, work: Callable[[str], _T], order: list[State]) -> tuple[State, float, _T]:
        failures: dict[str, SyncError] = {}
        for state in order:
            began = self._clock.monotonic()
            try:
                return state, began, work(state.url)
            except _FAILURES as error:
                failures[state.url] = error
                self._fail(state, error)
            except OriginRefused as error:
                failures[state.url] = error
                with self._lock:
                    state.count(self._clock.now(), 1, 0)
                self._tell(self._asked(state))
                if all(isinstance(failures.get(url), OriginRefused) for url in self._top):
                    break
        first = [failures[url] for url in self._top]
        raise next((error for error in first if not isinstance(error, OriginRefused)), first[0])

    def _order(self, about: Hashable = None, size: int | None = None) -> list[State]:
        if len(self._states) == 1:
            return self._states
        self._learn()
        with self._lock:
            now = self._clock.monotonic()
            ranked, equals = self._rank(now)
            if ranked[0].level and now >= ranked[0].until:
                ranked[0].probe_until = now + PROBE
            if (scout := _scout(equals, now, size)) is not None:
                ranked.remove(scout)
                ranked.insert(0, scout)
            if about in self._files:
                strikes = self._files[about].strikes
                ranked.sort(key=lambda state: max(0, strikes[state.url] - _TRUSTED_BREAKS))
            return ranked

    def _rank(self, now: float) -> tuple[list[State], list[State]]:
        """Return all, best first, and those that only a measurement can tell apart."""
        often = [state for state in self._states if self._fails_often(state)]
        if len(often) == len(self._states):
            often = []

        def standing(state: State) -> tuple[bool, bool, int]:
            return state.is_resting(now), state in often, state.endpoint.priority

        ranked = sorted(self._states, key=standing)
        equals = [state for state in ranked if standing(state) == standing(ranked[0])]
        best = self._current if self._current in equals else equals[0]
        for state in equals:
            if state.outdoes(best):
                best = state
        ranked.remove(best)
        return [best, *ranked], equals

    def _fails_often(self, state: State) -> bool:
        requests, failures = state.window.count(self._clock.now())
        often = requests >= LEAST_SAMPLES and failures > self._rule.above * requests
        return often and self._rule.switch

    def _learn(self) -> None:
        """Read the history of former runs; who asks meanwhile waits for it."""
        if self._history is None:
            return
        with self._learning:
            history = self._history
            if history is None:
                return
            with meter.use(meter.Meter(meter.subject())):  # it is not that version's cost
                past = history(self._clock.now() - self._rule.within)
            with self._lock:
                for one in past:
                    for state in self._states:
                        if (one.tally.origin, one.tally.endpoint) == (self._origin, state.url):
                            state.window.add(one.ended, one.tally.requests, one.tally.failures)
                self._history = None

    # -- judging: everything below `_tell` holds the lock -------------------------------

    def _succeed(self, state: State, began: float) -> None:
        with self._lock:
            state.count(self._clock.now(), 1, 0)
            state.recover(began)
            event = self._switch(state)
        self._tell(self._asked(state), event)

    def _fail(self, state: State, error: _Failure) -> None:
        with self._lock:
            state.count(self._clock.now(), 1, 1)
            event = self._rest(state, error)
        self._tell(self._asked(state, failed=True), event)

    def _judge_body(
        self,
        state: State,
        flight: Flight,
        body: WatchedBody,
        error: BaseException | None,
        *,
        about: Hashable,
        began: float,
    ) -> None:
        event: Event | None = None
        with self._lock:
            state.end_body(flight)
            record = self._record(about)
            record.sent[state.url] += body.size
            state.count(self._clock.now(), 1, int(isinstance(error, _FAILURES)))
            if isinstance(error, _FAILURES):
                record.strikes[state.url] += _strikes_for(error, body.size)
                if record.strikes[state.url] > _TRUSTED_BREAKS:
                    event = self._rest(state, error)
            elif error is None:
                if record.strikes[state.url] <= _TRUSTED_BREAKS:
                    record.strikes[state.url] = 0
                if body.size >= _LEAST_BODY and body.seconds > 0:
                    # Bodies share the server's speed: one alone would always look faster.
                    state.speed.add(body.size / body.seconds * flight.together)
                state.recover(began)
                event = self._switch(state)
        self._tell(self._asked(state, failed=isinstance(error, _FAILURES)), event)

    def _asked(self, state: State, *, failed: bool = False) -> Event:
        return EndpointAsked(self._origin, state.url, failed)

    def _tell(self, *events: Event | None) -> None:
        for event in events:
            if event is not None:
                self._emit(event)

    def _rest(self, state: State, error: SyncError) -> Event | None:
        if len(self._states) == 1:
            return None
        wish = error.retry_after if isinstance(error, OriginUnavailable) else None
        seconds = state.rest(self._clock.monotonic(), str(error), wish or 0.0)
        if not seconds:
            return None
        return EndpointRested(self._origin, state.url, seconds, str(error))

    def _switch(self, state: State) -> Event | None:
        """Make an endpoint that just succeeded the one in use, if it is the best now."""
        if state is self._current or len(self._states) == 1:
            return None
        if self._rank(self._clock.monotonic())[0][0] is not state:
            return None
        old, self._current = self._current, state
        return EndpointSwitched(self._origin, old.url, state.url, self._explain(old, state))

    def _explain(self, old: State, new: State) -> str:
        if old.is_resting(self._clock.monotonic()):
            return f"resting after: {old.reason}"
        if self._fails_often(old) and not self._fails_often(new):
            requests, failures = old.window.count(self._clock.now())
            return f"{failures} of {requests} requests failed within {_say(self._rule.within)}"
        if new.endpoint.priority < old.endpoint.priority:
            return "answers again, and comes first by its priority"
        return new.explain_gain(old)

    def _state(self, url: str) -> State:
        return next(state for state in self._states if state.url == url)

    def _record(self, about: Hashable) -> _FileRecord:
        record = self._files.setdefault(about, _FileRecord())
        self._files.move_to_end(about)
        if len(self._files) > _FILES_KEPT:
            self._files.popitem(last=False)
        return record


def _scout(equals: list[State], now: float, size: int | None) -> State | None:
    """Return an endpoint that this request may be spent on, to measure it.

    `size` is that of a body in bytes, None for a question about a repository.
    """
    if len(equals) == 1 or (size is not None and size < _LEAST_BODY):
        return None

    def average(state: State) -> Average:
        return state.latency if size is None else state.speed

    wanting = [state for state in equals if average(state).wants_more(now)]
    if not wanting:
        return None
    scout = min(wanting, key=lambda state: average(state).asked)
    average(scout).ask(now)
    return scout


def _strikes_for(error: _Failure, size: int) -> int:
    """Return one strike for a break after some progress; what lies or crawls is out at once."""
    broke_off = isinstance(error, OriginUnavailable) and not isinstance(error, TooSlow)
    return 1 if broke_off and size >= _PROGRESS else _TRUSTED_BREAKS + 1


def _say(span: timedelta) -> str:
    if span == _DAY:
        return "a day"
    hours = span.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"


def _clean(origin: str, url: str) -> str:
    try:
        place_of(url)
    except ValueError as error:
        message = f"origin {origin!r}: an endpoint is wrong: {error}"
        raise ConfigurationError(message, hint="write it as https://host") from error
    return url.rstrip("/")
