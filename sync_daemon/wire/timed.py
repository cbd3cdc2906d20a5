"""Bounds on waiting for bytes: a socket's own timeout begins anew with each byte that comes.

Whoever sends a byte before each timeout could hold a reader for ever. So the head of an answer,
and each line and chunk of a chunked body, have one timeout altogether; and a read that gathers
many pieces gives what has come when the rest is slow.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable

GATHER = 0.05
"""Seconds after which a read that gathers takes no further piece."""

SLOWEST = 1024
"""Bytes per second, in the long run, of an answer that is read as a whole."""


class TimedRaw(io.RawIOBase):
    """The bytes of a socket, below a BufferedReader; one of three ways to wait is in force.

    A new one limits: it belongs to the head of an answer.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._read = raw.readinto
        self._sock = sock
        self._error: OSError | None = None
        self._way: Callable[[memoryview], int | None] = raw.readinto
        self.limit()

    def limit(self) -> None:
        """From now on, all reads together have the timeout of one."""
        self._way = self._limited
        self._some, self._began = False, time.monotonic()
        self._seconds = self._sock.gettimeout() or 0.0

    def gather(self) -> None:
        """From now on, take pieces for a moment; once there is one, wait for one more only."""
        self._way = self._gathered
        self._some, self._began = False, time.monotonic()

    def free(self) -> None:
        """From now on, each read has a timeout of its own."""
        self._way = self._read

    def readable(self) -> bool:
        """Tell BufferedReader that it may read."""
        return True

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        """Fill the front of `buffer`; None means that what was gathered is enough."""
        return self._way(buffer)

    def _limited(self, buffer: memoryview) -> int | None:
        if not self._some:
            self._some = True
            return self._read(buffer)
        left = self._seconds - (time.monotonic() - self._began)
        if left <= 0:
            raise TimeoutError
        usual = self._sock.gettimeout()
        self._sock.settimeout(left)
        try:
            return self._read(buffer)
        finally:
            self._sock.settimeout(usual)

    def _gathered(self, buffer: memoryview) -> int | None:
        if self._error is not None:
            raise self._error
        if self._some and time.monotonic() - self._began > GATHER:
            return None
        try:
            count = self._read(buffer)
        except OSError as error:
            if not self._some:
                raise
            self._error = error  # what came before it is good
            return None
        self._some = True
        return count

    def close(self) -> None:
        """Close the socket's file."""
        if not self.closed:
            self._raw.close()
        super().close()


def is_crawling(began: float, size: int, patience: float) -> bool:
    """Tell whether `size` bytes since `began` (monotonic) are too few, after some `patience`."""
    seconds = time.monotonic() - began
    return seconds > patience and size < seconds * SLOWEST
