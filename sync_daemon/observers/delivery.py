"""Hands alerts to sinks (apprise_sink.py, alertmanager.py), each from a thread of its own.

    send -> bounded queue of each sink -> [gather, deliver, wait, again ...] -> gone, or given up

Nobody who sends ever waits. What comes within a moment goes out as one message, so that an
origin that is down does not ring a hundred times. A failed delivery is tried again, later each
time, until it is too old; then, and when a queue is full, `alert.undelivered` says so. Nothing
of what a sink says is repeated: it may hold the sink's address, which is a secret.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from sync_daemon.domain.alerts import Alert, Key
from sync_daemon.domain.events import AlertUndelivered
from sync_daemon.ports import Emit


class Undelivered(Exception):
    """A sink did not take the alerts. Its text holds nothing of the sink's address."""


class Sink(Protocol):
    """Somewhere alerts go. `name` is how messages call it, without its address."""

    name: str
    forgets: bool
    """Whether it wants to hear of what fires again and again."""

    def deliver(self, alerts: Sequence[Alert]) -> None:
        """Hand them over, within some seconds. Raises Undelivered, or anything else."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: `gather` before a message goes out, `first` wait after a failure (doubled each
    time, up to `longest`), and how old a message grows before it is given up. `room`: alerts
    that may wait; `refresh`: between two reminders to who forgets."""

    gather: float = 1.0
    first: float = 2.0
    longest: float = 300.0
    give_up: float = 3600.0
    room: int = 1000
    refresh: float = 300.0


class _Channel:
    """The queue and the thread of one sink."""

    def __init__(self, sink: Sink, patience: Patience) -> None:
        self._sink = sink
        self._patience = patience
        self.emit: Emit = lambda _: None
        self._changed = threading.Condition()
        self._waiting: deque[Alert] = deque()
        self._taken: tuple[Alert, ...] = ()
        self._reminder: tuple[Alert, ...] = ()
        self._dropped = 0
        self._closing = False
        self._deadline = 0.0
        self.failed: set[Key] = set()
        self._thread = threading.Thread(target=self._work, name=f"alerts {sink.name}", daemon=True)
        self._thread.start()

    def send(self, alerts: Collection[Alert]) -> None:
        with self._changed:
            self._waiting.extend(alerts)
            while len(self._waiting) > self._patience.room:
                self.failed.add(self._waiting.popleft().finding.key)
                self._dropped += 1
            self._changed.notify_all()

    def remind(self, alerts: Collection[Alert]) -> None:
        with self._changed:
            self._reminder = tuple(alerts)
            self._changed.notify_all()

    def close(self, deadline: float) -> None:
        """Wait for what is under way until `deadline`; the rest counts as failed."""
        with self._changed:
            self._closing, self._deadline = True, deadline
            self._changed.notify_all()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = (*self._taken, *self._waiting)
            self._waiting.clear()
        self.failed.update(alert.finding.key for alert in left)
        if left:
            self._complain(len(left), 0, "the process ends")

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            alerts, reminder = batch
            if reminder:
                self._try(reminder)
            if alerts:
                self._deliver(alerts)

    def _next(self) -> tuple[tuple[Alert, ...], tuple[Alert, ...]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._reminder or self._closing)
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, self._patience.gather)
            if self._closing and not (self._waiting or self._reminder):
                return None
            dropped, self._dropped = self._dropped, 0
            self._taken, reminder = tuple(self._waiting), self._reminder
            self._waiting.clear()
            self._reminder = ()
        if dropped:
            self._complain(dropped, 0, "too many alerts are waiting")
        return self._taken, reminder

    def _deliver(self, alerts: tuple[Alert, ...]) -> None:
        """Try until it works, or it is too old, or the process ends."""
        began, wait, attempts = time.monotonic(), self._patience.first, 0
        while (error := self._try(alerts)) is not None:
            attempts += 1
            too_old = time.monotonic() - began + wait > self._patience.give_up
            if too_old or self._pause(wait):
                self.failed.update(alert.finding.key for alert in alerts)
                self._complain(len(alerts), attempts, error)
                break
            wait = min(2 * wait, self._patience.longest)
        else:
            self.failed.difference_update(alert.finding.key for alert in alerts)
        with self._changed:
            self._taken = ()

    def _pause(self, seconds: float) -> bool:
        """Wait; return whether the process ends and there is no time for another try.

        That it begins to end is a reason to try at once.
        """
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, seconds)
                return False
            if time.monotonic() + seconds >= self._deadline:
                return True
            self._changed.wait(seconds)
            return False

    def _try(self, alerts: tuple[Alert, ...]) -> str | None:
        try:
            self._sink.deliver(alerts)
        except Undelivered as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - other people's code; its text may be secret
            return type(error).__name__
        return None

    def _complain(self, alerts: int, attempts: int, error: str) -> None:
        name = self._sink.name
        self.emit(AlertUndelivered(sink=name, alerts=alerts, attempts=attempts, error=error))


class Delivery:
    """Sends to all sinks; without any, nowhere."""

    def __init__(self, sinks: Collection[Sink] = (), patience: Patience = Patience()) -> None:
        self._patience = patience
        self._channels = [_Channel(sink, patience) for sink in sinks]
        self._forgetful = [
            channel for sink, channel in zip(sinks, self._channels, strict=True) if sink.forgets
        ]
        self._reminded = float("-inf")

    def attach(self, emit: Emit) -> None:
        """Say who is told of what could not be delivered."""
        for channel in self._channels:
            channel.emit = emit

    def send(self, alerts: Collection[Alert]) -> None:
        """Queue alerts; never waits."""
        for channel in self._channels:
            channel.send(alerts)

    def refresh(self, alerts: Collection[Alert]) -> None:
        """Remind who forgets of all that fires, now and then; never waits."""
        now = time.monotonic()
        if alerts and now - self._reminded >= self._patience.refresh:
            self._reminded = now
            for channel in self._forgetful:
                channel.remind(alerts)

    def close(self, seconds: float) -> frozenset[Key]:
        """Deliver what waits for so many seconds at most; return what no sink took."""
        deadline = time.monotonic() + seconds
        for channel in self._channels:
            channel.close(deadline)
        if not self._channels:
            return frozenset()
        return frozenset.intersection(*(frozenset(one.failed) for one in self._channels))
