"""Connections that cost too much are cut: too many, too slow, or with too large a head.

uvicorn limits the time between requests alone. A client that sends its request byte by byte,
or takes no byte of its answer, would hold a connection for ever. So every head has a time and
a size here, and an answer that moves nothing is given up. A connection that is one too many is
told so by a 429 with a time to wait, because huggingface_hub asks again after that one, while a
5xx on a file is final to it.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sync_daemon.gateway.errors import HubError, answer_error
from sync_daemon.gateway.limits import Crowd
from sync_daemon.gateway.networks import IpAddress, Networks, client_key

LARGEST_HEAD = 32 * 1024
"""Bytes of a request line and its headers."""

HEAD_SECONDS = 10.0
"""Time for a head to arrive, from the connection or from its first byte on."""

IDLE_SECONDS = 30
"""Time that a connection may rest between two requests."""

SENDING_SECONDS = 120.0
"""Time in which a client has to take some of its answer."""

LINGER_SECONDS = 1.0
"""Time in which a client that is sent away may read why."""

LINGERING = 100
"""Connections that end so slowly, at most; the others end at once."""

_OTHER_FILES = 512
"""What a process has open besides."""

_TOO_MANY = b"""HTTP/1.1 429 Too Many Requests\r
content-type: application/json\r
retry-after: 1\r
x-error-message: Too many connections: wait and try again\r
content-length: 53\r
connection: close\r
\r
{"error": "Too many connections: wait and try again"}"""
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_INVALID = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds, and how much is taken, in bytes."""

    head: float = HEAD_SECONDS
    sending: float = SENDING_SECONDS
    largest_head: int = LARGEST_HEAD


class Doors:
    """Counts connections. Those of a proxy are its clients', who are counted one by one."""

    def __init__(self, networks: Networks, each: int, total: int) -> None:
        self._networks = networks
        self._crowd = Crowd(each, total)
        self._lingering = Crowd(each, LINGERING)

    @property
    def total(self) -> int:
        """Connections that are open now."""
        return self._crowd.total

    def enter(self, connection: str) -> Callable[[], None] | None:
        """Let a connection in, and return what takes note of its end; None: one too many."""
        address: IpAddress = self._networks.parse(connection)
        client = None if self._networks.trusts(address) else client_key(address)
        if not self._crowd.enter(client):
            return None
        return lambda: self._crowd.leave(client)

    def linger(self) -> bool:
        """Tell whether one more connection may end slowly; each that does is told its end."""
        return self._lingering.enter(None)

    def end_lingering(self) -> None:
        """One such connection has ended."""
        self._lingering.leave(None)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. `make_protocol` says which."""

    doors: ClassVar[Doors]
    patience: ClassVar[Patience]

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._whole_app: ASGIApp = self.app
        self._leave: Callable[[], None] | None = None
        self._head_bytes = 0
        self._is_cut = False
        self._lingers = False
        self._waiting: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the client in, and wait for its request; or send it away."""
        super().connection_made(transport)
        self._leave = self.doors.enter(self.client[0]) if self.client else None
        if self._leave is None:
            self._cut(_TOO_MANY)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_came()
        self._stop_sending()
        super().connection_lost(exc)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        if self._lingers:
            self.doors.end_lingering()

    def data_received(self, data: bytes) -> None:
        """Take what came; whoever sends too much before a request is whole is cut."""
        if self._is_cut or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._is_idle():
            self._await_head()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # there is nothing to upgrade to: the answer comes as if nobody had asked
        except httptools.HttpParserError:
            self._cut(_INVALID)
            return
        if self._waiting is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.patience.largest_head:
                self._cut(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins, perhaps while the former one is still being answered."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there: pass it on if its size is right."""
        self._head_came()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.app = _refuse_head if size > self.patience.largest_head else self._whole_app
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not take what is sent: give it a while."""
        super().pause_writing()
        self._stop_sending()
        self._sending = self.loop.call_later(self.patience.sending, self.transport.abort)

    def resume_writing(self) -> None:
        """It takes some of it."""
        self._stop_sending()
        super().resume_writing()

    # -- waiting -----------------------------------------------------------------------

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or bool(cycle.response_complete)

    def _await_head(self) -> None:
        if self._waiting is None:
            self._head_bytes = 0
            self._waiting = self.loop.call_later(self.patience.head, self._head_is_late)

    def _head_is_late(self) -> None:
        self._waiting = None
        if self._is_idle():
            self._cut(_TIMEOUT)
        else:
            self._await_head()  # of a request behind the one that is being answered

    def _head_came(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _cut(self, answer: bytes) -> None:
        """End the connection, with an answer if none is on its way.

        What the client sent meanwhile is taken for a moment more: closing at once would answer
        it by RST, which takes the answer away from the client as well.
        """
        self._head_came()
        if self._is_cut or self.transport.is_closing():
            return
        self._is_cut = True
        if self._is_idle():
            self.transport.write(answer)
        if self.transport.can_write_eof() and self.doors.linger():
            self.transport.write_eof()
            self._waiting = self.loop.call_later(LINGER_SECONDS, self.transport.close)
            self._lingers = True
        else:
            self.transport.close()


async def _refuse_head(scope: Any, receive: Any, send: Any) -> None:
    error = HubError(431, None, "The request's head is too large", {"Connection": "close"})
    await answer_error(error)(scope, receive, send)


def open_files_for(connections: int) -> int:
    """Let this process open what so many connections need: each may hold a file, or a
    connection to the store, as well. Return the limit, which the system may keep lower; under
    a unit that forbids the call it is the unit's LimitNOFILE, and -1 is returned."""
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * connections + _OTHER_FILES
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return soft
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except OSError:
        return -1
    return limit


def make_protocol(doors: Doors, patience: Patience | None = None) -> type[asyncio.Protocol]:
    """Return the class that uvicorn makes for each connection (`http=`)."""
    limits = {"doors": doors, "patience": patience or Patience()}
    return type("GatewayProtocol", (BoundedProtocol,), limits)
