"""What /healthz, /readyz and /metrics answer.

/healthz: the process answers. /readyz: the store can be reached, runs come as they should,
and the last one could be made; otherwise 503 with the reasons. A probe never waits for a slow
store behind another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from sync_daemon.daemon.web import Answer, Handler, Routes
from sync_daemon.domain import keys
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.events import (
    BlobStored,
    BytesMoved,
    Event,
    RunFailed,
    RunFinished,
    RunStarted,
    VerifyFinished,
    VersionFailed,
    VersionPassed,
    VersionPublished,
    VersionRefused,
    VersionUnchanged,
)
from sync_daemon.observers.metrics import CONTENT_TYPE
from sync_daemon.ports import ObjectStore

Check = Callable[[], str | None]
"""Returns why something is not ready, or None."""

_SIGNS = (
    RunStarted,
    RunFinished,
    BytesMoved,
    BlobStored,
    VersionPublished,
    VersionUnchanged,
    VersionRefused,
    VersionFailed,
    VersionPassed,
)


def health_routes(exposition: Callable[[], bytes], checks: Mapping[str, Check]) -> Routes:
    """Return the routes of metrics and health."""
    return {
        ("GET", "/metrics"): lambda _: Answer(body=exposition(), type=CONTENT_TYPE),
        ("GET", "/healthz"): lambda _: Answer.text("alive"),
        ("GET", "/readyz"): _readiness(checks),
    }


def _readiness(checks: Mapping[str, Check]) -> Handler:
    def answer(_: object) -> Answer:
        found = {name: check() for name, check in checks.items()}
        reasons = [f"{name}: {reason}" for name, reason in found.items() if reason is not None]
        return Answer.text("\n".join(reasons), 503) if reasons else Answer.text("ready")

    return answer


def reach(store: ObjectStore) -> Check:
    """Return a check that asks the store for one small thing."""

    def check() -> str | None:
        try:
            store.stat(keys.MARKER)
        except SyncError as error:
            return str(error)
        return None

    return check


class Remembered:
    """A check whose result holds for a while, and which is not made twice at a time."""

    def __init__(self, check: Check, monotonic: Callable[[], float], seconds: float = 5.0) -> None:
        self._check = check
        self._monotonic = monotonic
        self._seconds = seconds
        self._lock = threading.Lock()
        self._result: str | None = "is asked for the first time"
        self._until = monotonic()

    def __call__(self) -> str | None:
        """Return the result, the former one while another thread asks."""
        if self._lock.acquire(blocking=False):
            try:
                if self._monotonic() >= self._until:
                    self._result = self._check()
                    self._until = self._monotonic() + self._seconds
            finally:
                self._lock.release()
        return self._result


class Punctuality:
    """A listener that knows whether runs come, and go on, within an allowance.

    A run of days is punctual as long as it moves; one that hangs is not.
    """

    def __init__(self, monotonic: Callable[[], float], allowance: timedelta) -> None:
        self._monotonic = monotonic
        self._allowance = allowance.total_seconds()
        self._last = monotonic()

    def __call__(self, event: Event) -> None:
        """Take note of a sign of life."""
        if isinstance(event, _SIGNS):
            self._last = self._monotonic()

    def allow(self, allowance: timedelta) -> None:
        """Take another allowance, after the schedule changed."""
        self._allowance = allowance.total_seconds()

    def check(self) -> str | None:
        """Return why runs are not as they should be, or None."""
        silent = self._monotonic() - self._last
        if silent <= self._allowance:
            return None
        return (
            f"no run has ended or moved anything for {silent:,.0f} seconds;"
            f" {self._allowance:,.0f} are allowed"
        )


class Makeable:
    """A listener that knows whether runs can be made at all: a failure counts until a run is
    finished, or the verification that failed is."""

    def __init__(self) -> None:
        self._failure: RunFailed | None = None

    def __call__(self, event: Event) -> None:
        """Take note of a failure, or of its end."""
        failure = self._failure
        if isinstance(event, RunFailed):
            self._failure = event
        elif isinstance(event, RunFinished) or (
            isinstance(event, VerifyFinished) and failure and failure.job == event.job
        ):
            self._failure = None

    def check(self) -> str | None:
        """Return why the last run could not be made, or None."""
        failure = self._failure
        return f"{failure.job}: {failure.error}" if failure else None
