"""One connection: a request goes out on it, and the headers of the answer come back."""

from __future__ import annotations

import io
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from io import BufferedReader
from typing import Any, cast

from sync_daemon.wire.places import Place
from sync_daemon.wire.timed import TimedRaw

_SEND_SLICE = 256 * 1024  # a socket's timeout covers one sendall, so each must be small


@dataclass(slots=True)
class Channel:
    """A connection, open or about to be, and since when nobody has used it."""

    place: Place
    connection: HTTPConnection
    absolute: bool
    idle_since: float = 0.0

    def is_quiet(self) -> bool:
        """Tell whether the connection is open and nothing unasked has come over it."""
        if self.connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self.connection.sock, select.POLLIN)
        return not poll.poll(0)


class Answer(HTTPResponse):
    """An answer whose head comes in time, and is complete: http.client takes an end of stream
    for the end of the headers."""

    def __init__(self, sock: socket.socket, *rest: Any, **named: Any) -> None:
        super().__init__(sock, *rest, **named)
        self.timed = TimedRaw(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self.timed)

    def begin(self) -> None:
        lines = _Lines(self.fp)
        self.fp = cast("BufferedReader", lines)
        super().begin()
        self.fp = lines.file
        if not lines.last:
            raise IncompleteRead(b"")
        self.timed.free()


class _Lines:
    """Remembers the last line that was read; empty at the end of the stream."""

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self.file.readline(limit)
        return self.last

    def flush(self) -> None:
        """Do nothing: nothing was written."""

    def close(self) -> None:
        self.file.close()


def exchange(
    channel: Channel,
    method: str,
    target: str,
    fields: Mapping[str, str],
    body: memoryview | None,
) -> Answer:
    """Send a request and return its answer; raises OSError and HTTPException as they come."""
    connection = channel.connection
    if channel.absolute:
        target = f"http://{channel.place.authority}{target}"
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in fields.items():
        connection.putheader(name, value)
    connection.endheaders()
    if body is not None:
        _send(connection, body)
    return cast("Answer", connection.getresponse())


def _send(connection: HTTPConnection, body: memoryview) -> None:
    try:
        for start in range(0, body.nbytes, _SEND_SLICE):
            connection.sock.sendall(body[start : start + _SEND_SLICE])
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses a body early says why before it hangs up.
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        if not poll.poll(0):
            raise
