"""HTTP/1.1 on plain sockets, for servers that must be fast and able to misbehave exactly.

One thread per connection reads requests, asks the application for an `Answer` and writes it.
How it is written is part of the answer (`Flow`): paced, stalled, cut after k bytes, reset, with
a length that is wrong. All threads and sockets end with the context.
"""

from __future__ import annotations

import fcntl
import itertools
import socket
import struct
import termios
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

from .hub_message import BEFORE_STATUS, Answer, Request, Seen

if TYPE_CHECKING:
    from types import TracebackType

PACED_PIECES_PER_SECOND = 50
LARGEST_PACED_PIECE = 256 * 1024
DRAIN_SECONDS = 1.0
JOIN_SECONDS = 10.0
LINE_LIMIT = 65_536


App: TypeAlias = Callable[[Request, Seen], Answer]


class Pace:
    """Keeps bytes to a rate, for one connection or for all that share it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, size: int, rate: float) -> None:
        """Wait until `size` more bytes fit the rate; returns at once when the server ends."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + size / rate
            pause = self._free - now
        self._stop.wait(pause)


class WireServer:
    """One listening socket on an ephemeral port and the threads of its connections.

    `rate_per_connection` and `rate_total` are bytes per second and may change at any time.
    `failures` holds what went wrong in the application itself: a bug of the double.
    """

    def __init__(self, name: str, app: App, log: list[Seen], host: str = "127.0.0.1") -> None:
        self.name = name
        self.app = app
        self.host = host
        self.log = log
        self.rate_per_connection: float | None = None
        self.rate_total: float | None = None
        self.stop = threading.Event()
        self.total_pace = Pace(self.stop)
        self.failures: list[str] = []
        self.peak = 0
        self._active = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[socket.socket, threading.Thread]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"{name}-accept")

    @property
    def url(self) -> str:
        """Where the server is reached, without a final slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._open)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(JOIN_SECONDS)
        self._listener.close()
        with self._lock:
            remaining = list(self._open.values())
        for sock, _ in remaining:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for _, thread in remaining:
            thread.join(JOIN_SECONDS)

    def begin(self) -> None:
        """Count a request as being answered."""
        with self._lock:
            self._active += 1
            self.peak = max(self.peak, self._active)

    def finish(self) -> None:
        """Count a request as answered."""
        with self._lock:
            self._active -= 1

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = next(self._numbers)
            thread = threading.Thread(
                target=self._serve, args=(sock, number), name=f"{self.name}-{number}"
            )
            with self._lock:
                self._open[number] = sock, thread
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            _Connection(self, sock, number).serve()
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - shown by the owner of the server when it ends
            self.failures.append(traceback.format_exc())
        finally:
            sock.close()
            with self._lock:
                del self._open[number]


class _Connection:
    """Requests and answers of one socket, one after the other."""

    def __init__(self, server: WireServer, sock: socket.socket, number: int) -> None:
        self._server = server
        self._sock = sock
        self._number = number
        self._pace = Pace(server.stop)

    def serve(self) -> None:
        with self._sock.makefile("rb") as file:
            while not self._server.stop.is_set():
                request = read_request(file, self._number, self._sock)
                if request is None or not self._exchange(request):
                    break
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, request: Request) -> bool:
        """Answer one request; return whether the connection can carry another."""
        seen = Seen(
            self._server.name,
            request.method,
            request.path,
            request.query,
            request.headers,
            self._number,
        )
        self._server.log.append(seen)
        self._server.begin()
        busy = [True]

        def done() -> None:
            if busy:
                busy.clear()
                self._server.finish()

        try:
            return self._send(request, self._server.app(request, seen), seen, done)
        finally:
            done()

    def _send(self, request: Request, answer: Answer, seen: Seen, done: Callable[[], None]) -> bool:
        flow = answer.flow
        if flow.delay:
            self._server.stop.wait(flow.delay)
        if flow.pause_after == BEFORE_STATUS:
            self._server.stop.wait(flow.pause)
        if flow.end_after == BEFORE_STATUS:
            return self._end(reset=flow.reset)
        seen.status = answer.status
        head = _head(answer)
        silent = request.method == "HEAD" or answer.status in (204, 304)
        if silent or not answer.body.length:
            done()
        self._sock.sendall(head)
        if silent:
            return flow.framing != "close"
        ended = self._send_body(answer, seen, done)
        if ended:
            return self._end(reset=flow.reset)
        if flow.framing == "chunked":
            self._sock.sendall(b"0\r\n\r\n")
        return flow.framing != "close" and not flow.length_delta and _keeps_alive(request)

    def _send_body(self, answer: Answer, seen: Seen, done: Callable[[], None]) -> bool:
        """Send the body, or as much as the flow allows; return whether it was cut."""
        flow, sent = answer.flow, 0
        limit = answer.body.length if flow.end_after is None else flow.end_after
        for piece in self._pieces(answer):
            room = limit - sent
            if room <= 0:
                break
            part = piece[:room]
            self._wait_turn(len(part), flow.rate)
            sent += len(part)
            seen.bytes_sent += len(part)
            if sent >= limit:
                done()
            if flow.framing == "chunked":
                self._sock.sendall(b"%x\r\n" % len(part))
            self._sock.sendall(part)
            if flow.framing == "chunked":
                self._sock.sendall(b"\r\n")
        return flow.end_after is not None

    def _pieces(self, answer: Answer) -> Iterator[memoryview]:
        """Cut the body into pieces: small where it is paced, and at the place of a pause."""
        flow, at = answer.flow, 0
        for buffer in answer.body.read():
            view = memoryview(buffer)
            while view:
                if flow.pause_after == at:
                    self._server.stop.wait(flow.pause)
                size = self._piece_size(flow.rate)
                if flow.pause_after is not None and at < flow.pause_after:
                    size = min(size, flow.pause_after - at)
                yield view[:size]
                at += len(view[:size])
                view = view[size:]
        if flow.pause_after == at:
            self._server.stop.wait(flow.pause)

    def _piece_size(self, rate: float | None) -> int:
        rates = [rate, self._server.rate_per_connection, self._server.rate_total]
        slowest = min((value for value in rates if value), default=0.0)
        if not slowest:
            return 1 << 20
        return max(1, min(LARGEST_PACED_PIECE, int(slowest / PACED_PIECES_PER_SECOND)))

    def _wait_turn(self, size: int, rate: float | None) -> None:
        own = min((r for r in (rate, self._server.rate_per_connection) if r), default=0.0)
        if own:
            self._pace.take(size, own)
        if self._server.rate_total:
            self._server.total_pace.take(size, self._server.rate_total)

    def _end(self, *, reset: bool) -> bool:
        if reset:
            _drain(self._sock)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._sock.close()
        return False


def read_request(file: BinaryIO, connection: int, sock: socket.socket) -> Request | None:
    """Read one request; None when the client has gone or speaks something else."""
    line = file.readline(LINE_LIMIT).decode("latin-1").split()
    if len(line) != len(("method", "target", "version")):
        return None
    method, target, _ = line
    headers: dict[str, str] = {}
    while (raw := file.readline(LINE_LIMIT)) not in (b"\r\n", b"\n", b""):
        name, _, value = raw.decode("latin-1").partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, _read_body(file, headers), connection)


def _read_body(file: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        length = int(headers.get("content-length") or 0)
        return file.read(length) if length else b""
    parts = []
    while size := int(file.readline(LINE_LIMIT).split(b";")[0] or b"0", 16):
        parts.append(file.read(size))
        file.readline(LINE_LIMIT)
    file.readline(LINE_LIMIT)
    return b"".join(parts)


def _keeps_alive(request: Request) -> bool:
    return "close" not in request.headers.get("connection", "").lower()


def _head(answer: Answer) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.flow.framing == "length" and answer.status not in (204, 304):
        lines.append(f"Content-Length: {answer.body.length + answer.flow.length_delta}")
    elif answer.flow.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    elif answer.flow.framing == "close":
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _drain(sock: socket.socket) -> None:
    """Let what was sent reach the client, which a reset would otherwise throw away."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        if not any(waiting):
            return
        time.sleep(0.001)
