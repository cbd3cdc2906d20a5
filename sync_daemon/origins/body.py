"""A file's body that tells in the end how it went, because only then can it be judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from sync_daemon.ports import Clock, Reader

Judge = Callable[["WatchedBody", BaseException | None], None]
"""Is told what ended the body: None when it was read as far as was wanted."""


class WatchedBody:
    """A reader around a reader. `size` is in bytes, `seconds` are those spent waiting for them.

    Waiting for the throttle or the store is not counted: it says nothing of the endpoint.
    """

    def __init__(self, reader: Reader, clock: Clock, judge: Judge) -> None:
        self._reader = reader
        self._clock = clock
        self._judge = judge
        self.size = 0
        self.seconds = 0.0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`, as the reader behind it does."""
        began = self._clock.monotonic()
        try:
            got = self._reader.readinto(buffer)
        finally:
            self.seconds += self._clock.monotonic() - began
        self.size += got
        return got

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._reader.__exit__(*exc)
        error = exc[1] if len(exc) > 1 and isinstance(exc[1], BaseException) else None
        self._judge(self, error)
