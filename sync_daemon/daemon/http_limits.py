"""Bounds what a client of the daemon's HTTP server may cost: time, and bytes of its request.

`http.server` waits for each read anew and takes 64 KiB a line, a hundred times. Here a
request has one deadline from its first byte to its last, and one budget for its head.
"""

from __future__ import annotations

import io
import socket
import time

DEADLINE = 10.0
"""Seconds that a request may take to arrive, and its answer to be taken."""

LONGEST_LINE = 4096
LARGEST_HEAD = 16 * 1024
LARGEST_BODY = 1024 * 1024


class HeadTooLarge(Exception):
    """A request line or the headers are longer than any client of ours has."""


class _TimedSocket(io.RawIOBase):
    """Reads of a socket, all of them together within a deadline."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io's own is a Buffer
        left = self._end - time.monotonic()
        if left <= 0:
            message = "the request took too long"
            raise TimeoutError(message)
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class BoundedRequest(io.BufferedReader):
    """A request as `http.server` reads it: its head by lines, then its body."""

    def __init__(self, connection: socket.socket, seconds: float = DEADLINE) -> None:
        super().__init__(_TimedSocket(connection, seconds))
        self._left = LARGEST_HEAD

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line. Raises HeadTooLarge."""
        del size
        line = super().readline(LONGEST_LINE + 1)
        self._left -= len(line)
        if len(line) > LONGEST_LINE or self._left < 0:
            raise HeadTooLarge
        return line
