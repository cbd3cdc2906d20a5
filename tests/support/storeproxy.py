"""A proxy before a real S3 server that lets everything pass but what it was told to spoil.

It knows what each request is for (`PUT manifest`, `PART`, `LIST blobs` ...), so that a fault
strikes one kind of request, once or always. Headers pass as they are, Host included, because
signatures cover it. Requests and answers are held whole: bodies in tests are small.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from io import BufferedReader
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.servers import BUCKET

_HANDS = {"PUT": "PART", "POST": "COMPLETE", "DELETE": "ABORT", "GET": "LIST parts"}
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})
_LONGEST_STALL = 10.0
"""Seconds after which a stalled connection is closed even if the client still waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `length` is announced in place of the body's own."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None

    def encode(self, method: str) -> bytes:
        """Return the bytes that go over the wire."""
        length = len(self.body) if self.length is None else self.length
        lines = [f"HTTP/1.1 {self.status} Answer", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if method == "HEAD" else head + self.body


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. `key` is the object's, without the store's prefix."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    key: str
    query: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """Return a header, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def kind(self) -> str:
        """What it is for: a method and an area of the store, or a word for multipart."""
        if "list-type" in self.query:
            return f"LIST {self.key.partition('/')[0] or 'all'}"
        if "uploads" in self.query:
            return "CREATE"
        if "uploadId" in self.query:
            return _HANDS[self.method]
        return f"{self.method} {self._area()}"

    def _area(self) -> str:
        first, _, rest = self.key.partition("/")
        if self.method == "PUT" and self.get("x-amz-copy-source"):
            return "copy"
        if first == "locks" and self.get("if-match"):
            return "unlock"
        if first == "models":
            return "current" if rest.endswith("/current.json") else "manifest"
        names = {"mirror.json": "marker", "blobs": "blob", "locks": "lock", "uploads": "journal"}
        return names.get(first, {"runs": "report"}.get(first, first))


class Hangup(Exception):
    """The connection has ended the way the fault wanted it."""


@dataclass(slots=True)
class Exchange:
    """One request and what may be done with it."""

    request: Request
    client: socket.socket
    file: BufferedReader
    forward_to: Callable[[Request, bytes], Answer]
    _left: int = 0
    _body: bytes = b""

    def begin(self) -> None:
        """Prepare to read the body; whoever waits to be asked for it is asked."""
        self._left = int(self.request.get("content-length") or 0)
        if (self.request.get("expect") or "").lower() == "100-continue":
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def read(self, count: int | None = None) -> bytes:
        """Return the body as far as it was read now, at least `count` bytes of it, or all."""
        wanted = self._left if count is None else min(count, self._left)
        data = self.file.read(wanted)
        self._left -= len(data)
        self._body += data
        return self._body

    def forward(self, change: Callable[[bytes], bytes] = bytes) -> Answer:
        """Let the server do what was asked and return its answer."""
        return self.forward_to(self.request, change(self.read()))

    def answer(self, answer: Answer) -> None:
        """Send an answer."""
        self.read()
        self.client.sendall(answer.encode(self.request.method))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.client.sendall(data)

    def reset(self) -> None:
        """Hang up by RST."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup

    def wait_for_the_client_to_go(self) -> None:
        """Say nothing until the client hangs up."""
        self.client.settimeout(_LONGEST_STALL)
        with suppress(OSError):
            self.client.recv(1)
        raise Hangup


Effect = Callable[[Exchange], None]


@dataclass(slots=True)
class Fault:
    """Spoils requests of one kind: from the `nth` on, `times` of them, None: all."""

    kind: str
    effect: Effect
    nth: int = 1
    times: int | None = None
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        """Count a request of this kind and tell whether it is to be spoiled."""
        self.seen += 1
        last = self.times is None or self.struck < self.times
        if self.seen < self.nth or not last:
            return False
        self.struck += 1
        return True


@dataclass
class StoreProxy:
    """The running proxy; a context manager. `prefix` is the store's prefix in the bucket."""

    endpoint: str
    prefix: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextmanager
    def spoiling(self, *faults: Fault) -> Iterator[None]:
        """Let these faults strike inside the block; the log of requests begins anew."""
        with self._lock:
            self.requests.clear()
            self.faults = list(faults)
        try:
            yield
        finally:
            with self._lock:
                self.faults = []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        parts = urlsplit(self.endpoint)
        server = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        file = client.makefile("rb")
        with suppress(OSError, HTTPException, Hangup):
            while (request := self._read(file)) is not None:
                exchange = Exchange(request, client, file, _Forward(server))
                exchange.begin()
                if (effect := self._effect(request)) is not None:
                    effect(exchange)
                else:
                    exchange.answer(exchange.forward())
        server.close()
        file.close()
        client.close()

    def _effect(self, request: Request) -> Effect | None:
        with self._lock:
            self.requests.append(request)
            found = [one for one in self.faults if one.kind == request.kind]
            return next((one.effect for one in found if one.strikes()), None)

    def _read(self, file: BufferedReader) -> Request | None:
        words = file.readline().split()
        if not words:
            return None
        method, target = words[0].decode(), words[1].decode("latin-1")
        headers = []
        while line := file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        parts = urlsplit(target)
        query = {name: v[0] for name, v in parse_qs(parts.query, keep_blank_values=True).items()}
        path = query["prefix"] if "list-type" in query else unquote(parts.path)
        key = path.removeprefix(f"/{BUCKET}/").removeprefix(self.prefix)
        return Request(method, target, tuple(headers), key, query)


@dataclass(frozen=True, slots=True)
class _Forward:
    """Sends requests to the real server, over one connection."""

    server: HTTPConnection

    def __call__(self, request: Request, body: bytes) -> Answer:
        self.server.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers:
            if name.lower() not in {"expect", "connection"}:
                self.server.putheader(name, value)
        self.server.endheaders()
        if body:
            self.server.send(body)
        answer = self.server.getresponse()
        data = answer.read()
        kept = tuple(one for one in answer.getheaders() if one[0].lower() not in _FRAMING)
        announced = answer.getheader("Content-Length") if request.method == "HEAD" else None
        return Answer(answer.status, data, kept, int(announced) if announced else None)
