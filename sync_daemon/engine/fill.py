"""Fills a buffer from an origin: throttled, watched for speed, continued where it broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sync_daemon import meter
from sync_daemon.domain.errors import (
    DigestMismatch,
    Interrupted,
    OriginLied,
    OriginUnavailable,
    TooSlow,
)
from sync_daemon.domain.events import BytesMoved
from sync_daemon.engine.blob import Fetch
from sync_daemon.engine.pace import Lap, Pace
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.ports import Clock, Emit, Reader

_PAUSE = 0.1
"""Seconds before an answer that broke after some progress is continued."""

_SOON = 0.25
"""Seconds that a chunk may take before what has come of it is accounted for."""

_PROGRESS = 64 * 1024
"""Bytes after which a broken answer was not in vain and does not count as a failed attempt,
unless they came more slowly than is allowed."""


@dataclass(slots=True)
class Waiting:
    """Bytes, and the seconds that they were waited for, of one range and all its answers."""

    bytes: int = 0
    seconds: float = 0.0

    def add(self, count: int, seconds: float) -> None:
        """Note what came."""
        self.bytes, self.seconds = self.bytes + count, self.seconds + seconds

    def take(self) -> float:
        """Return the bytes per second, and begin anew."""
        speed = self.bytes / self.seconds
        self.bytes, self.seconds = 0, 0.0
        return speed


@dataclass(frozen=True, slots=True)
class Filler:
    """`min_speed` is in bytes per second over `patience` seconds of waiting on the socket."""

    retry: Retry
    throttle: Throttle
    clock: Clock
    emit: Emit
    pace: Pace
    min_speed: int
    patience: float

    def fill(
        self,
        fetch: Fetch,
        start: int,
        view: memoryview,
        *,
        alive: Callable[[], bool],
        filled: Callable[[int], None],
    ) -> None:
        """Read bytes from `start` on until `view` is full; `filled(n)` tells how far it is.

        Raises Unavailable or OriginLied when patience has run out, what else the origin
        raises, DigestMismatch when the bytes of two answers may not belong together, and
        Interrupted as soon as `alive()` is false.
        """
        done, lap, waiting = 0, Lap(self.pace, fetch.origin.name), Waiting()

        def read_on() -> None:
            nonlocal done
            before, waited = done, 0.0
            try:
                with self._open_rest(fetch, start, view[:done], len(view), alive) as reader:
                    for count, seconds in self.pump(fetch, reader, view[done:], alive, waiting):
                        done, waited = done + count, waited + seconds
                        filled(done)
                        if lap.lags(count, seconds) and fetch.file.ranges:
                            return  # the rest of it is asked for anew
            except OriginUnavailable as error:
                slow = done - before < self.min_speed * waited
                if done - before < _PROGRESS or slow or isinstance(error, TooSlow):
                    raise
                if self.clock.wait(_PAUSE):
                    raise Interrupted(f"{fetch}: stopped") from error
            except OriginLied as error:
                if done > before and not fetch.promised:
                    message = f"{fetch}: nothing tells whether what came is right: {error}"
                    raise DigestMismatch(message, hint=error.hint) from error
                raise

        while done < len(view):
            self.retry(f"fetch {fetch}", read_on)

    @contextmanager
    def _open_rest(
        self,
        fetch: Fetch,
        start: int,
        known: memoryview,
        size: int,
        alive: Callable[[], bool],
    ) -> Iterator[Reader]:
        """Open what is missing of `size` bytes behind those that are known.

        A server without ranges sends them again. They may be hashed already, so that they
        are not replaced but compared.
        """
        again = 0 if fetch.file.ranges else len(known)
        with self.open(fetch, start + len(known) - again, start + size) as reader:
            self._compare(fetch, reader, known[:again], alive)
            yield reader

    def _compare(
        self, fetch: Fetch, reader: Reader, known: memoryview, alive: Callable[[], bool]
    ) -> None:
        scratch, waiting = memoryview(bytearray(min(len(known), _PROGRESS))), Waiting()
        for start in range(0, len(known), _PROGRESS):
            expected = known[start : start + _PROGRESS]
            got = scratch[: len(expected)]
            for _ in self.pump(fetch, reader, got, alive, waiting):
                pass
            if got != expected:
                message = f"{fetch}: the file changed while it was read"
                raise DigestMismatch(message, hint="run again")

    def open(self, fetch: Fetch, start: int, stop: int) -> Reader:
        """Open a range of the file that `fetch` wants."""
        return fetch.origin.open(fetch.repository, fetch.commit, fetch.file, start, stop)

    def pump(
        self,
        fetch: Fetch,
        reader: Reader,
        view: memoryview,
        alive: Callable[[], bool],
        waiting: Waiting,
    ) -> Iterator[tuple[int, float]]:
        """Fill `view` from `reader`; yield the bytes of each step, and the seconds waited."""
        done = allowed = 0
        while done < len(view):
            if not alive():
                message = f"{fetch}: given up"
                raise Interrupted(message)
            allowed = allowed or self.throttle.allow(len(view) - done)
            count, seconds, broken = self._read(reader, view[done : done + allowed])
            self.pace.record(count, seconds)
            waiting.add(count, seconds)
            if not count and broken is None:
                message = f"{fetch}: the answer ended {len(view) - done} bytes early"
                raise OriginUnavailable(message, hint="the next run goes on from here")
            done, allowed = done + count, allowed - count
            meter.active().add(fetched=count)
            self.emit(BytesMoved(fetch.model, fetch.version, count, fetch.origin.name))
            yield count, seconds
            if broken is not None:
                raise broken
            if waiting.seconds >= self.patience:
                self._check_speed(fetch, waiting.take())

    def _read(
        self, reader: Reader, view: memoryview
    ) -> tuple[int, float, OriginUnavailable | None]:
        """Fill `view`, or as much of it as comes soon; return bytes, the seconds waited, and
        what broke the answer after these bytes.

        A socket gives 128 KiB at a time; to account for each piece would cost more than it.
        """
        began = self.clock.monotonic()
        done, seconds = 0, 0.0
        while done < len(view) and seconds < _SOON:
            try:
                count = reader.readinto(view[done:])
            except OriginUnavailable as error:
                return done, self.clock.monotonic() - began, error
            seconds = self.clock.monotonic() - began
            if not count:
                break
            done += count
        return done, seconds, None

    def _check_speed(self, fetch: Fetch, speed: float) -> None:
        if speed < self.min_speed:
            message = (
                f"{fetch}: {speed:.0f} bytes/s over {self.patience:.0f} s is below "
                f"transfer.min_speed ({self.min_speed})"
            )
            raise TooSlow(message, hint="see transfer.min_speed; the next run goes on from here")
