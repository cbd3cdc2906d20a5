"""A small HTTP server in the daemon: metrics, health, and later its own API.

Routes are a table of (method, path) -> handler, so that more can be added; a path that ends
with `/` stands for one more segment of any name. Whatever is not in it is 404 or 405. It is
meant for a few known clients: connections, time and size of a request are bounded
(http_limits.py), a connection serves one request, and one connection too many is told so at
once. It listens on the loopback address unless the YAML says otherwise.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self

from sync_daemon.config.units import Address
from sync_daemon.daemon.http_limits import DEADLINE, LARGEST_BODY, BoundedRequest, HeadTooLarge
from sync_daemon.domain.errors import ConfigurationError

CONNECTIONS = 16
"""Requests that are answered at once."""

_DIGITS = 18
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler gets. Header names are in lower case; `body` is empty for GET and HEAD."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns."""

    status: int = 200
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, message: str, status: int = 200) -> Answer:
        """Return a line of plain text."""
        return cls(status, f"{message}\n".encode())


Handler = Callable[[Request], Answer]
Routes = Mapping[tuple[str, str], Handler]


class Web:
    """Serves `routes` at an address inside a `with` block; port 0 takes any that is free.

    `complain` is told of faults of handlers. Raises ConfigurationError where it cannot listen.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Routes,
        *,
        complain: Callable[[str], None],
        connections: int = CONNECTIONS,
        deadline: float = DEADLINE,
    ) -> None:
        self._place = host, port
        self._site = _Site(routes, complain, deadline)
        self._connections = connections
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_address[1] if self._server else self._place[1]

    def __enter__(self) -> Self:
        try:
            self._server = _Server(self._place, self._site, self._connections)
        except OSError as error:
            raise _cannot_listen(*self._place, error) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="web"
        )
        self._thread.daemon = True
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


def serve(
    listen: Address | None, routes: Routes, complain: Callable[[str], None]
) -> AbstractContextManager[Web | None]:
    """Return a server for `metrics.listen`; None (off): nothing."""
    if listen is None:
        return nullcontext()
    return Web(listen.host, listen.port, routes, complain=complain)


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    hint = {
        errno.EADDRINUSE: "another process listens there: is a daemon running already?",
        errno.EACCES: "ports below 1024 need a right of their own: take a higher one",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, "write an address of this machine, or off")
    reason = error.strerror or str(error)
    message = f"metrics.listen: cannot listen on {where}: {reason}"
    return ConfigurationError(message, hint=hint)


@dataclass(frozen=True, slots=True)
class _Site:
    """What every connection works with."""

    routes: Routes
    complain: Callable[[str], None]
    deadline: float

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods that a path knows."""
        known = {method for method, route in self.routes if route in {path, _parent(path)}}
        return tuple(sorted(known | ({"HEAD"} if "GET" in known else set())))

    def answer(self, request: Request) -> Answer:
        """Call the handler of a request."""
        method = "GET" if request.method == "HEAD" else request.method
        routes = self.routes
        handler = routes.get((method, request.path), routes.get((method, _parent(request.path))))
        if handler is not None:
            try:
                return handler(request)
            except Exception as error:  # noqa: BLE001 - one request never ends the server
                self.complain(f"{request.method} {request.path} failed: {error!r}")
                return Answer.text("internal error", 500)
        if methods := self.methods(request.path):
            answer = Answer.text("this method is not known here", 405)
            return Answer(405, answer.body, headers={"Allow": ", ".join(methods)})
        return Answer.text("not found", 404)


def _parent(path: str) -> str:
    """Return `/a/` for `/a/b`, and nothing where a route of that kind cannot be meant."""
    head, _, last = path.rpartition("/")
    return f"{head}/" if head and last else ""


class _Server(ThreadingHTTPServer):
    """Bounds connections, takes IPv6 literals, and asks no name server for its own name."""

    daemon_threads = True

    def __init__(self, place: tuple[str, int], site: _Site, connections: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.site = site
        self._free = threading.BoundedSemaphore(connections)
        super().__init__(place, _Connection)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # without the look-up of our own name
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        request.settimeout(0)
        with suppress(OSError):
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is none of our business."""


class _Connection(BaseHTTPRequestHandler):
    """One request of one client."""

    server: _Server
    server_version = "sync-daemon"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = BoundedRequest(self.connection, self.server.site.deadline)

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.requestline, self.command, self.request_version = "", "", "HTTP/1.0"
        try:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                return
            answer = self._answer()
        except HeadTooLarge:
            answer = Answer.text("the request is too large", 431)
        except TimeoutError:
            answer = Answer.text("the request took too long", 408)
        self._send(answer)

    def _answer(self) -> Answer:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        site = self.server.site
        if self.command not in site.methods(path):
            return site.answer(Request(self.command, path))
        body = b"" if self.command in {"GET", "HEAD"} else self._body(headers)
        if isinstance(body, Answer):
            return body
        client = str(self.client_address[0])
        return site.answer(Request(self.command, path, query, headers, body, client))

    def _body(self, headers: Mapping[str, str]) -> bytes | Answer:
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return Answer.text("Content-Length is missing", 411)
        if len(length) > _DIGITS or int(length) > LARGEST_BODY:
            return Answer.text("the body is too large", 413)
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else Answer.text("the body ended early", 400)

    def _send(self, answer: Answer) -> None:
        self.connection.settimeout(self.server.site.deadline)
        self.request_version = "HTTP/1.0"  # 0.9 would be answered without a status
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what `http.server` refuses by itself, in plain text and without an echo."""
        del message, explain
        self._send(Answer.text(HTTPStatus(code).phrase.lower(), code))

    def log_message(self, *args: Any) -> None:
        """Write nothing: a scrape every few seconds would fill the log."""
