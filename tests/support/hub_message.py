"""Requests and answers of the Hub double as values, and the record of what was asked.

How an answer is put on the wire, right or wrong, is part of it (`Flow`); hub_wire obeys.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from .hub_content import Buffer, Bytes, Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Headers: TypeAlias = tuple[tuple[str, str], ...]

BEFORE_STATUS = -1


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; `path` and `query` are not decoded, header names are lower case.

    `uses` counts how often this very signed URL was asked for, `etag_salt` changes the ETags of
    the answer; both are set by the server before it answers.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    connection: int = 0
    uses: int = 0
    etag_salt: str = ""

    @property
    def target(self) -> str:
        """Path and query as they came."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Flow:
    """How an answer is put on the wire; the default is a correct one.

    `end_after` counts body bytes (BEFORE_STATUS: not even a status line) after which the
    connection ends by FIN, or by RST when `reset`. `pause_after` counts the same way. Times are
    seconds, `rate` is bytes per second, `length_delta` is added to the announced length.
    """

    delay: float = 0.0
    end_after: int | None = None
    reset: bool = False
    pause_after: int | None = None
    pause: float = 0.0
    rate: float | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    length_delta: int = 0


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an answer: a range of some content, perhaps altered on the way."""

    content: Content
    start: int
    stop: int
    alter: Callable[[int, Buffer], Buffer] | None = None

    @property
    def length(self) -> int:
        return self.stop - self.start

    def read(self) -> Iterator[Buffer]:
        """Yield the bytes; `alter` sees each buffer with its place in the content."""
        at = self.start
        for buffer in self.content.read(self.start, self.stop):
            yield self.alter(at, buffer) if self.alter else buffer
            at += len(buffer)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; the length header is written by the server."""

    status: int
    headers: Headers = ()
    body: Body = field(default_factory=lambda: whole(b""))
    flow: Flow = Flow()

    def header(self, name: str) -> str | None:
        """Return the first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


def whole(data: bytes) -> Body:
    """Return a body of these bytes."""
    return Body(Bytes(data), 0, len(data))


def with_header(headers: Headers, name: str, value: str | None) -> Headers:
    """Return headers with one replaced, or removed when `value` is None."""
    kept = tuple(item for item in headers if item[0].lower() != name.lower())
    return kept if value is None else (*kept, (name, value))


@dataclass(slots=True)
class Seen:
    """One request as a server saw it; `bytes_sent` counts body bytes and grows while sending."""

    server: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    connection: int
    at: float = field(default_factory=time.monotonic)
    places: frozenset[str] = frozenset()
    repo: str = ""
    file: str = ""
    sha256: str = ""
    status: int = 0
    bytes_sent: int = 0

    @property
    def range(self) -> str | None:
        """The Range header, if there was one."""
        return self.headers.get("range")

    @property
    def authorization(self) -> str | None:
        """The Authorization header, if there was one."""
        return self.headers.get("authorization")
