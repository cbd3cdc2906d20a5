"""Moves bytes over HTTP/1.1 without copying them: one request, one answer, pooled connections.

The client inside huggingface_hub copies every body several times, as boto3's would. Here a body is
received straight into the caller's buffer and sent straight from it; everything else
(redirects, retries, what a status means) is the caller's business; `proxies` and `trust` say
which way it goes and whose certificates are believed.

Errors name the side (origin or store), the host and what happened; never a path, a query (signed
URLs) or a header.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Self

from sync_daemon import __version__, meter
from sync_daemon.domain.errors import OriginUnavailable, StoreUnavailable, Unavailable
from sync_daemon.wire.channel import Answer, Channel, exchange
from sync_daemon.wire.places import (
    AGAIN,
    Place,
    ProxyDenied,
    check_field,
    explain,
    parse_url,
)
from sync_daemon.wire.proxies import Proxies
from sync_daemon.wire.timed import is_crawling
from sync_daemon.wire.trust import make_tls

if TYPE_CHECKING:  # it reads answers, which come from here
    from sync_daemon.wire.governor import Governor

Body = bytes | bytearray | memoryview

_TLS_SLICE = 128 * 1024  # TLS gives 16 KiB a call: gather some of them below the interpreter
_CHUNKED_SLICE = 64 * 1024
_IDLE_SECONDS = 60.0
_PROXY_DENIED = 407
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Http:
    """Makes requests for one side, and keeps up to `idle` connections for the next ones.

    Timeouts in seconds: `connect_timeout` for the connection, the tunnel and TLS each,
    `read_timeout` for the whole head of an answer, and for each wait for bytes of its body.
    `proxy` is a URL, `off`, or None for the usual variables. May be shared by threads. Raises
    ConfigurationError for a proxy that cannot be used.
    """

    def __init__(
        self,
        side: meter.Side,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 30.0,
        ca_file: str | None = None,
        proxy: str | None = None,
        user_agent: str = f"sync-daemon/{__version__}",
        idle: int = 64,
        governor: Governor | None = None,
    ) -> None:
        self._side = side
        self.governor = governor
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self._ca_file = ca_file
        self._user_agent = user_agent
        self._idle = idle
        self._proxies = Proxies(proxy)
        self._lock = threading.Lock()
        self._pool: list[Channel] = []  # the most recently used last
        self._closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: Body | None = None,
        repeat: bool = True,
    ) -> Response:
        """Send one request and return its answer, whatever its status; no redirects.

        The target goes out exactly as it stands in `url`. Where an idle connection turns out
        to be closed, the request is sent again unless `repeat` forbids it. Raises
        OriginUnavailable or StoreUnavailable when no answer comes, ValueError for a URL or a
        header that cannot be sent, and what the governor raises.
        """
        if self.governor is None:
            return self.send(method, url, headers, body, repeat=repeat)
        place, target = parse_url(url)
        with self.governor.before(place.authority, target) as turn:
            response = self.send(method, url, headers, body, repeat=repeat)
            turn.after(response.status, response.headers)
            return response

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        *,
        repeat: bool = True,
    ) -> Response:
        """Do what `request` does for whoever asks the governor by himself."""
        place, target = parse_url(url)
        view = memoryview(body).cast("B") if body is not None else None
        fields = self._fields(method, place, headers, view)
        channel = self._idle_channel(place)
        meter.count(self._side)
        if channel is not None:
            answer = self._try_reused(channel, method, target, fields, view)
            if answer is not None:
                return self._answered(channel, answer, url)
            if not repeat:
                raise self.failure(place, ConnectionResetError())
        channel = self._new_channel(place)
        try:
            self._connect(channel)
            answer = exchange(channel, method, target, fields, view)
        except (OSError, HTTPException) as error:
            channel.connection.close()
            raise self.failure(place, error) from error
        return self._answered(channel, answer, url)

    def _answered(self, channel: Channel, answer: Answer, url: str) -> Response:
        response = Response(self, channel, answer, url)
        if response.status == _PROXY_DENIED and channel.absolute:
            response.close()
            raise self.failure(channel.place, ProxyDenied())
        return response

    def close(self) -> None:
        """Close what is idle now, and what is in use as soon as it comes back."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, []
        for channel in pool:
            channel.connection.close()

    def give_back(self, channel: Channel) -> None:
        """Keep a connection whose answer was read to its end."""
        channel.idle_since = time.monotonic()
        surplus = channel
        with self._lock:
            if not self._closed and self._idle:
                self._pool.append(channel)
                if len(self._pool) <= self._idle:
                    return
                surplus = self._pool.pop(0)
        surplus.connection.close()

    def failure(self, place: Place, error: Exception | str) -> Unavailable:
        """Return the error of this side: which one, its host, and what happened in plain words."""
        what, hint = (error, AGAIN) if isinstance(error, str) else explain(error)
        kind = OriginUnavailable if self._side == "origin" else StoreUnavailable
        proxy = self._proxies.find(place)
        way = f" through the proxy {proxy.authority}" if proxy else ""
        return kind(f"the {self._side} at {place.authority}{way}: {what}", hint=hint)

    def _fields(
        self, method: str, place: Place, headers: Mapping[str, str], body: memoryview | None
    ) -> dict[str, str]:
        usual = {
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        fields = {"Host": place.authority}
        if body is not None or method in {"PUT", "POST"}:
            fields["Content-Length"] = str(body.nbytes if body is not None else 0)
        for more in (headers, usual):
            there = {name.lower() for name in fields}
            fields.update(
                {name: value for name, value in more.items() if name.lower() not in there}
            )
        proxy = self._proxies.find(place)
        if proxy and place.scheme == "http" and proxy.secret:
            fields["Proxy-Authorization"] = proxy.secret
        for name, value in fields.items():
            check_field(name, value)
        return fields

    def _idle_channel(self, place: Place) -> Channel | None:
        while True:
            with self._lock:
                found = next((c for c in reversed(self._pool) if c.place == place), None)
                if found is None:
                    return None
                self._pool.remove(found)
            if time.monotonic() - found.idle_since < _IDLE_SECONDS and found.is_quiet():
                return found
            found.connection.close()

    def _try_reused(
        self,
        channel: Channel,
        method: str,
        target: str,
        fields: Mapping[str, str],
        body: memoryview | None,
    ) -> Answer | None:
        """Return the answer, or None when the server had given the connection up."""
        try:
            return exchange(channel, method, target, fields, body)
        except (ConnectionError, ssl.SSLEOFError):  # not one byte of an answer came
            channel.connection.close()
            return None
        except (OSError, HTTPException) as error:
            channel.connection.close()
            raise self.failure(channel.place, error) from error

    def _new_channel(self, place: Place) -> Channel:
        proxy = self._proxies.find(place)
        host, port = (place.host, place.port) if proxy is None else (proxy.host, proxy.port)
        timeout = self.connect_timeout
        if place.scheme == "http":
            connection = HTTPConnection(host, port, timeout=timeout)
            connection.response_class = Answer
            return Channel(place, connection, absolute=proxy is not None)
        secure = HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        secure.response_class = Answer
        if proxy is not None:
            extra = {"Proxy-Authorization": proxy.secret} if proxy.secret else None
            secure.set_tunnel(place.host, place.port, headers=extra)
        return Channel(place, secure, absolute=False)

    def _connect(self, channel: Channel) -> None:
        channel.connection.connect()
        channel.connection.sock.settimeout(self.read_timeout)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return make_tls(self._ca_file)


class Response:
    """One answer. Leaving its block gives the connection back if the body was read to its end.

    `length` is the announced length of the body in bytes, None where none was announced;
    `headers.get` ignores case.
    """

    def __init__(self, http: Http, channel: Channel, raw: Answer, url: str) -> None:
        self._http = http
        self._channel = channel
        self._raw = raw
        self._open = True
        self.url = url
        self.status: int = raw.status
        self.headers: HTTPMessage = raw.headers
        self.length = self._framing()
        self._left = 0 if raw.length == 0 else self.length
        self._done = self._left == 0
        self._receive = self._choose_receiver()

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`, as it arrives; return how many bytes, 0 at the end.

        Raises Unavailable when the connection breaks, or ends before the announced length.
        """
        if self._done or not len(buffer):
            return 0
        view = buffer if self._left is None else buffer[: self._left]
        try:
            got = self._receive(view)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise self._http.failure(self._channel.place, error) from error
        if self._left is not None:
            self._left -= got
        if got and self._left != 0:
            return got
        if not got and self._left:
            self._fail(f"the body ended {self._left} bytes before its announced end")
        self._done = True
        return got

    def read(self, limit: int = 65_536) -> bytes:
        """Return the body, at most `limit` bytes of it. Raises as `readinto` does."""
        data = bytearray(min(limit, self._left if self._left is not None else limit))
        view, filled, began = memoryview(data), 0, time.monotonic()
        while filled < len(data) and (got := self.readinto(view[filled:])):
            filled += got
            if filled < len(data) and is_crawling(began, filled, self._http.read_timeout):
                self._fail(f"{filled} bytes of an answer are all that came in time")
        return bytes(view[:filled])

    def close(self) -> None:
        """Close the connection, unless it was given back already."""
        if self._open:
            self._open = False
            self._raw.close()
            self._channel.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._open:
            return
        if not self._done or self._raw.will_close or self._has_surplus():
            self.close()
            return
        self._open = False
        self._raw.close()
        self._http.give_back(self._channel)

    def _framing(self) -> int | None:
        """Return the announced length. What http.client would let pass silently is refused."""
        codings = self.headers.get_all("Transfer-Encoding", [])
        if [coding.strip().lower() for coding in codings] not in ([], ["chunked"]):
            self._fail("the answer has an unknown transfer encoding")
        if self._raw.chunked:
            return None
        lengths = {length.strip() for length in self.headers.get_all("Content-Length", [])}
        if not lengths:
            return None
        text = lengths.pop()
        if lengths or not (text.isascii() and text.isdigit()):
            self._fail("the answer has no usable Content-Length")
        return int(text)

    def _choose_receiver(self) -> Callable[[memoryview], int]:
        raw = self._raw
        if raw.chunked:
            return lambda view: _receive_chunk(raw, view[:_CHUNKED_SLICE])
        if self._channel.place.scheme == "https":
            return lambda view: _gather(raw, view[:_TLS_SLICE])
        return raw.fp.readinto1

    def _has_surplus(self) -> bool:
        """Tell whether more came than the answer announced: such a connection is not reused."""
        sock = self._channel.connection.sock
        if sock is None:
            return True
        if self._raw.fp is None:
            return False
        timeout = sock.gettimeout()
        sock.settimeout(0)
        self._raw.timed.limit()
        try:
            return bool(self._raw.fp.peek(1))
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        finally:
            sock.settimeout(timeout)

    def _fail(self, what: str) -> NoReturn:
        self.close()
        raise self._http.failure(self._channel.place, what)


def _gather(raw: Answer, view: memoryview) -> int:
    """Take what comes within a moment."""
    raw.timed.gather()
    return raw.fp.readinto(view)


def _receive_chunk(raw: Answer, view: memoryview) -> int:
    """Take what has come. `readinto` would wait for all of `view`, however slowly it comes."""
    raw.timed.limit()
    data = raw.read1(len(view))
    view[: len(data)] = data
    return len(data)
