"""Connections that cost too much are cut: too many, too slow, or with too large a head.

uvicorn limits the time between requests alone. A client that sends its request byte by byte,
or takes no byte of its answer, would hold a connection for ever. So every head has a time and
a size here, and an answer that moves nothing is given up. A connection that is one too many is
told so by a 429 with a time to wait, because huggingface_hub asks again after that one, while a
5xx on a file is final to it.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sync_daemon.gateway.access.limits import Crowd
from sync_daemon.gateway.access.networks import IpAddress, Networks, client_key
from sync_daemon.gateway.request.errors import HubError, answer_error

LARGEST_HEAD = 32 * 1024
"""Bytes of a request line and its headers."""

LARGEST_REST = 8 * 1024**2
"""Bytes of a request behind its head as they come: a body in chunks, their sizes, trailers."""

HEAD_SECONDS = 10.0
"""Time for a head to arrive, from the connection or from its first byte on."""

IDLE_SECONDS = 30
"""Time that a connection may rest between two requests."""

SENDING_SECONDS = 120.0
"""Time in which a client has to take some of its answer."""

LINGER_SECONDS = 1.0
"""Time in which a client that is sent away may read why."""

STRANGERS, STRANGERS_EACH = 32, 4
"""Connections from networks that are not let in, of all and of one: they hear so, no more."""

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
_TOO_LONG = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_INVALID = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds, and how much is taken, in bytes."""

    head: float = HEAD_SECONDS
    sending: float = SENDING_SECONDS
    largest_head: int = LARGEST_HEAD
    largest_rest: int = LARGEST_REST


class Doors:
    """Counts connections. Those of a proxy are its clients', who are counted one by one; those
    of foreign networks take no place away from anybody else's."""

    def __init__(self, networks: Networks, each: int, total: int) -> None:
        self._networks = networks
        self._crowd = Crowd(each, total)
        self._strangers = Crowd(STRANGERS_EACH, STRANGERS)
        self._lingering = Crowd(each, LINGERING)

    def allow(self, networks: Networks, each: int, total: int) -> None:
        """Follow other rules; connections that are open stay."""
        self._networks = networks
        self._crowd.allow(each, total)

    @property
    def total(self) -> int:
        """Connections that are open now."""
        return self._crowd.total

    def enter(self, connection: str) -> Callable[[], None] | None:
        """Let a connection in, and return what takes note of its end; None: one too many."""
        networks = self._networks
        address: IpAddress = networks.parse(connection)
        client = None if networks.trusts(address) else client_key(address)
        known = client is None or networks.lets_in(address) or address.is_loopback
        crowd = self._crowd if known else self._strangers
        if not crowd.enter(client):
            return None
        return lambda: crowd.leave(client)

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
        self.logger = _silent()
        self._whole_app: ASGIApp = self.app
        self._running: Any = None  # the request that is being answered
        self._rest: int | None = None  # bytes that came behind its head
        self._leave: Callable[[], None] | None = None
        self._head_bytes = 0
        self._is_cut = False
        self._lingers = False
        self._waiting: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the client in, and wait for its request; or send it away."""
        peer = transport.get_extra_info("peername")
        if peer and self.count(peer[0]):
            self.begin(transport)
        else:
            super().connection_made(transport)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_came()
        self._stop_sending()
        if self._running is not None:  # uvicorn tells the request that came last, and no other
            _disconnect(self._running)
        super().connection_lost(exc)
        self.forget()

    def count(self, peer: str) -> bool:
        """Count the client; False where there is not even time to tell it that it is too many."""
        self._leave = self.doors.enter(peer)
        self._lingers = self._leave is None and self.doors.linger()
        return self._leave is not None or self._lingers

    def begin(self, transport: asyncio.Transport) -> None:
        """Wait for a request of a client that was counted; send away one that was not."""
        super().connection_made(transport)
        if self._leave is None:
            self._cut(_TOO_MANY)
        else:
            self._await_head()

    def forget(self) -> None:
        """Count the client no more."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        if self._lingers:
            self._lingers = False
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
            self._cut(_INVALID)  # there is nothing to upgrade to: it gets its answer, and no more
            return
        except httptools.HttpParserError:
            self._cut(_INVALID)
            return
        if self._waiting is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.patience.largest_head:
                self._cut(_TOO_LARGE)
        elif self._rest is not None:
            self._rest += len(data)
            if self._rest > self.patience.largest_rest:
                self._cut(_TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins, perhaps while the former one is still being answered."""
        super().on_message_begin()
        self._rest = None
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What comes behind a body is passed over: the head was judged without."""
        if self._rest is None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: pass it on if its size is right, and its host one."""
        self._head_came()
        self._rest = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.patience.largest_head:
            self.app = _refuse_head
        elif sum(name == b"host" for name, _ in self.headers) > 1:
            self.app = _refuse_hosts
        else:
            self.app = self._whole_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._rest = None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """The client does not take what is sent: give it a while."""
        super().pause_writing()
        self._stop_sending()
        self._sending = self.loop.call_later(self.patience.sending, self.transport.abort)

    def resume_writing(self) -> None:
        """It takes some of it."""
        self._stop_sending()
        super().resume_writing()

    def _last_whole(self) -> Any:
        """Return the last request that is to be answered and came as a whole, or None."""
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        return None if self._is_idle() or self.cycle.more_body else self.cycle

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
        """End the connection: when all requests that came as a whole are answered, if there are
        any, and else at once, with this answer.

        What the client sent meanwhile is taken for a moment more: closing at once would answer
        it by RST, which takes the answer away from the client as well.
        """
        self._head_came()
        if self._is_cut or self.transport.is_closing():
            return
        self._is_cut = True
        if (last := self._last_whole()) is not None:
            last.keep_alive = False
            return
        running = self._running
        if self._is_idle() or not running.response_started:
            self.transport.write(answer)
        if running is not None:
            _disconnect(running)
        self._lingers = self._lingers or self.doors.linger()
        if self.transport.can_write_eof() and self._lingers:
            self.transport.write_eof()
            self._waiting = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()


def _disconnect(cycle: Any) -> None:
    """Tell a request that its client has gone."""
    cycle.disconnected = True
    cycle.message_event.set()


def _silent() -> logging.Logger:
    """Return a logger that says nothing. Whatever goes wrong is told by `Access`, and an answer
    that ends early by whoever ended it."""
    return logging.Logger("gateway", logging.CRITICAL + 1)  # noqa: LOG001 - found by nobody else


async def _refuse_hosts(scope: Any, receive: Any, send: Any) -> None:
    error = HubError(400, None, "The request names more than one host", {"Connection": "close"})
    await answer_error(error)(scope, receive, send)


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


def make_protocol(
    doors: Doors,
    patience: Patience | None = None,
    kind: type[BoundedProtocol] = BoundedProtocol,
) -> type[BoundedProtocol]:
    """Return the class that uvicorn makes for each connection (`http=`)."""
    limits = {"doors": doors, "patience": patience or Patience()}
    return type("GatewayProtocol", (kind,), limits)
