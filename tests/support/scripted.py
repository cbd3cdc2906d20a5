"""A server that does exactly what a test tells it to, byte by byte."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

Step = Callable[[socket.socket], bool]
"""Answers one request on a connection; returns whether the connection stays open."""


def say(data: bytes) -> Step:
    """Send `data` and go on."""

    def step(sock: socket.socket) -> bool:
        sock.sendall(data)
        return True

    return step


def say_and_close(data: bytes) -> Step:
    """Send `data`, then FIN."""

    def step(sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    return step


def say_and_reset(data: bytes) -> Step:
    """Send `data`, then RST."""

    def step(sock: socket.socket) -> bool:
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return step


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """Return a well-formed answer; `x_y=` becomes the header `x-y`."""
    fields = {"Content-Length": str(len(body))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Heard:
    """A request as it came over the wire."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.split(b"\r\n")[0].decode()

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


@dataclass
class Scripted:
    """Answers the n-th request with the n-th step; the last step is for all that follow.

    `reads_bodies` off leaves request bodies unread, as a server does that refuses one early.
    `tunnels` answers CONNECT first, then speaks TLS itself.
    """

    steps: list[Step]
    tls: ssl.SSLContext | None = None
    tunnels: bool = False
    reads_bodies: bool = True
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._server, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        scheme = "https" if self.tls and not self.tunnels else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                self.connections += 1
                self._open.append(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if self.tls and not self.tunnels:
                sock = self._wrap(sock)
            while True:
                request = self._read(sock)
                if request is None:
                    break
                if request.line.startswith("CONNECT") and self.tls:
                    self.heard.append(request)
                    sock.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
                    sock = self._wrap(sock)
                    continue
                if not self._next(request)(sock):
                    break
        sock.close()

    def _wrap(self, sock: socket.socket) -> socket.socket:
        assert self.tls is not None
        wrapped = self.tls.wrap_socket(sock, server_side=True)
        self._open.append(wrapped)
        return wrapped

    def _next(self, request: Heard) -> Step:
        with self._lock:
            self.heard.append(request)
            return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]

    def _read(self, sock: socket.socket) -> Heard | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65_536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        request = Heard(head)
        length = int(request.header("content-length") or 0) if self.reads_bodies else 0
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(sock.recv(min(missing, 1 << 20)))
            missing -= len(parts[-1])
        request.body = b"".join(parts)
        return request
