"""What is known of one endpoint: how it answers, how fast, and whether it rests.

Nothing here locks or tells anybody; `endpoints` does both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

FIRST_REST = 30.0
"""Seconds of the first rest; each one that follows without a success doubles."""

LONGEST_REST = 600.0
"""Seconds that no rest exceeds, whatever the server wishes."""

PROBE = 30.0
"""Seconds in which one request alone finds out whether a rested endpoint is well again."""

GAIN = 1.3
"""How many times better another endpoint must be: less would make the two take turns."""

ENOUGH = 3
"""Measurements without which no endpoint is compared with another."""

FRESH = 600.0
"""Seconds after which an endpoint that is not in use is measured again, by one request."""

_WEIGHT = 0.3
_BUCKETS = 96


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of an origin. The lowest `priority` comes first; equal ones are measured."""

    url: str
    priority: int = 1


@dataclass(slots=True)
class Average:
    """A moving average: the newest value weighs 0.3, all before it the rest."""

    value: float = 0.0
    samples: int = 0
    asked: int = 0
    asked_at: float = 0.0

    def add(self, value: float) -> None:
        """Take a measurement."""
        weight = _WEIGHT if self.samples else 1.0
        self.value += weight * (value - self.value)
        self.samples += 1

    def wants_more(self, now: float) -> bool:
        """Tell whether a request should be spent on measuring."""
        return self.asked < ENOUGH or now - self.asked_at > FRESH

    def ask(self, now: float) -> None:
        """Note that a request is spent."""
        self.asked, self.asked_at = self.asked + 1, now


@dataclass(slots=True)
class Flight:
    """A body that is under way; `together` is the most that were so at once while it ran."""

    together: int = 0


class Window:
    """Requests and failures of the last `within`, to a ninety-sixth of it."""

    def __init__(self, within: timedelta) -> None:
        self._within = within.total_seconds()
        self._width = max(1.0, self._within / _BUCKETS)
        self._buckets: dict[int, list[int]] = {}

    def add(self, when: datetime, requests: int, failures: int) -> None:
        """Count what happened at `when`."""
        bucket = self._buckets.setdefault(int(when.timestamp() // self._width), [0, 0])
        bucket[0] += requests
        bucket[1] += failures

    def count(self, now: datetime) -> tuple[int, int]:
        """Return requests and failures, and forget what is too old."""
        oldest = (now.timestamp() - self._within) // self._width
        for key in [key for key in self._buckets if key <= oldest]:
            del self._buckets[key]
        counts = self._buckets.values()
        return sum(one[0] for one in counts), sum(one[1] for one in counts)


@dataclass(slots=True)
class State:
    """An endpoint's state. Times are seconds of the monotonic clock."""

    endpoint: Endpoint
    window: Window
    requests: int = 0
    failures: int = 0
    latency: Average = field(default_factory=Average)
    speed: Average = field(default_factory=Average)
    level: int = 0
    since: float = 0.0
    until: float = 0.0
    probe_until: float = 0.0
    reason: str = ""
    flights: list[Flight] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return self.endpoint.url

    def count(self, when: datetime, requests: int, failures: int) -> None:
        """Count requests and failures of this run."""
        self.window.add(when, requests, failures)
        self.requests += requests
        self.failures += failures

    def begin_body(self) -> Flight:
        """Note that a body is under way, until `end_body`."""
        flight = Flight()
        self.flights.append(flight)
        for one in self.flights:
            one.together = max(one.together, len(self.flights))
        return flight

    def end_body(self, flight: Flight) -> None:
        """Note that a body is over."""
        self.flights = [one for one in self.flights if one is not flight]

    def is_resting(self, now: float) -> bool:
        """Tell whether others should be asked first."""
        return bool(self.level) and now < max(self.until, self.probe_until)

    def rest(self, now: float, reason: str, wish: float) -> float:
        """Rest, longer each time; return for how many seconds, 0 when it rests already.

        The many requests that fail together when a server goes down are one failure.
        """
        if self.level and now < self.until:
            return 0.0
        doubled = FIRST_REST * (1 << min(self.level, 16))
        seconds = min(max(doubled, wish), LONGEST_REST)
        self.level += 1
        self.since, self.until, self.reason = now, now + seconds, reason
        return seconds

    def recover(self, began: float) -> None:
        """End the rest, if what succeeded began after it did."""
        if self.level and began >= self.since:
            self.level, self.until, self.probe_until = 0, 0.0, 0.0

    def outdoes(self, other: State) -> bool:
        """Tell whether this one is clearly better: in speed, or, where that is alike, latency."""
        if _comparable(self.speed, other.speed):
            if self.speed.value >= GAIN * other.speed.value:
                return True
            if other.speed.value >= GAIN * self.speed.value:
                return False
        return (
            _comparable(self.latency, other.latency)
            and self.latency.value * GAIN <= other.latency.value
        )

    def explain_gain(self, other: State) -> str:
        """Say in what it outdoes another."""
        if _comparable(self.speed, other.speed) and self.speed.value >= GAIN * other.speed.value:
            mine, others = self.speed.value / 1e6, other.speed.value / 1e6
            return f"higher speed {mine:.1f} MB/s vs {others:.1f} MB/s"
        mine, others = self.latency.value * 1000, other.latency.value * 1000
        return f"lower latency {mine:.0f} ms vs {others:.0f} ms"


def _comparable(one: Average, other: Average) -> bool:
    return min(one.samples, other.samples) >= ENOUGH
