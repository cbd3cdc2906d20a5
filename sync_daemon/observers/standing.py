"""What metrics compute when they are asked: how versions stand, and how origins answer.

Both grow old by themselves, so that no event could keep them right: they are collectors,
which Prometheus' client asks at each scrape.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from sync_daemon.domain.report import EndpointTally
from sync_daemon.observers.declared import Declared

Now = Callable[[], float]
"""Seconds since 1970."""

WITHIN = 86_400.0
"""Seconds over which the share of successful requests is taken."""

_BUCKET = 900.0
_GOOD = frozenset(("published", "unchanged"))
_SETTLED = _GOOD | {"held"}


class Versions:
    """The last outcome and the last success of each declared version."""

    def __init__(self, declared: Declared, now: Now) -> None:
        self._declared = declared
        self._now = now
        self._lock = threading.Lock()
        self._states: dict[tuple[str, str], str] = {}
        self._successes: dict[tuple[str, str], float] = {}
        self._settled = dict.fromkeys(declared.versions, now())
        self._told: set[tuple[str, str]] = set()

    def settle(self, model: str, version: str, state: str) -> None:
        """Take note of an outcome."""
        key = model, version
        with self._lock:
            self._told.add(key)
            if not self._declared.has_version(model, version):
                return
            self._states[key] = state
            self._settled.setdefault(key, self._now())
            if state in _GOOD:
                self._successes[key] = self._now()
            if state in _SETTLED:
                self._settled[key] = self._now()

    def remember(self, model: str, version: str, when: float) -> None:
        """Take note of a success before this process began, unless a later one is known."""
        key = model, version
        with self._lock:
            if self._declared.has_version(model, version):
                self._successes[key] = self._settled[key] = max(when, self._successes.get(key, 0.0))

    def begin_run(self) -> None:
        """Begin to take note of which versions a run looks at."""
        with self._lock:
            self._told.clear()

    def end_run(self, versions: int) -> None:
        """Forget versions whose tag is no longer asked for.

        A run that told of all its versions tells of every tag of a model, or of none.
        """
        with self._lock:
            if len(self._told) != versions or any(v.startswith("tags:") for _, v in self._told):
                return
            models = {model for model, _ in self._told}
            kept = self._told | self._declared.versions
            self._forget(lambda key: key in kept or key[0] not in models)

    def declare(self, declared: Declared) -> None:
        """Forget what is no longer declared."""
        with self._lock:
            self._declared = declared
            self._forget(lambda key: declared.has_version(*key))
            for key in declared.versions:
                self._settled.setdefault(key, self._now())

    def _forget(self, keep: Callable[[tuple[str, str]], bool]) -> None:
        for known in (self._states, self._successes, self._settled):
            for key in [key for key in known if not keep(key)]:
                del known[key]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the versions."""
        with self._lock:
            states, successes = sorted(self._states.items()), sorted(self._successes.items())
            oldest = min(self._settled.values(), default=None)
        version = ("model", "version")
        state = GaugeMetricFamily(
            "sync_daemon_version_state",
            "What became of a version in its last run; the value is always 1.",
            labels=(*version, "state"),
        )
        success = GaugeMetricFamily(
            "sync_daemon_last_success_timestamp_seconds",
            "When a version was last found as declared, or made so.",
            labels=version,
        )
        for key, value in states:
            state.add_metric((*key, value), 1.0)
        for key, when in successes:
            success.add_metric(key, when)
        lag = 0.0 if oldest is None else max(0.0, self._now() - oldest)
        yield state
        yield success
        yield GaugeMetricFamily(
            "sync_daemon_lag_seconds",
            "Time since the last success of the declared version that waits longest; one that"
            " never had any waits since the start, one on hold does not wait.",
            value=lag,
        )


class Answers:
    """How requests to each endpoint ended within the last day."""

    def __init__(self, declared: Declared, now: Now) -> None:
        self._declared = declared
        self._now = now
        self._lock = threading.Lock()
        self._counts: dict[str, dict[int, list[int]]] = {}
        self._last: dict[tuple[str, str], bool] = {}

    def count(self, origin: str, endpoint: str, *, failed: bool) -> None:
        """Count a request that has ended."""
        bucket = int(self._now() // _BUCKET)
        with self._lock:
            if (origin, endpoint) not in self._declared.endpoints:
                return
            counts = self._counts.setdefault(origin, {}).setdefault(bucket, [0, 0])
            counts[0] += 1
            counts[1] += failed
            self._last[origin, endpoint] = not failed

    def remember(self, tally: EndpointTally, when: float) -> None:
        """Count the requests of a former run; how the last one ended is not known."""
        with self._lock:
            if (tally.origin, tally.endpoint) in self._declared.endpoints:
                buckets = self._counts.setdefault(tally.origin, {})
                counts = buckets.setdefault(int(when // _BUCKET), [0, 0])
                counts[0] += tally.requests
                counts[1] += tally.failures

    def declare(self, declared: Declared) -> None:
        """Forget what is no longer declared."""
        with self._lock:
            self._declared = declared
            for key in [key for key in self._last if key not in declared.endpoints]:
                del self._last[key]
            for origin in [one for one in self._counts if one not in declared.origins]:
                del self._counts[origin]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the origins that were asked."""
        ratio = GaugeMetricFamily(
            "sync_daemon_success_ratio",
            "Share of the requests to an origin within a day that did not fail.",
            labels=("origin",),
        )
        up = GaugeMetricFamily(
            "sync_daemon_origin_up",
            "1 while the last request to at least one endpoint of an origin did not fail.",
            labels=("origin",),
        )
        oldest = int((self._now() - WITHIN) // _BUCKET)
        with self._lock:
            for origin, buckets in sorted(self._counts.items()):
                for bucket in [bucket for bucket in buckets if bucket <= oldest]:
                    del buckets[bucket]
                requests = sum(one[0] for one in buckets.values())
                if requests:
                    failures = sum(one[1] for one in buckets.values())
                    ratio.add_metric((origin,), 1.0 - failures / requests)
                last = [well for (name, _), well in self._last.items() if name == origin]
                if last:
                    up.add_metric((origin,), float(any(last)))
        yield ratio
        yield up
