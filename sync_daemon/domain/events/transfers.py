"""The bytes of files on their way, and the requests for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sync_daemon.domain.events.base import Event, Level


@dataclass(frozen=True, slots=True)
class BlobStored(Event):
    """A blob was moved and proven. `seconds` runs from its first byte; `throttled`: the
    bandwidth limit, and not the origin, decided how long it took; `uploaded`: its bytes went
    into the store, where they were not yet."""

    name: ClassVar[str] = "blob.stored"
    level: ClassVar[Level] = "debug"
    model: str
    path: str
    sha256: str
    size: int
    seconds: float
    origin: str | None = None
    throttled: bool = False
    uploaded: bool = True


@dataclass(frozen=True, slots=True)
class BlobFailed(Event):
    """A file could not be moved. `origin` is None where the origin is not the cause."""

    name: ClassVar[str] = "blob.failed"
    level: ClassVar[Level] = "error"
    model: str
    path: str
    kind: str
    error: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class BlobRestarted(Event):
    """A file begins again from its first byte: wrong bytes, or an upload that the store lost."""

    name: ClassVar[str] = "blob.restarted"
    level: ClassVar[Level] = "warning"
    model: str
    path: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class BlobResumed(Event):
    """A file goes on where an earlier run left it: `bytes` of it are stored and hashed."""

    name: ClassVar[str] = "blob.resumed"
    model: str
    path: str
    bytes: int
    size: int


@dataclass(frozen=True, slots=True)
class JournalLost(Event):
    """How far a file is could not be written: after a kill it would begin again."""

    name: ClassVar[str] = "journal.lost"
    level: ClassVar[Level] = "warning"
    model: str
    path: str
    error: str


@dataclass(frozen=True, slots=True)
class BytesMoved(Event):
    """Bytes arrived from `origin`, or were taken up from a journal (None). Never logged."""

    name: ClassVar[str] = "bytes.moved"
    level: ClassVar[Level] = "debug"
    model: str
    version: str
    bytes: int
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRetried(Event):
    """A request failed in a way that can heal and is tried again in `wait` seconds."""

    name: ClassVar[str] = "request.retried"
    level: ClassVar[Level] = "warning"
    what: str
    attempt: int
    wait: float
    error: str
